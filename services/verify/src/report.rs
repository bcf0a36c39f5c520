//! What came of a comparison, for people and programs. Pure.

use std::collections::BTreeMap;
use std::fmt;

use shopwright_domain::ids::{OrderId, ProductId};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// Documents are as the services write them.
    Documents,
    /// On hand, reserved and available are never negative.
    StockBounds,
    /// What was received, less what was sold, is on hand.
    StockConservation,
    /// What reservations hold is what the product says is reserved.
    StockReserved,
    /// Orders and reservations tell the same story.
    OrderReservation,
    /// Totals, ledger and refunds of an order add up, and no more goes back than came.
    Money,
    /// The provider's book says what the order says.
    Provider,
    /// Every unfinished order has a due time, and none is overdue.
    Termination,
    /// Whatever was accepted is there, and every entry is done or among the dead letters.
    Loss,
    /// Nothing happened twice.
    DoubleEffect,
}

impl Invariant {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Documents,
        Self::StockBounds,
        Self::StockConservation,
        Self::StockReserved,
        Self::OrderReservation,
        Self::Money,
        Self::Provider,
        Self::Termination,
        Self::Loss,
        Self::DoubleEffect,
    ];

    /// The fixed word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::StockBounds => "stock-bounds",
            Self::StockConservation => "stock-conservation",
            Self::StockReserved => "stock-reserved",
            Self::OrderReservation => "order-reservation",
            Self::Money => "money",
            Self::Provider => "provider",
            Self::Termination => "termination",
            Self::Loss => "loss",
            Self::DoubleEffect => "double-effect",
        }
    }
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Of what.
    pub invariant: Invariant,
    /// Which order, where it is about one.
    pub order: Option<OrderId>,
    /// Which product, where it is about one.
    pub product: Option<ProductId>,
    /// What was seen: states and amounts, never a secret.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.invariant.as_str())?;
        if let Some(order) = self.order {
            write!(formatter, ", order {order}")?;
        }
        if let Some(product) = self.product {
            write!(formatter, ", product {product}")?;
        }
        write!(formatter, ": {}", self.detail)
    }
}

/// What was compared, and what did not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Orders looked at.
    pub orders: u64,
    /// Products looked at.
    pub products: u64,
    /// Orders by state.
    pub states: BTreeMap<&'static str, u64>,
    /// Entries among the dead letters.
    pub dead_letters: u64,
    /// Differences that a second look by one script no longer showed.
    pub passing: u64,
    /// How many orders or products changed too fast to be judged; not violations, and not proven either.
    pub undecided: BTreeMap<Invariant, u64>,
    /// Violations, confirmed.
    pub findings: Vec<Finding>,
}

/// Lines of the table that show examples.
const EXAMPLES: usize = 10;

impl Report {
    /// Whether everything was judged, and held.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.undecided.is_empty()
    }

    /// What is neither known to hold nor not to: a sentence, when there is any.
    pub fn not_judged(&self) -> Option<String> {
        let parts: Vec<_> = self
            .undecided
            .iter()
            .map(|(invariant, count)| format!("{} ({count})", invariant.as_str()))
            .collect();
        (!parts.is_empty()).then(|| format!("not judged, as it changed too fast: {}", parts.join(", ")))
    }

    /// Violations of one invariant.
    pub fn count(&self, invariant: Invariant) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.invariant == invariant)
            .count()
    }

    pub(crate) fn leave_undecided(&mut self, invariant: Invariant, count: u64) {
        *self.undecided.entry(invariant).or_default() += count;
    }

    /// What the table says of one invariant.
    fn verdict(&self, invariant: Invariant) -> String {
        match (self.count(invariant), self.undecided.get(&invariant)) {
            (0, None) => "holds".to_owned(),
            (0, Some(open)) => format!("not judged: {open} changed too fast"),
            (count, None) => format!("{count} VIOLATIONS"),
            (count, Some(open)) => format!("{count} VIOLATIONS, not judged: {open} changed too fast"),
        }
    }

    pub(crate) fn add(&mut self, invariant: Invariant, detail: impl Into<String>) {
        self.findings.push(Finding {
            invariant,
            order: None,
            product: None,
            detail: detail.into(),
        });
    }
}

/// A table, then the first violations.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = self
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        writeln!(formatter, "orders        {} ({})", self.orders, states.join(", "))?;
        writeln!(formatter, "products      {}", self.products)?;
        writeln!(formatter, "dead letters  {}", self.dead_letters)?;
        writeln!(formatter, "seen once     {} (gone at the second look)", self.passing)?;
        for invariant in Invariant::ALL {
            let verdict = self.verdict(invariant);
            writeln!(formatter, "{:<19} {verdict}", invariant.as_str())?;
        }
        for finding in self.findings.iter().take(EXAMPLES) {
            writeln!(formatter, "  {finding}")?;
        }
        if self.findings.len() > EXAMPLES {
            writeln!(formatter, "  and {} more", self.findings.len() - EXAMPLES)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_judged_does_not_count_as_fine() {
        let mut report = Report::default();
        assert!(report.is_clean() && report.not_judged().is_none());
        assert!(report.to_string().contains("money               holds\n"), "{report}");
        report.leave_undecided(Invariant::Money, 2);
        report.leave_undecided(Invariant::StockReserved, 200);
        report.leave_undecided(Invariant::StockReserved, 3);
        assert!(!report.is_clean() && report.findings.is_empty());
        let told = report.not_judged().unwrap();
        assert_eq!(
            told,
            "not judged, as it changed too fast: stock-reserved (203), money (2)"
        );
        let table = report.to_string();
        assert!(
            table.contains("stock-reserved      not judged: 203 changed too fast\n"),
            "{table}"
        );
        assert!(table.contains("stock-bounds        holds\n"), "{table}");
        report.add(Invariant::Money, "");
        let table = report.to_string();
        assert!(
            table.contains("money               1 VIOLATIONS, not judged: 2 changed too fast\n"),
            "{table}"
        );
    }
}
