//! What shoppers come for, by name and weight. Pure.

use std::fmt;
use std::str::FromStr;

/// One thing that shoppers come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Looks at the list, at products and at stock.
    Browse,
    /// Orders one piece of the one hot product.
    FlashSale,
    /// Orders one to three of many products, the popular ones more often.
    LongTail,
    /// Orders, waits for completion, and staff refund all of it, a part, or a part and then the rest.
    Refunds,
    /// Orders, and calls it off within the next two seconds.
    Cancels,
    /// Orders, cancels and (with an admin key) refunds, with every call made twice under one key.
    Twice,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Browse,
        Self::FlashSale,
        Self::LongTail,
        Self::Refunds,
        Self::Cancels,
        Self::Twice,
    ];

    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browse => "browse",
            Self::FlashSale => "flash-sale",
            Self::LongTail => "long-tail",
            Self::Refunds => "refunds",
            Self::Cancels => "cancels",
            Self::Twice => "twice",
        }
    }
}

/// Parts with their weights: of all arrivals, each gets its weight's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Part, u32)>);

/// Why a text is no mix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// No such part.
    #[error("{0:?} is none of browse, flash-sale, long-tail, refunds, cancels, twice")]
    Unknown(String),
    /// No weight, or one out of range.
    #[error("{0:?} is no weight: write NAME or NAME=WEIGHT, weights from 1 to 1000")]
    Weight(String),
    /// The same part twice.
    #[error("{0} is there twice")]
    Repeated(&'static str),
    /// Nothing.
    #[error("a mix has at least one part")]
    Empty,
}

impl Mix {
    /// Checks parts and weights.
    pub fn new(parts: &[(Part, u32)]) -> Result<Self, MixError> {
        if parts.is_empty() {
            return Err(MixError::Empty);
        }
        for (index, (part, weight)) in parts.iter().enumerate() {
            if !(1..=1000).contains(weight) {
                return Err(MixError::Weight(weight.to_string()));
            }
            if parts[..index].iter().any(|(earlier, _)| earlier == part) {
                return Err(MixError::Repeated(part.as_str()));
            }
        }
        Ok(Self(parts.to_vec()))
    }

    /// Is the part in it?
    pub fn contains(&self, part: Part) -> bool {
        self.0.iter().any(|(other, _)| *other == part)
    }

    pub(crate) fn total(&self) -> u32 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }

    /// The part that a number below [`Self::total`] falls on.
    pub(crate) fn at(&self, number: u32) -> Part {
        let mut rest = number;
        for (part, weight) in &self.0 {
            if rest < *weight {
                return *part;
            }
            rest -= weight;
        }
        self.0[0].0
    }
}

impl Default for Mix {
    /// What a shop sees on a good day, and some who change their minds. It needs no admin key.
    fn default() -> Self {
        Self(vec![
            (Part::Browse, 6),
            (Part::LongTail, 3),
            (Part::FlashSale, 1),
            (Part::Cancels, 1),
            (Part::Twice, 1),
        ])
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let part = |text: &str| {
            let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
            let part = Part::ALL.into_iter().find(|part| part.as_str() == name);
            let part = part.ok_or_else(|| MixError::Unknown(name.to_owned()))?;
            let weight = weight.parse().map_err(|_| MixError::Weight(text.to_owned()))?;
            Ok((part, weight))
        };
        let parts: Result<Vec<_>, _> = text.split(',').filter(|text| !text.is_empty()).map(part).collect();
        Self::new(&parts?)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (part, weight)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{}={weight}", part.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_and_written() {
        let mix: Mix = "browse=8,flash-sale".parse().unwrap();
        assert_eq!(mix.to_string(), "browse=8,flash-sale=1");
        assert_eq!(
            (0..mix.total())
                .filter(|number| mix.at(*number) == Part::Browse)
                .count(),
            8
        );
        assert_eq!(mix.at(8), Part::FlashSale);
        assert_eq!(Mix::default().to_string().parse(), Ok(Mix::default()));
        for part in Part::ALL {
            assert_eq!(part.as_str().parse::<Mix>().unwrap().at(0), part);
        }
    }

    #[test]
    fn what_is_no_mix() {
        let error = |text: &str| text.parse::<Mix>().unwrap_err();
        assert_eq!(error(""), MixError::Empty);
        assert_eq!(error("sale"), MixError::Unknown("sale".into()));
        assert_eq!(error("browse=x"), MixError::Weight("browse=x".into()));
        assert_eq!(error("browse=0"), MixError::Weight("0".into()));
        assert_eq!(error("browse,browse=2"), MixError::Repeated("browse"));
    }
}
