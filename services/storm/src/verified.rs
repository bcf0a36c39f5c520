//! What the shop's own checker says of a shop that has settled. Reads both Redis as the user `verify`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use shopwright_domain::access::User;
use shopwright_domain::ids::OrderId;
use shopwright_load::journal::Record;
use shopwright_streams::{EntryId, dead_letter};
use shopwright_verify::{Books, Expected, Finding, Invariant, MORE_WENT_BACK, Options, Report, UNKNOWN_MONEY, verify};

use crate::connection::patient;
use crate::database::Died;
use crate::duties::{client, groups};
use crate::losses::{Written, is_permitted, made_at};
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
/// `changed` says when orders last changed, in Unix milliseconds.
pub async fn check(
    shop: &Shop,
    journal: &[Record],
    changed: &BTreeMap<OrderId, u64>,
    deaths: &[Died],
) -> Result<Verified> {
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
    let was_under_way = |order| {
        let changed = changed.get(&order);
        changed.is_some_and(|changed| is_permitted(deaths, made_at(order), *changed))
    };
    let (mut permitted, mut violations) = (0, Vec::new());
    for finding in &report.findings {
        if is_explained(finding, of_a_loss, was_under_way) || (!deaths.is_empty() && tells_of_dead_letters(finding)) {
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
/// What came after the order's last change that is left was lost, so an order that a death met under way may look so as well.
fn is_explained(
    finding: &Finding,
    of_a_loss: impl Fn(OrderId) -> bool,
    was_under_way: impl Fn(OrderId) -> bool,
) -> bool {
    let Some(order) = finding.order else {
        return false;
    };
    let begins = |with: &str| finding.detail.starts_with(with);
    match finding.invariant {
        Invariant::Loss => of_a_loss(order),
        Invariant::Provider if begins(UNKNOWN_MONEY) => of_a_loss(order) || was_under_way(order),
        Invariant::Provider => begins(MORE_WENT_BACK) && of_a_loss(order),
        _ => false,
    }
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
        let [lost, under_way, other] = [1, 2, 3].map(|at| OrderId::from_parts(at, [1; 10]));
        let explained = |order, invariant, detail: &str| {
            let finding = Finding {
                invariant,
                order,
                product: None,
                detail: detail.to_owned(),
            };
            is_explained(&finding, |id| id == lost, |id| id == under_way)
        };
        assert!(explained(Some(lost), Invariant::Loss, ""));
        assert!(explained(Some(lost), Invariant::Provider, MORE_WENT_BACK));
        for order in [lost, under_way] {
            assert!(explained(Some(order), Invariant::Provider, UNKNOWN_MONEY));
        }
        assert!(!explained(Some(under_way), Invariant::Loss, ""));
        assert!(!explained(Some(under_way), Invariant::Provider, MORE_WENT_BACK));
        assert!(!explained(
            Some(lost),
            Invariant::Provider,
            "the provider took it twice"
        ));
        assert!(!explained(Some(lost), Invariant::Money, UNKNOWN_MONEY));
        assert!(!explained(Some(other), Invariant::Provider, UNKNOWN_MONEY));
        assert!(!explained(None, Invariant::Loss, ""));
    }
}
