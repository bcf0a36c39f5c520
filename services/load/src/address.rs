//! Where the shop is. Requests go there and nowhere else: no redirects, no proxies.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// Base address of a storefront, like `http://127.0.0.1:8080`; its API lies under `/api/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopUrl(String);

/// Why a text is no address of a shop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must look like http://HOST[:PORT][/PATH], without a query or credentials; https is not supported")]
pub struct ShopUrlError;

impl ShopUrl {
    /// The address of a call, whose path begins with a slash.
    pub(crate) fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.0)
    }
}

impl FromStr for ShopUrl {
    type Err = ShopUrlError;

    fn from_str(text: &str) -> Result<Self, ShopUrlError> {
        let url = Url::parse(text).map_err(|_| ShopUrlError)?;
        let plain = url.scheme() == "http"
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if plain {
            Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
        } else {
            Err(ShopUrlError)
        }
    }
}

impl fmt::Display for ShopUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shop_is_a_plain_address() {
        for (text, api) in [
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/api/v1/orders"),
            ("http://shop.example/demo/", "http://shop.example/demo/api/v1/orders"),
        ] {
            assert_eq!(text.parse::<ShopUrl>().unwrap().api("/orders"), api);
        }
        for wrong in [
            "",
            "demo:80",
            "https://demo",
            "http://u:p@demo",
            "http://demo?x",
            "http://demo#x",
        ] {
            assert!(wrong.parse::<ShopUrl>().is_err(), "{wrong}");
        }
    }
}
