//! One property, the right loop that keeps it, and three wrong ways that do not: the check is worth something only if it
//! notices them.

use crate::batching::{add_all, number};
use crate::running::{HOUR, Running, settings, start_batches};
use crate::support::{calls, command, eventually, execute, redis};
use redis::streams::StreamInfoGroupsReply;
use shopwright_redis_stack::RedisStack;
use shopwright_streams::consume::{BatchHandler, Counters, Entry, Outcome, Settings};
use shopwright_streams::trim::{self, Trimmed};
use shopwright_streams::{Client, EntryId, Shared};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const IDLE: Duration = Duration::from_millis(200);
/// Reads by a live consumer after which it must have looked for something idle: between two of them it does so when it is
/// time, and none of them blocks for longer than a tenth of the idle time.
const READS: u64 = 50;

/// What is wrong once a stream has come to rest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Violations {
    /// Entries that were accepted and have no effect.
    without_effect: BTreeSet<usize>,
    /// Entries that are pending and that nobody takes up, or that nobody reads.
    unfinished: u64,
}

/// A stream, its group, and the effects of its entries: a set, so that one may come twice.
struct World {
    _stack: RedisStack,
    client: Client,
    shared: Shared,
}

impl World {
    async fn new() -> Self {
        let (stack, client) = redis().await;
        let shared = client.shared();
        crate::running::group(&shared).await;
        Self {
            _stack: stack,
            client,
            shared,
        }
    }

    fn consumer(&self, name: &str, handler: &Arc<Store>, claim_interval: Duration) -> Running {
        let settings = Settings {
            claim_min_idle: IDLE,
            claim_interval,
            block: IDLE / 10,
            ..settings(name)
        };
        start_batches(&self.client, settings, handler)
    }

    /// Pending and undelivered entries.
    async fn unfinished(&self) -> u64 {
        let groups: StreamInfoGroupsReply = command(&self.shared, "XINFO GROUPS s").await.unwrap();
        let group = &groups.groups[0];
        let ahead = format!("XRANGE s ({} +", group.last_delivered_id);
        let ahead: Vec<redis::Value> = command(&self.shared, &ahead).await.unwrap();
        u64::try_from(group.pending + ahead.len()).unwrap()
    }

    /// Pending entries that have been idle for so long that they are to be claimed.
    async fn abandoned(&self) -> BTreeSet<EntryId> {
        let abandoned = format!("XPENDING s g IDLE {} - + 10000", IDLE.as_millis());
        let items: Vec<(String, String, u64, u64)> = command(&self.shared, &abandoned).await.unwrap();
        items.iter().map(|item| item.0.parse().unwrap()).collect()
    }

    /// Waits until nothing is left to do, or until what is left has been ignored by a consumer that works on.
    async fn at_rest(&self) {
        let mut since: Option<(BTreeSet<EntryId>, u64)> = None;
        eventually("rest", async || {
            if self.unfinished().await == 0 {
                return true;
            }
            let (now, reads) = (self.abandoned().await, calls(&self.shared, "xreadgroup").await);
            match &mut since {
                Some((left, began)) if !left.is_disjoint(&now) => {
                    left.retain(|id| now.contains(id));
                    reads > *began + READS
                }
                _ => {
                    since = Some((now, reads));
                    false
                }
            }
        })
        .await;
    }

    /// The property: each of `accepted` has its effect, at least once, and nothing is left.
    async fn violations(&self, accepted: std::ops::Range<usize>) -> Violations {
        self.at_rest().await;
        let effects: BTreeSet<usize> = command(&self.shared, "SMEMBERS effects").await.unwrap();
        Violations {
            without_effect: accepted.filter(|number| !effects.contains(number)).collect(),
            unfinished: self.unfinished().await,
        }
    }
}

/// Stores an effect for each entry. Told to die, it stops for ever before that of `LAST`, so that the test can kill it.
struct Store {
    shared: Shared,
    dies: AtomicBool,
    dying: AtomicBool,
    /// The mutation: what the loop does afterwards is done before.
    acknowledges_first: bool,
}

const LAST: usize = 9;

impl Store {
    fn new(world: &World, dies: bool, acknowledges_first: bool) -> Arc<Self> {
        Arc::new(Self {
            shared: world.shared.clone(),
            dies: AtomicBool::new(dies),
            dying: AtomicBool::new(false),
            acknowledges_first,
        })
    }

    async fn killed(&self, running: Running) -> Arc<Counters> {
        eventually("it is about to die", async || self.dying.load(Ordering::SeqCst)).await;
        let counters = Arc::clone(&running.counters);
        running.kill().await;
        counters
    }
}

