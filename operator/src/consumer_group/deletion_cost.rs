//! Which pods go first when replicas go down: those that hold least. Touches one annotation of the target's pods.
//!
//! The `ReplicaSet` controller deletes pods with a lower cost first, after those that are not ready. It is a hint: nothing
//! depends on it, because whatever a pod that goes still holds is handed over.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use shopwright_streams::sample::Known;
use tracing::debug;

use super::{cluster::Cluster, identity::ObjectKey, pods::TargetPods};
use crate::lease::WriteToken;

/// Longest time that a scale write waits for all of it.
const DEADLINE: Duration = Duration::from_secs(1);
/// What any work in hand costs, whatever its age.
const BUSY: i32 = 10;
/// Ages beyond this many seconds do not count.
const OLDEST: i32 = 3_600;

/// Writes under way at once: the API server has other things to do.
const TOGETHER: usize = 16;

/// A pod whose annotation is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pod: String,
    uid: String,
    cost: i32,
}

/// The changes that the newest samples call for, of pods that may be chosen at all. A pod is known by its name, which
/// consumers carry; where they have names of their own all pods cost the same.
pub(super) fn changes(pods: &TargetPods, samples: &[&Known]) -> Vec<Change> {
    let mut costs: BTreeMap<&str, i32> = BTreeMap::new();
    for share in samples.iter().flat_map(|known| &known.consumers) {
        if share.pending > 0 {
            let age = share.detail.map_or(0, |detail| detail.oldest_idle.as_secs());
            let cost = BUSY + i32::try_from(age).unwrap_or(OLDEST).min(OLDEST);
            let known = costs.entry(share.name.as_str()).or_default();
            *known = cost.max(*known);
        }
    }
    let candidates = pods.live.iter().filter(|pod| pod.owned && !pod.terminating);
    candidates
        .map(|pod| (pod, costs.get(pod.name.as_str()).copied().unwrap_or(0)))
        .filter(|(pod, cost)| pod.deletion_cost != *cost)
        .map(|(pod, cost)| Change {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            cost,
        })
        .collect()
}

/// Writes the costs. Never fails and never takes longer than a second: the scale write waits for it.
pub(super) async fn write<C: Cluster>(cluster: &C, token: &WriteToken, namespace: &str, changes: &[Change]) {
    let writes = futures::stream::iter(changes).for_each_concurrent(TOGETHER, |change| async move {
        let pod = ObjectKey::new(namespace, &change.pod);
        if let Err(error) = cluster.set_deletion_cost(token, &pod, &change.uid, change.cost).await {
            debug!(%pod, %error, "the deletion cost stays as it is");
        }
    });
    if tokio::time::timeout(DEADLINE, writes).await.is_err() {
        debug!(namespace, "not all deletion costs were written in time");
    }
}

#[cfg(test)]
mod tests {
    use shopwright_streams::sample::{ConsumerShare, Pending, ShareDetail};

    use super::{
        super::{pods::SeenPod, test_samples::empty},
        *,
    };

    fn pod(name: &str, deletion_cost: i32) -> SeenPod {
        SeenPod {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            ready: true,
            terminating: false,
            owned: true,
            created: 0,
            deletion_cost,
        }
    }

    fn known(shares: &[(&str, u64, Option<u64>)]) -> Known {
        let consumers = shares.iter().map(|(name, pending, age)| ConsumerShare {
            name: (*name).to_owned(),
            pending: *pending,
            detail: age.map(|age| ShareDetail {
                poison: 0,
                stalled: 0,
                oldest_idle: Duration::from_secs(age),
            }),
        });
        Known {
            pending: Pending {
                total: shares.iter().map(|(_, pending, _)| pending).sum(),
                ..empty().pending
            },
            consumers: consumers.collect(),
            ..empty()
        }
    }

    fn costs(pods: Vec<SeenPod>, samples: &[&Known]) -> Vec<(String, i32)> {
        let pods = TargetPods {
            live: pods,
            gone: Vec::new(),
        };
        let changes = changes(&pods, samples);
        changes.into_iter().map(|change| (change.pod, change.cost)).collect()
    }

    fn expected(costs: &[(&str, i32)]) -> Vec<(String, i32)> {
        costs.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect()
    }

    #[test]
    fn the_idle_cost_nothing_and_the_busy_more_the_longer_they_are_at_it() {
        let sample = known(&[
            ("b", 1, Some(0)),
            ("c", 7, Some(30)),
            ("d", 1, Some(1 << 40)),
            ("e", 300, None),
        ]);
        let pods = ["a", "b", "c", "d", "e"].map(|name| pod(name, -1)).to_vec();
        let wanted = expected(&[("a", 0), ("b", 10), ("c", 40), ("d", 3_610), ("e", 10)]);
        assert_eq!(costs(pods, &[&sample]), wanted);
    }

    #[test]
    fn of_several_streams_the_oldest_work_counts() {
        let (one, two) = (known(&[("a", 1, Some(5))]), known(&[("a", 1, Some(2))]));
        assert_eq!(costs(vec![pod("a", 0)], &[&one, &two]), expected(&[("a", 15)]));
        assert_eq!(costs(vec![pod("a", 0)], &[&two, &one]), expected(&[("a", 15)]));
    }

    #[test]
    fn nothing_is_written_that_is_there_already_nor_for_pods_on_their_way_out() {
        let sample = known(&[("a", 1, Some(5)), ("b", 1, Some(5)), ("c", 1, Some(5))]);
        let terminating = SeenPod {
            terminating: true,
            ..pod("b", 0)
        };
        let released = SeenPod {
            owned: false,
            ..pod("c", 0)
        };
        assert_eq!(
            costs(vec![pod("a", 15), terminating, released], &[&sample]),
            expected(&[])
        );
        assert_eq!(costs(vec![pod("a", 15)], &[&known(&[])]), expected(&[("a", 0)]));
    }

    #[test]
    fn names_that_are_no_pods_make_no_difference() {
        let sample = known(&[("worker-of-its-own-name", 5, Some(5))]);
        assert_eq!(costs(vec![pod("a", 0), pod("b", 0)], &[&sample]), expected(&[]));
    }
}
