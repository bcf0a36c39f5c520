//! Waits for new entries of many groups at once, on one private connection. Reads only.
//!
//! One blocking XREAD names every watched stream with its group's position and returns the moment any has more. A woken
//! watch leaves the set until it is put back, or the same entry would wake it again at once.

mod set;
mod task;

pub use set::Watch;

use crate::connection::Client;
use crate::error::Error;
use std::hash::Hash;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How a watcher waits.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long one XREAD blocks. A stream whose ids went back never wakes a reader that waits for a larger one, so
    /// keep it at 2 s or less.
    pub block: Duration,
    /// How often keys that make the call fail are tried again, one by one.
    pub probe: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block: Duration::from_secs(2),
            probe: Duration::from_secs(1),
        }
    }
}

/// What a watcher saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<Token> {
    /// There is an entry behind the watch's position. The watch has left the set; sample, then put it back.
    Woken(Token),
    /// The key is of another type or may not be read. It is tried again at each probe, apart from the others.
    Refused(Token, Error),
    /// Redis does not answer; dialling goes on by itself. Said once for each reason.
    Lost(Error),
    /// Redis answers again after a loss. Anything may have changed meanwhile: sample.
    Restored,
}

/// Watches streams from its own task. Dropping it ends the task.
#[derive(Debug)]
pub struct Watcher<Token> {
    changes: mpsc::UnboundedSender<Change<Token>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Change<Token> {
    Add(Vec<(Token, Watch)>),
    Remove(Token),
}

impl<Token: Clone + Eq + Hash + Send + Sync + 'static> Watcher<Token> {
    /// Starts a watcher with an empty set. `Token` is the caller's name for a watch.
    pub fn start(client: Client, settings: Settings) -> (Self, mpsc::UnboundedReceiver<Event<Token>>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let (events, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(task::run(client, settings, receiver, events));
        (Self { changes, task }, seen)
    }

    /// Puts a watch into the set, or back into it, or moves it. Takes effect at once.
    pub fn watch(&self, token: Token, watch: Watch) {
        self.watch_all(vec![(token, watch)]);
    }

    /// The same for many at once, which costs one new call instead of one each.
    pub fn watch_all(&self, watches: Vec<(Token, Watch)>) {
        // The task ends only when this handle is dropped.
        let _ = self.changes.send(Change::Add(watches));
    }

    /// Takes a watch out of the set. A wake that was already seen may still arrive.
    pub fn unwatch(&self, token: Token) {
        let _ = self.changes.send(Change::Remove(token));
    }
}

impl<Token> Drop for Watcher<Token> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
