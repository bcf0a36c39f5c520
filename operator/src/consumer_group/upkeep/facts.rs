//! What a sample says about consumers, in the terms of upkeep. Pure.

use std::{collections::BTreeMap, time::Instant};

use shopwright_api::ConsumerNames;
use shopwright_streams::sample::Known;

use super::super::pods::TargetPods;

/// What the newest samples of a group say; one for each stream, in order, `None` while unknown.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) at: Instant,
    pub(super) at_rest: bool,
    pub(super) streams: Vec<Option<StreamFacts>>,
}

/// One stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamFacts {
    /// Entries in the stream.
    pub(super) length: u64,
    /// Pending entries that were delivered too often.
    pub(super) poison: u64,
    /// Consumers that hold entries, as far as upkeep may have to do with them: gone pods, and holders of poison.
    pub(super) holders: BTreeMap<String, Holds>,
}

/// What one consumer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// Entries that nobody may claim yet; `None` when it was not looked into.
    pub(super) unclaimable: Option<u64>,
    pub(super) poison: u64,
}

impl StreamFacts {
    pub(super) fn of(known: &Known, pods: &TargetPods, names: ConsumerNames) -> Self {
        let by_pod = names == ConsumerNames::PodName;
        let mut facts = Self {
            length: known.length,
            poison: known.pending.detail.map_or(0, |detail| detail.poison),
            ..Self::default()
        };
        for share in &known.consumers {
            let poison = share.detail.map_or(0, |detail| detail.poison);
            if poison > 0 || by_pod && pods.is_gone(&share.name) {
                let holds = Holds {
                    unclaimable: share.detail.map(|_| share.unclaimable()),
                    poison,
                };
                facts.holders.insert(share.name.clone(), holds);
            }
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shopwright_streams::sample::{ConsumerShare, Detail, Pending, ShareDetail};

    use super::{
        super::super::{pods::GonePod, test_samples::empty},
        *,
    };

    fn share(name: &str, pending: u64, detail: Option<(u64, u64)>) -> ConsumerShare {
        ConsumerShare {
            name: name.to_owned(),
            pending,
            detail: detail.map(|(poison, stalled)| ShareDetail {
                poison,
                stalled,
                oldest_idle: Duration::ZERO,
            }),
        }
    }

    fn known(consumers: Vec<ConsumerShare>) -> Known {
        let sum =
            |what: fn(&ShareDetail) -> u64| consumers.iter().filter_map(|one| one.detail.as_ref()).map(what).sum();
        Known {
            pending: Pending {
                total: consumers.iter().map(|one| one.pending).sum(),
                detail: consumers.iter().any(|one| one.detail.is_some()).then(|| Detail {
                    poison: sum(|one| one.poison),
                    stalled: sum(|one| one.stalled),
                    oldest_idle: Duration::ZERO,
                    exact: true,
                }),
                ..empty().pending
            },
            consumers,
            length: 9,
            ..empty()
        }
    }

    fn gone(name: &str) -> TargetPods {
        let since = Instant::now();
        TargetPods {
            live: Vec::new(),
            gone: vec![GonePod {
                name: name.to_owned(),
                since,
                asked: true,
            }],
        }
    }

    #[test]
    fn keeps_only_the_gone_and_those_with_poison() {
        let shares = vec![
            share("dead", 5, Some((1, 1))),
            share("poisoned", 4, Some((4, 0))),
            share("busy", 4, Some((0, 2))),
            share("stranger", 4, Some((0, 2))),
        ];
        let holders = |names| StreamFacts::of(&known(shares.clone()), &gone("dead"), names).holders;
        let holds = |unclaimable, poison| Holds {
            unclaimable: Some(unclaimable),
            poison,
        };
        let both = [("dead".to_owned(), holds(3, 1)), ("poisoned".to_owned(), holds(0, 4))];
        assert_eq!(holders(ConsumerNames::PodName), both.into());
        let any = [("dead".to_owned(), holds(3, 1)), ("poisoned".to_owned(), holds(0, 4))];
        assert_eq!(holders(ConsumerNames::Any), any.into());
    }

    #[test]
    fn what_was_not_looked_into_is_not_known() {
        let facts = StreamFacts::of(
            &known(vec![share("dead", 500, None)]),
            &gone("dead"),
            ConsumerNames::PodName,
        );
        assert_eq!((facts.length, facts.poison), (9, 0));
        assert_eq!(facts.holders["dead"], Holds::default());
    }
}