impl BatchHandler for Store {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        for entry in entries {
            let number = number(entry);
            if self.acknowledges_first {
                execute(&self.shared, &format!("XACK s g {}", entry.id)).await;
            }
            if number == LAST && self.dies.load(Ordering::SeqCst) {
                self.dying.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            execute(&self.shared, &format!("SADD effects {number}")).await;
        }
        vec![Outcome::Done; entries.len()]
    }
}

/// A consumer dies before the effect of its last entry, and a peer goes on.
async fn dies_before_the_effect(acknowledges_first: bool) -> Violations {
    let world = World::new().await;
    add_all(&world.shared, 0..LAST + 1).await;
    let dying = Store::new(&world, true, acknowledges_first);
    let running = world.consumer("dying", &dying, IDLE / 4);
    dying.killed(running).await;
    let peers = Store::new(&world, false, acknowledges_first);
    let peer = world.consumer("peer", &peers, IDLE / 4);
    add_all(&world.shared, LAST + 1..LAST + 10).await;
    let violations = world.violations(0..LAST + 10).await;
    peer.stop().await;
    violations
}

#[tokio::test]
async fn mutation_ack_before_effect_is_noticed() {
    assert_eq!(dies_before_the_effect(false).await, Violations::default());
    let mutant = dies_before_the_effect(true).await;
    assert_eq!(mutant.without_effect, BTreeSet::from([LAST]));
}

/// A consumer dies with entries in hand while a peer is at work.
async fn dies_beside_a_peer(claim_interval: Duration) -> Violations {
    let world = World::new().await;
    let peers = Store::new(&world, false, false);
    let peer = world.consumer("peer", &peers, claim_interval);
    // Past its first look, which it takes at its start.
    let looks = calls(&world.shared, "xreadgroup").await + 2;
    eventually("the peer reads", async || {
        calls(&world.shared, "xreadgroup").await >= looks
    })
    .await;
    let dying = Store::new(&world, true, false);
    let running = world.consumer("dying", &dying, claim_interval);
    let mut added = 0;
    // Whose turn it is to read, Redis says.
    while !dying.dying.load(Ordering::SeqCst) {
        let number = if added < LAST { added } else { LAST };
        add_all(&world.shared, number..number + 1).await;
        added += 1;
        eventually("taken", async || {
            dying.dying.load(Ordering::SeqCst) || world.unfinished().await == 0
        })
        .await;
    }
    dying.killed(running).await;
    // The peer works on, and with it the world looks sound.
    add_all(&world.shared, LAST + 1..LAST + 20).await;
    let violations = world.violations(0..LAST + 20).await;
    peer.stop().await;
    violations
}

#[tokio::test]
async fn mutation_no_claim_is_noticed() {
    assert_eq!(dies_beside_a_peer(IDLE / 4).await, Violations::default());
    assert_eq!(dies_beside_a_peer(HOUR).await.unfinished, 1);
}

enum Trim {
    BehindTheSlowestGroup,
    /// To the length that the entries in work are usually below.
    ByLength(usize),
}

/// A consumer dies, work piles up, the stream is trimmed, and a peer goes on.
async fn trimmed_while_work_is_left(trim: Trim) -> Violations {
    const FINISHED: usize = 500;
    const TOTAL: usize = FINISHED + 40;
    let world = World::new().await;
    let first = Store::new(&world, true, false);
    // Numbers from LAST + 1 on, so that it does not die of them.
    add_all(&world.shared, LAST + 1..FINISHED).await;
    let running = world.consumer("dying", &first, IDLE / 4);
    world.at_rest().await;
    add_all(&world.shared, 0..LAST + 1).await;
    first.killed(running).await;
    add_all(&world.shared, FINISHED..TOTAL).await;
    match trim {
        Trim::BehindTheSlowestGroup => {
            let trimmed = trim::behind(&world.shared, "s", &["g"], Duration::ZERO).await.unwrap();
            // Whole blocks of a hundred, so it proves something.
            assert!(matches!(trimmed, Trimmed::Trimmed(400..)), "{trimmed:?}");
        }
        Trim::ByLength(most) => execute(&world.shared, &format!("XTRIM s MAXLEN {most}")).await,
    }
    let peers = Store::new(&world, false, false);
    let peer = world.consumer("peer", &peers, IDLE / 4);
    let violations = world.violations(0..TOTAL).await;
    peer.stop().await;
    violations
}

#[tokio::test]
async fn mutation_maxlen_for_minid_is_noticed() {
    let right = trimmed_while_work_is_left(Trim::BehindTheSlowestGroup).await;
    assert_eq!(right, Violations::default());
    // Undelivered entries go, and those that were delivered and not finished.
    let mutant = trimmed_while_work_is_left(Trim::ByLength(30)).await;
    assert_eq!(mutant.without_effect.first(), Some(&LAST), "{mutant:?}");
    assert_eq!(mutant.without_effect.len(), 11, "{mutant:?}");
    assert_eq!(mutant.unfinished, 0, "and nothing shows it");
}
