//! Which streams are trimmed, on whose behalf, and what all their declared groups agree on. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{super::identity::ObjectKey, EndpointAddress, Plan, address};

/// A stream that is to be trimmed behind its slowest group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Trim {
    pub(in super::super) stream: String,
    /// The groups that somebody declared. Any other group of the stream stops the trim.
    pub(in super::super) declared: BTreeSet<String>,
    /// The longest that any of them asks for.
    pub(in super::super) retention: Duration,
    /// The first `ConsumerGroup` that names the stream and asks for no trim: it stops it for all.
    pub(in super::super) without_retention: Option<String>,
}

/// What all groups of one stream say, whether they act or not.
#[derive(Debug, Default)]
struct Declared {
    groups: BTreeSet<String>,
    longest: Duration,
    without: Option<String>,
}

/// What the groups of each stream say.
#[derive(Debug, Default)]
pub(super) struct Declarations(BTreeMap<(EndpointAddress, String), Declared>);

impl Declarations {
    /// Collects them from every group that is valid, in the order of age.
    pub(super) fn of<'a>(plans: impl Iterator<Item = (&'a ObjectKey, &'a Plan)>) -> Self {
        let mut all = Self::default();
        for (key, plan) in plans {
            let address = address(&plan.endpoint);
            for stream in &plan.streams {
                let declared = all.0.entry((address.clone(), stream.clone())).or_default();
                declared.groups.insert(plan.group.clone());
                match plan.retention {
                    Some(retention) => declared.longest = declared.longest.max(retention),
                    None => {
                        declared.without.get_or_insert_with(|| key.name.clone());
                    }
                }
            }
        }
        all
    }

    /// The streams that this plan trims: those that it wants trimmed and that nobody before it trims already.
    pub(super) fn trims(&self, plan: &Plan, taken: &mut BTreeSet<(EndpointAddress, String)>) -> Vec<Trim> {
        if plan.retention.is_none() || plan.policy.is_paused() {
            return Vec::new();
        }
        let address = address(&plan.endpoint);
        let of_stream = |stream: &String| {
            let place = (address.clone(), stream.clone());
            let declared = self.0.get(&place)?;
            taken.insert(place).then(|| Trim {
                stream: stream.clone(),
                declared: declared.groups.clone(),
                retention: declared.longest,
                without_retention: declared.without.clone(),
            })
        };
        plan.streams.iter().filter_map(of_stream).collect()
    }
}
