//! What the shop's own checker says of a shop that has settled. Reads both Redis as the user `verify`.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use shopwright_domain::access::User;
use shopwright_domain::ids::OrderId;
use shopwright_load::journal::Record;
use shopwright_streams::{EntryId, dead_letter};
use shopwright_verify::{Books, Expected, Finding, Invariant, Options, Report, verify};

use crate::connection::patient;
use crate::database::Died;
use crate::duties::{client, groups};
use crate::losses::Written;
use crate::shop::Shop;

/// Of one group, more than any storm makes.
const MOST_LETTERS: usize = 1_000_000;

/// What it found.
#[derive(Clone, Debug)]
pub struct Verified {
    /// All of it.
    pub report: Report,
    /// Findings that a second which may be lost explains.
    pub permitted: usize,
    /// The others, one line each.
    pub violations: Vec<String>,
}

/// Checks everything. `deaths` are those that permit losses.
pub async fn check(shop: &Shop, journal: &[Record], deaths: &[Died]) -> Result<Verified> {
    let provider = SocketAddr::new(shop.provider.host().parse()?, shop.provider.port());
    let mut books = Books::new(shop.keys.clone(), connect(shop, shop.database.address()).await?)
        .with_provider(connect(shop, provider).await?);
    let options = Options {
        settled: true,
        patience: Duration::ZERO,
        // Nobody else places orders here.
        expected: Some(Expected::of_journal(journal, true)),
        ..Options::default()
    };
    let report = verify(&mut books, &options).await?;
    let written = Written::new(journal);
    let of_a_loss = |order| written.may_be_lost(order, deaths);
    let (mut permitted, mut violations) = (0, Vec::new());
    for finding in &report.findings {
        if is_explained(finding, of_a_loss) || (!deaths.is_empty() && tells_of_dead_letters(finding)) {
            permitted += 1;
        } else {
            violations.push(finding.to_string());
        }
    }
    // The shop has settled: whatever still changes is wrong, and what was not judged is not proven.
    violations.extend(report.not_judged());
    if !deaths.is_empty() {
        violations.extend(letters_without_a_loss(shop, of_a_loss).await?);
    }
    Ok(Verified {
        report,
        permitted,
        violations,
    })
}

/// What a loss looks like: something accepted is gone, or the provider's book, which has lost nothing, knows more than the order.
fn is_explained(finding: &Finding, of_a_loss: impl Fn(OrderId) -> bool) -> bool {
    matches!(finding.invariant, Invariant::Loss | Invariant::Provider) && finding.order.is_some_and(of_a_loss)
}

/// These name no order; [`letters_without_a_loss`] looks into each.
fn tells_of_dead_letters(finding: &Finding) -> bool {
    finding.invariant == Invariant::Loss && finding.order.is_none() && finding.detail.contains("dead letters of")
}

/// Dead letters other than those about orders that were lost.
async fn letters_without_a_loss(shop: &Shop, of_a_loss: impl Fn(OrderId) -> bool) -> Result<Vec<String>> {
    let client = client(&shop.database)?;
    let mut found = Vec::new();
    for (stream, group) in groups(&shop.keys) {
        let key = dead_letter::key(&stream, group);
        for letter in dead_letter::list(&client.shared(), &key, EntryId::ZERO, MOST_LETTERS).await? {
            let subject = letter.fields.iter().find(|(name, _)| name == b"subject");
            let order = subject.and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok());
            if !order.is_some_and(&of_a_loss) {
                found.push(format!("loss: dead letter {} at {key}, {}", letter.id, letter.reason));
            }
        }
    }
    Ok(found)
}

async fn connect(shop: &Shop, address: SocketAddr) -> Result<MultiplexedConnection> {
    let (user, password) = (User::Verify.name(), shop.passwords.of(User::Verify));
    let client = redis::Client::open(format!("redis://{user}:{password}@{address}/"))?;
    patient(&client).await
}

impl Display for Verified {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.report)?;
        if self.permitted > 0 {
            writeln!(out, "of these, {} lie in a second that may be lost", self.permitted)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_loss_looks_like_is_explained_by_one() {
        let order = OrderId::from_parts(9_000, [1; 10]);
        let finding = |order, invariant| Finding {
            invariant,
            order,
            product: None,
            detail: String::new(),
        };
        let explained = |finding: &Finding| is_explained(finding, |id| id == order);
        assert!(explained(&finding(Some(order), Invariant::Loss)));
        assert!(explained(&finding(Some(order), Invariant::Provider)));
        assert!(!explained(&finding(Some(order), Invariant::Money)));
        assert!(!explained(&finding(None, Invariant::Loss)));
        assert!(!explained(&finding(
            Some(OrderId::from_parts(1, [1; 10])),
            Invariant::Loss
        )));
    }
}
