//! What came of comparing a shop's books, and how it is told: fixed words, counts and ids, nothing that was read. Pure.

use std::fmt::Write as _;

use shopwright_streams::Error as RedisError;
use shopwright_verify::{Finding, Invariant, Report, VerifyError};

use super::verifier::{DEADLINE, MOST_HELD};

/// Orders and products that a message names.
const NAMED: usize = 3;

/// What is known of a shop's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No comparison is over yet.
    NotYet,
    /// They agree.
    Sound,
    /// They do not.
    Violated(Violations),
    /// They could not be compared.
    NotVerified(Obstacle),
}

impl Verdict {
    /// What a comparison that came to its end has shown.
    pub fn of(report: &Report) -> Self {
        if !report.findings.is_empty() {
            Self::Violated(Violations::of(report))
        } else if report.is_clean() {
            Self::Sound
        } else {
            Self::NotVerified(Obstacle::Undecided)
        }
    }
}

/// Which invariants do not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations {
    counts: Vec<(Invariant, usize)>,
    /// The first of what they are about.
    named: Vec<String>,
    /// More is concerned than is named.
    more: bool,
}

impl Violations {
    fn of(report: &Report) -> Self {
        let counts = Invariant::ALL
            .map(|invariant| (invariant, report.count(invariant)))
            .into_iter()
            .filter(|(_, count)| *count > 0);
        let mut named: Vec<String> = Vec::new();
        let mut more = false;
        for subject in report.findings.iter().filter_map(subject) {
            if named.contains(&subject) {
                continue;
            }
            more = named.len() == NAMED;
            if more {
                break;
            }
            named.push(subject);
        }
        Self {
            counts: counts.collect(),
            named,
            more,
        }
    }

    /// A sentence for people.
    pub fn message(&self) -> String {
        let counts: Vec<_> = self
            .counts
            .iter()
            .map(|(invariant, count)| format!("{}: {count}", invariant.as_str()))
            .collect();
        let mut message = format!("violations of {}", counts.join(", "));
        for (index, subject) in self.named.iter().enumerate() {
            let _ = write!(message, "{} {subject}", if index == 0 { "; first" } else { "," });
        }
        if self.more {
            message.push_str(", and others");
        }
        message
    }
}

/// Ids are our own: what was read of a document stays in the finding's detail, which goes nowhere.
fn subject(finding: &Finding) -> Option<String> {
    let order = finding.order.map(|id| format!("order {id}"));
    order.or_else(|| finding.product.map(|id| format!("product {id}")))
}

/// Why books could not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Redis did not answer, or refused.
    Redis(RedisError),
    /// It answered something that makes no sense.
    Answer,
    /// There is more than may be held in memory at once.
    TooLarge,
    /// It took too long.
    Deadline,
    /// Some of it changed too fast to be judged.
    Undecided,
}

impl Obstacle {
    /// A sentence for people.
    pub fn message(self) -> String {
        match self {
            Self::Redis(error) => format!("could not be compared: {error}"),
            Self::Answer => "could not be compared: Redis gave an unexpected answer".into(),
            Self::TooLarge => format!(
                "not compared: more than {MOST_HELD} orders, lines or events; the verify command has no such limit"
            ),
            Self::Deadline => format!("the comparison was not done after {} s", DEADLINE.as_secs()),
            Self::Undecided => "some of it changed too fast to be judged".into(),
        }
    }
}

impl From<VerifyError> for Obstacle {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Redis(error) => Self::Redis((&error).into()),
            VerifyError::Answer(_) => Self::Answer,
            VerifyError::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use shopwright_domain::ids::{OrderId, ProductId};

    use super::*;

    fn finding(invariant: Invariant, order: Option<OrderId>, product: Option<ProductId>) -> Finding {
        Finding {
            invariant,
            order,
            product,
            detail: "hunter2".into(),
        }
    }

    fn message(findings: Vec<Finding>) -> String {
        let report = Report {
            findings,
            ..Report::default()
        };
        match Verdict::of(&report) {
            Verdict::Violated(violations) => violations.message(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_counts_by_invariant_and_names_the_first_without_what_was_read() {
        let orders: Vec<_> = (0..4).map(|_| OrderId::generate()).collect();
        let product = ProductId::generate();
        let text = message(vec![
            finding(Invariant::Provider, Some(orders[0]), None),
            finding(Invariant::Money, Some(orders[0]), None),
            finding(Invariant::Money, Some(orders[1]), None),
            finding(Invariant::StockReserved, None, Some(product)),
        ]);
        let [first, second] = [orders[0], orders[1]];
        let wanted = format!(
            "violations of stock-reserved: 1, money: 2, provider: 1; first order {first}, order {second}, product {product}"
        );
        assert_eq!(text, wanted);
        let many = orders.iter().map(|order| finding(Invariant::Loss, Some(*order), None));
        let text = message(many.collect());
        assert!(
            text.starts_with("violations of loss: 4; first order ") && text.ends_with(", and others"),
            "{text}"
        );
        assert!(!text.contains("hunter2") && !text.contains(&orders[3].to_string()));
        assert_eq!(
            message(vec![finding(Invariant::Loss, None, None)]),
            "violations of loss: 1"
        );
    }

    #[test]
    fn what_changed_too_fast_is_not_proven() {
        let mut report = Report::default();
        assert_eq!(Verdict::of(&report), Verdict::Sound);
        report.undecided.insert(Invariant::Money, 1);
        assert_eq!(Verdict::of(&report), Verdict::NotVerified(Obstacle::Undecided));
        report.findings.push(finding(Invariant::Loss, None, None));
        assert!(matches!(Verdict::of(&report), Verdict::Violated(_)));
    }
}
