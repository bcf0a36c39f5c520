//! Compares all books of a shop and prints a table. Reads Redis as the user `verify`, and the journal of a load.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use shopwright_domain::access::User;
use shopwright_domain::keys::ShopKeys;
use shopwright_load::journal;
use shopwright_verify::{Books, Expected, Options, Report, verify};

use crate::workspace;

const PASSWORD: &str = "VERIFY_PASSWORD";

/// Which shop, and how to judge. The password of the user `verify` is read from `VERIFY_PASSWORD`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the shop's Redis is, HOST:PORT
    #[arg(long, value_parser = address)]
    redis: (String, u16),
    /// Where the provider's book is, if it is another Redis
    #[arg(long, value_parser = address)]
    provider_redis: Option<(String, u16)>,
    /// The shop's name
    #[arg(long)]
    shop: String,
    /// What was accepted: a journal of `cargo xtask load`
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Nobody but the journal's load placed orders: any other is a double
    #[arg(long, requires = "journal")]
    alone: bool,
    /// Nothing is under way any more: every order must have ended, and every entry be done
    #[arg(long)]
    settled: bool,
}

/// An error when something does not hold or could not be judged, after the table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let expected = arguments.journal.as_deref().map(journal::read).transpose()?;
    let options = Options {
        settled: arguments.settled,
        expected: expected.map(|records| Expected::of_journal(&records, arguments.alone)),
        ..Options::default()
    };
    let password = std::env::var(PASSWORD)
        .with_context(|| format!("{PASSWORD} must hold the password of the Redis user `verify`"))?;
    let report = workspace::block_on(async {
        let mut books = Books::new(
            ShopKeys::new(&arguments.shop),
            connect(&arguments.redis, &password).await?,
        );
        if let Some(provider) = &arguments.provider_redis {
            books = books.with_provider(connect(provider, &password).await?);
        }
        anyhow::Ok(verify(&mut books, &options).await?)
    })??;
    print!("{report}");
    outcome(&report)
}

/// What was not judged is no violation, and not proven either: it is told apart, and is an error as well.
fn outcome(report: &Report) -> Result<()> {
    match (report.findings.len(), report.not_judged()) {
        (0, None) => Ok(()),
        (0, Some(open)) => bail!("nothing was seen to be wrong, but not everything is proven; {open}"),
        (count, None) => bail!("{count} violations"),
        (count, Some(open)) => bail!("{count} violations; {open}"),
    }
}

async fn connect((host, port): &(String, u16), password: &str) -> Result<redis::aio::MultiplexedConnection> {
    let user = RedisConnectionInfo::default()
        .set_username(User::Verify.name())
        .set_password(password);
    let information = ConnectionAddr::Tcp(host.clone(), *port)
        .into_connection_info()?
        .set_redis_settings(user);
    let client = redis::Client::open(information)?;
    let configuration = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(std::time::Duration::from_secs(5)))
        .set_response_timeout(Some(std::time::Duration::from_secs(60)));
    client
        .get_multiplexed_async_connection_with_config(&configuration)
        .await
        .with_context(|| format!("cannot reach Redis at {host}:{port} as `verify`"))
}

fn address(text: &str) -> Result<(String, u16), String> {
    text.rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        .ok_or_else(|| "must look like HOST:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use shopwright_verify::{Finding, Invariant};

    use super::*;

    #[test]
    fn what_was_not_judged_is_an_error_and_no_violation() {
        let told = |report: &Report| outcome(report).map_err(|error| error.to_string());
        let mut report = Report::default();
        assert_eq!(told(&report), Ok(()));
        report.undecided.insert(Invariant::StockReserved, 3);
        let open = "not judged, as it changed too fast: stock-reserved (3)";
        let wanted = format!("nothing was seen to be wrong, but not everything is proven; {open}");
        assert_eq!(told(&report), Err(wanted));
        report.findings.push(Finding {
            invariant: Invariant::Money,
            order: None,
            product: None,
            detail: String::new(),
        });
        assert_eq!(told(&report), Err(format!("1 violations; {open}")));
        report.undecided.clear();
        assert_eq!(told(&report), Err("1 violations".to_owned()));
    }
}
