//! The page: three files in the binary, served with a policy that runs nothing else.

use axum::{
    Router,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// Nothing inline, nothing from elsewhere, nothing framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the page.
pub fn router() -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { file("text/html; charset=utf-8", include_str!("page/index.html")) }),
        )
        .route(
            "/app.js",
            get(|| async { file("text/javascript; charset=utf-8", include_str!("page/app.js")) }),
        )
        .route(
            "/style.css",
            get(|| async { file("text/css; charset=utf-8", include_str!("page/style.css")) }),
        )
        .route(
            "/icon.svg",
            get(|| async { file("image/svg+xml", include_str!("page/icon.svg")) }),
        )
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The files change with the image and have no version in their names.
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_keeps_to_its_policy() {
        let html = include_str!("page/index.html");
        assert!(
            !html.contains("style=") && !html.contains("<style") && !html.contains(" on"),
            "inline style or handler"
        );
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script type=\"module\" src=\"/app.js\">").count()
        );
        for text in [html, include_str!("page/app.js"), include_str!("page/style.css")] {
            assert!(
                !text.contains("http://") && !text.contains("https://"),
                "something from elsewhere"
            );
            assert!(!text.contains("innerHTML"), "text from the API must stay text");
        }
    }

    #[test]
    fn every_element_that_the_script_looks_for_is_there() {
        let (html, script) = (include_str!("page/index.html"), include_str!("page/app.js"));
        let mut found = 0;
        for part in script.split("byId(\"").skip(1) {
            let id = part.split('"').next().unwrap();
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
            found += 1;
        }
        assert!(found > 5);
        for reference in ["/app.js", "/style.css", "/icon.svg"] {
            assert!(html.contains(reference), "{reference}");
        }
    }
}
