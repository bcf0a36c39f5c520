//! The shop's main Redis: dies and comes back on the same port and data. Touches the one server it started, and its files.

mod append_file;
mod growth;
mod slow_disk;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use shopwright_redis_stack::{Append, Options, RedisStack};

pub use growth::Growth;
pub use slow_disk::{NotTried, SlowDisk};

use crate::plan::{Durability, RedisDeath};

/// Between two deaths Redis runs at least so many times as long as it took to load.
const LOAD_TIMES: u32 = 3;

/// One death of the main Redis. Times are Unix milliseconds of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died {
    /// How.
    pub death: RedisDeath,
    /// Just before the signal.
    pub from: u64,
    /// When it was gone.
    pub until: u64,
    /// How long the next one took to load.
    pub loading: Duration,
    /// Bytes that were cut off the end of its file.
    pub cut: u64,
    /// The longest that an fsync was being delayed shortly before.
    pub fsync_delay: Duration,
}

/// The main Redis. Cloning is cheap; the server ends with the last clone.
#[derive(Clone)]
pub struct Database {
    server: Arc<Mutex<RedisStack>>,
    state: Arc<Mutex<State>>,
    port: u16,
    directory: PathBuf,
    client: redis::Client,
}

struct State {
    ready_since: Instant,
    loading: Duration,
    deaths: Vec<Died>,
    /// Until when, and by how much, fsyncs were last delayed.
    slow_disk: Option<(Option<Instant>, Duration)>,
}

impl Database {
    /// Starts it, with its data in `directory`.
    pub async fn start(durability: Durability, acl: Vec<String>, directory: &Path) -> Result<Self> {
        let options = Options {
            append: match durability {
                Durability::Always => Append::Always,
                Durability::EverySecond => Append::EverySecond,
            },
            acl,
            directory: Some(directory.to_owned()),
            ..Options::default()
        };
        let began = Instant::now();
        let server = RedisStack::start_async(options).await?;
        Ok(Self {
            port: server.port(),
            directory: directory.to_owned(),
            client: server.client()?,
            server: Arc::new(Mutex::new(server)),
            state: Arc::new(Mutex::new(State {
                ready_since: Instant::now(),
                loading: began.elapsed(),
                deaths: Vec::new(),
                slow_disk: None,
            })),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// A client with all rights.
    pub fn client(&self) -> &redis::Client {
        &self.client
    }

    /// The user with all rights, and its password.
    pub fn harness(&self) -> Result<(String, String)> {
        let server = locked(&self.server);
        let (user, password) = server.harness().context("the main Redis has an ACL")?;
        Ok((user.to_owned(), password.to_owned()))
    }

    /// The deaths so far.
    pub fn deaths(&self) -> Vec<Died> {
        locked(&self.state).deaths.clone()
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        locked(&self.server).process_id()
    }

    /// How long until it may die: three times what it took to load, since it was ready.
    pub fn safe_in(&self) -> Duration {
        let state = locked(&self.state);
        (state.loading * LOAD_TIMES).saturating_sub(state.ready_since.elapsed())
    }

    /// Lets it die and brings it back; returns when it answers.
    pub async fn die(&self, death: RedisDeath, growth: &Growth) -> Result<()> {
        let database = self.clone();
        let growth = growth.clone();
        // On a thread of its own: when the storm is broken off meanwhile, the server is still ended in order.
        tokio::task::spawn_blocking(move || database.die_blocking(death, &growth)).await?
    }

    fn die_blocking(&self, death: RedisDeath, growth: &Growth) -> Result<()> {
        let mut server = locked(&self.server);
        let (fsync_delay, from, now) = (self.fsync_delay(), unix_milliseconds(), Instant::now());
        server.kill()?;
        let until = unix_milliseconds();
        let cut = match death {
            RedisDeath::Killed => 0,
            RedisDeath::PowerLost { age } => growth.cut_since(now, age + fsync_delay, &self.directory)?,
        };
        let began = Instant::now();
        server.restart()?;
        let loading = began.elapsed();
        let mut state = locked(&self.state);
        state.loading = loading;
        state.ready_since = Instant::now();
        state.deaths.push(Died {
            death,
            from,
            until,
            loading,
            cut,
            fsync_delay,
        });
        Ok(())
    }

    /// Makes its disk slow, until what is returned is dropped and [noted](Self::note_disk_recovered).
    pub async fn slow_disk(&self, delay: Duration, log: &Path) -> Result<Result<SlowDisk, NotTried>> {
        let (database, log) = (self.clone(), log.to_owned());
        let attached = tokio::task::spawn_blocking(move || {
            // Held, so that the process cannot be replaced by another of its id meanwhile.
            let server = locked(&database.server);
            let attached = SlowDisk::attach(server.process_id(), delay, &log);
            if attached.is_ok() {
                locked(&database.state).slow_disk = Some((None, delay));
            }
            attached
        });
        Ok(attached.await?)
    }

    /// Its disk is as fast again as it was.
    pub fn note_disk_recovered(&self, delay: Duration) {
        locked(&self.state).slow_disk = Some((Some(Instant::now()), delay));
    }

    /// How much an fsync was being delayed when the last ones before now began.
    fn fsync_delay(&self) -> Duration {
        match locked(&self.state).slow_disk {
            Some((None, delay)) => delay,
            Some((Some(until), delay)) if until.elapsed() < Duration::from_secs(2) + delay => delay,
            _ => Duration::ZERO,
        }
    }
}

/// A holder that panicked has left nothing half done that a later one could trip over.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clock of this machine.
pub fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
