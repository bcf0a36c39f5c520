//! The watcher's loop: block, wake, quarantine, dial again. Touches one private connection.

use super::set::WatchedSet;
use super::{Change, Event, Settings};
use crate::back_off::BackOff;
use crate::connection::Client;
use crate::entry_id::EntryId;
use crate::error::{Class, Error};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{Cmd, RedisResult};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Changes that come this close together are one. What arrives meanwhile wakes that much later.
const TOGETHER: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub(super) async fn run<Token: Clone + Eq + Hash + Send + Sync + 'static>(
    client: Client,
    settings: Settings,
    mut changes: UnboundedReceiver<Change<Token>>,
    events: UnboundedSender<Event<Token>>,
) {
    let mut task = Task {
        settings,
        events,
        set: WatchedSet::new(),
        connection: None,
        next_probe: Instant::now(),
        lost: None,
        back_off: BackOff::new(FIRST_WAIT, LONGEST_WAIT),
    };
    loop {
        let calls = Calls {
            blocking: task.set.blocking(),
            quarantined: task.set.quarantined(),
        };
        if calls.blocking.is_empty() && calls.quarantined.is_empty() {
            let Some(change) = changes.recv().await else { return };
            apply(&mut task.set, change);
            continue;
        }
        let turn = turn(&client, &mut task.connection, &calls, settings, task.next_probe);
        let Some(outcome) = until_outdated(turn, &mut changes, &mut task.set).await else {
            return;
        };
        match outcome {
            // The call under way names the old set. Only closing its connection ends it.
            Outcome::Outdated => task.connection = None,
            Outcome::Ended(result) => {
                if task.handle(result, &calls) == Next::Wait {
                    tokio::time::sleep(task.back_off.wait()).await;
                }
            }
        }
    }
}

enum Outcome {
    /// The set changed in a way that the call does not cover.
    Outdated,
    Ended(Result<Turn, Error>),
}

/// Lets `turn` go on through changes that do not concern it: a second call on its connection would queue behind it.
/// None when nobody holds the watcher any more.
async fn until_outdated<Token: Clone + Eq + Hash>(
    turn: impl Future<Output = Result<Turn, Error>>,
    changes: &mut UnboundedReceiver<Change<Token>>,
    set: &mut WatchedSet<Token>,
) -> Option<Outcome> {
    let mut turn = pin!(turn);
    loop {
        tokio::select! {
            biased;
            change = changes.recv() => {
                let mut outdated = apply(set, change?);
                if outdated {
                    // A new call costs a new connection: groups that come to rest together share it.
                    tokio::time::sleep(TOGETHER).await;
                }
                // One new call for all that has changed by now.
                while let Ok(change) = changes.try_recv() {
                    outdated |= apply(set, change);
                }
                if outdated {
                    return Some(Outcome::Outdated);
                }
            }
            result = &mut turn => return Some(Outcome::Ended(result)),
        }
    }
}

/// Returns whether the call under way is out of date. A removal leaves it be: a wake for nobody is not sent on.
fn apply<Token: Clone + Eq + Hash>(set: &mut WatchedSet<Token>, change: Change<Token>) -> bool {
    match change {
        Change::Add(watches) => {
            // Each of them, also after the first that matters.
            watches
                .into_iter()
                .fold(false, |outdated, (token, watch)| set.add(token, watch) || outdated)
        }
        Change::Remove(token) => {
            set.remove(&token);
            false
        }
    }
}

/// The streams of one turn and the positions behind which entries are news.
struct Calls {
    /// Named together in one blocking call.
    blocking: BTreeMap<String, EntryId>,
    /// Tried one by one.
    quarantined: BTreeMap<String, EntryId>,
}

/// What one turn of the loop brought.
enum Turn {
    /// The blocking call returned: news, or none in time.
    Read(RedisResult<Option<StreamReadReply>>),
    /// Each key tried alone.
    Probed(Vec<(String, RedisResult<Option<StreamReadReply>>)>),
}

/// One call on the private connection, dialled first if need be. Dropped half-way, the connection still waits for the
/// reply and must be dropped too.
async fn turn(
    client: &Client,
    connection: &mut Option<MultiplexedConnection>,
    calls: &Calls,
    settings: Settings,
    next_probe: Instant,
) -> Result<Turn, Error> {
    if calls.blocking.is_empty() {
        tokio::time::sleep_until(next_probe).await;
    }
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(client.private(settings.block).await?),
    };
    let until_probe = next_probe.saturating_duration_since(Instant::now());
    let block = if calls.quarantined.is_empty() {
        settings.block
    } else if until_probe.is_zero() {
        return Ok(Turn::Probed(probe(connection, &calls.quarantined).await?));
    } else {
        settings.block.min(until_probe)
    };
    // BLOCK 0 would wait for ever.
    let block = block.max(Duration::from_millis(1));
    Ok(Turn::Read(
        xread(Some(block), &calls.blocking).query_async(connection).await,
    ))
}

fn xread(block: Option<Duration>, positions: &BTreeMap<String, EntryId>) -> Cmd {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(1);
    if let Some(block) = block {
        command
            .arg("BLOCK")
            .arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
    }
    command.arg("STREAMS");
    for key in positions.keys() {
        command.arg(key);
    }
    for position in positions.values() {
        command.arg(position.to_string());
    }
    command
}

/// Tries each key alone, without blocking, in one round trip.
async fn probe(
    connection: &mut MultiplexedConnection,
    positions: &BTreeMap<String, EntryId>,
) -> RedisResult<Vec<(String, RedisResult<Option<StreamReadReply>>)>> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for (key, position) in positions {
        pipeline.add_command(xread(None, &BTreeMap::from([(key.clone(), *position)])));
    }
    let replies: Vec<RedisResult<Option<StreamReadReply>>> = pipeline.query_async(connection).await?;
    Ok(positions.keys().cloned().zip(replies).collect())
}

/// When the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Now,
    Wait,
}

struct Task<Token> {
    settings: Settings,
    events: UnboundedSender<Event<Token>>,
    set: WatchedSet<Token>,
    connection: Option<MultiplexedConnection>,
    next_probe: Instant,
    /// Why there is no answer, while there is none.
    lost: Option<Error>,
    back_off: BackOff,
}

impl<Token: Clone + Eq + Hash + Send + Sync + 'static> Task<Token> {
    fn handle(&mut self, result: Result<Turn, Error>, calls: &Calls) -> Next {
        match result {
            Ok(Turn::Read(Ok(reply))) => {
                self.answered();
                self.wake(reply);
                Next::Now
            }
            Ok(Turn::Read(Err(error))) => self.blocking_call_failed(Error::from(error), calls),
            Ok(Turn::Probed(results)) => {
                self.answered();
                self.next_probe = Instant::now() + self.settings.probe;
                for (key, result) in results {
                    self.probed(&key, result);
                }
                Next::Now
            }
            Err(error) => self.no_answer(error),
        }
    }

    fn answered(&mut self) {
        self.back_off.reset();
        if self.lost.take().is_some() {
            self.send(Event::Restored);
        }
    }

    fn no_answer(&mut self, error: Error) -> Next {
        self.connection = None;
        // Once for each reason: a server that comes back and refuses the password is news.
        if self.lost.replace(error) != Some(error) {
            self.send(Event::Lost(error));
        }
        Next::Wait
    }

    /// One bad key fails the call for all. Which one is not said, so all of them are tried alone: they go to quarantine
    /// unannounced, and the probe at once lets the good ones out again.
    fn blocking_call_failed(&mut self, error: Error, calls: &Calls) -> Next {
        match error.class() {
            Class::WrongType | Class::Denied => {
                for key in calls.blocking.keys() {
                    self.set.quarantine(key, true);
                }
                self.next_probe = Instant::now();
                Next::Now
            }
            _ => self.no_answer(error),
        }
    }

    fn probed(&mut self, key: &str, result: RedisResult<Option<StreamReadReply>>) {
        match result {
            Ok(reply) => {
                self.set.quarantine(key, false);
                self.wake(reply);
            }
            Err(error) => {
                // Said at each probe would flood; the caller keeps the last word it was told.
                for token in self.set.newly_refused(key) {
                    self.send(Event::Refused(token, Error::from(&error)));
                }
            }
        }
    }

    fn wake(&mut self, reply: Option<StreamReadReply>) {
        for stream in reply.map(|reply| reply.keys).unwrap_or_default() {
            let Some(id) = stream.ids.first().and_then(|entry| entry.id.parse().ok()) else {
                continue;
            };
            for token in self.set.wake(&stream.key, id) {
                self.send(Event::Woken(token));
            }
        }
    }

    fn send(&self, event: Event<Token>) {
        // The caller dropped the receiver, so it no longer wants to know.
        let _ = self.events.send(event);
    }
}
