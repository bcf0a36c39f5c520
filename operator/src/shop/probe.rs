//! Asks each shop's Redis how it is, in a task of its own, so that a Redis that does not answer holds up nobody's
//! reconcile. Touches Redis only.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use shopwright_streams::{Class as RedisClass, Client, Endpoint, connection::Vet};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::memory::Key;

/// The longest that one look may take; more than the connect timeout, so that a slow name service shows as such.
const DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks at a Redis that is well.
const WELL: Duration = Duration::from_secs(5);
/// Between two looks at one that is not, or that failed the last look.
const UNWELL: Duration = Duration::from_millis(500);
/// The same, when that has lasted for [`PATIENCE`].
const UNWELL_FOR_LONG: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_mins(1);
/// One look may fail for reasons of the network: as many in a row make the news.
const FAILURES_TO_BELIEVE: u32 = 2;

/// How a Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisHealth {
    /// It answers us, has its data, and writes its append-only file.
    Ready,
    /// It reads its data.
    Loading,
    /// Its append-only file is switched off or cannot be written.
    AppendOnlyFileFailing,
    /// It does not take our password, or does not let us ask.
    Denied(&'static str),
    /// No answer.
    Unreachable,
    /// Its address is one that we do not dial.
    ForbiddenAddress,
    /// Another answer.
    Other(&'static str),
}

impl RedisHealth {
    /// The reason of a condition.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ready => "Answering",
            Self::Loading => "Loading",
            Self::AppendOnlyFileFailing => "AppendOnlyFileFailing",
            Self::Denied(_) => "Denied",
            Self::Unreachable => "Unreachable",
            Self::ForbiddenAddress => "ForbiddenAddress",
            Self::Other(_) => "UnexpectedAnswer",
        }
    }

    /// A sentence for people.
    pub fn message(self) -> String {
        match self {
            Self::Ready => "Redis answers, has its data and writes its append-only file".into(),
            Self::Loading => "Redis is reading its data".into(),
            Self::AppendOnlyFileFailing => "Redis does not write its append-only file".into(),
            Self::Denied(code) => format!("Redis refuses the operator: {code}"),
            Self::Unreachable => "Redis does not answer".into(),
            Self::ForbiddenAddress => "the address of Redis must not be dialled".into(),
            Self::Other(code) => format!("Redis answers {code}"),
        }
    }
}

/// Looks once.
pub async fn look(client: &Client) -> RedisHealth {
    let question = async {
        client.ping().await?;
        let mut connection = client.shared().repeating();
        let persistence: String = redis::cmd("INFO")
            .arg("persistence")
            .query_async(&mut connection)
            .await?;
        Ok::<_, shopwright_streams::Error>(persistence)
    };
    match tokio::time::timeout(DEADLINE, question).await {
        Ok(Ok(persistence)) => judge(&persistence),
        Ok(Err(error)) => match error.class() {
            _ if error.code() == Some("LOADING") => RedisHealth::Loading,
            RedisClass::Denied => RedisHealth::Denied(error.word()),
            RedisClass::Unreachable => RedisHealth::Unreachable,
            RedisClass::ForbiddenAddress => RedisHealth::ForbiddenAddress,
            _ => RedisHealth::Other(error.word()),
        },
        Err(_) => RedisHealth::Unreachable,
    }
}

/// Judges the answer to `INFO persistence`.
fn judge(persistence: &str) -> RedisHealth {
    let field = |name: &str| {
        let mut lines = persistence.lines();
        lines.find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
    };
    if field("loading") == Some("1") || field("async_loading") == Some("1") {
        return RedisHealth::Loading;
    }
    let written = field("aof_enabled") == Some("1") && field("aof_last_write_status") == Some("ok");
    if written {
        RedisHealth::Ready
    } else {
        RedisHealth::AppendOnlyFileFailing
    }
}

struct Patient {
    endpoint: Endpoint,
    health: watch::Receiver<Option<RedisHealth>>,
    task: AbortHandle,
}

/// Watches over the Redis of every shop it was asked about.
pub struct Prober {
    patients: Mutex<HashMap<Key, Patient>>,
    news: mpsc::UnboundedSender<Key>,
    vet: Vet,
}

impl Prober {
    /// Looks only at addresses that `vet` allows. Tells `news` of each shop whose Redis changed.
    pub fn new(vet: Vet, news: mpsc::UnboundedSender<Key>) -> Self {
        Self {
            patients: Mutex::default(),
            news,
            vet,
        }
    }

    /// How the shop's Redis was when last looked at; `None` until the first look is over. Begins to watch over it.
    pub fn health(&self, key: &Key, endpoint: &Endpoint) -> Option<RedisHealth> {
        let mut patients = self.patients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(patient) = patients.get(key)
            && patient.endpoint == *endpoint
        {
            return *patient.health.borrow();
        }
        let (sender, health) = watch::channel(None);
        let client = Client::vetted(endpoint.clone(), self.vet.clone());
        let task = tokio::spawn(keep_looking(client, key.clone(), sender, self.news.clone())).abort_handle();
        let patient = Patient {
            endpoint: endpoint.clone(),
            health,
            task,
        };
        if let Some(former) = patients.insert(key.clone(), patient) {
            former.task.abort();
        }
        None
    }

    /// Stops watching over a shop's Redis.
    pub fn forget(&self, key: &Key) {
        if let Some(patient) = self.patients.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            patient.task.abort();
        }
    }

    /// Stops watching over every shop for which `is_there` says no.
    pub fn keep(&self, is_there: &impl Fn(&Key) -> bool) {
        self.patients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, patient| {
                let stays = is_there(key);
                if !stays {
                    patient.task.abort();
                }
                stays
            });
    }

    /// Stops watching over all of them.
    pub fn forget_all(&self) {
        for (_, patient) in self.patients.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            patient.task.abort();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.forget_all();
    }
}

async fn keep_looking(
    client: Client,
    key: Key,
    sender: watch::Sender<Option<RedisHealth>>,
    news: mpsc::UnboundedSender<Key>,
) {
    let mut failures = 0;
    let mut unwell_since = Instant::now();
    loop {
        let health = look(&client).await;
        if health == RedisHealth::Ready {
            failures = 0;
            unwell_since = Instant::now();
        } else {
            failures += 1;
        }
        let believed = *sender.borrow();
        let doubtful = believed == Some(RedisHealth::Ready) && (1..FAILURES_TO_BELIEVE).contains(&failures);
        if believed != Some(health) && !doubtful {
            sender.send_replace(Some(health));
            if news.send(key.clone()).is_err() {
                return;
            }
        }
        let pause = match health {
            RedisHealth::Ready => WELL,
            _ if unwell_since.elapsed() < PATIENCE => UNWELL,
            _ => UNWELL_FOR_LONG,
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use shopwright_domain::access;
    use shopwright_redis_stack::{Append, Options, RedisStack};
    use shopwright_streams::Secret;

    use super::*;
    use crate::shop::hash::sha256_hex;

    const WELL_ANSWER: &str =
        "# Persistence\r\nloading:0\r\nasync_loading:0\r\naof_enabled:1\r\naof_last_write_status:ok\r\n";

    #[test]
    fn the_answer_is_judged_field_by_field() {
        assert_eq!(judge(WELL_ANSWER), RedisHealth::Ready);
        assert_eq!(
            judge(&WELL_ANSWER.replace("\nloading:0", "\nloading:1")),
            RedisHealth::Loading
        );
        assert_eq!(
            judge(&WELL_ANSWER.replace("status:ok", "status:err")),
            RedisHealth::AppendOnlyFileFailing
        );
        assert_eq!(
            judge(&WELL_ANSWER.replace("enabled:1", "enabled:0")),
            RedisHealth::AppendOnlyFileFailing
        );
        assert_eq!(judge(""), RedisHealth::AppendOnlyFileFailing);
    }

    fn shop() -> Key {
        ("shops".into(), "demo".into())
    }

    async fn until(news: &mut mpsc::UnboundedReceiver<Key>, prober: &Prober, endpoint: &Endpoint, wanted: RedisHealth) {
        let waiting = async {
            while prober.health(&shop(), endpoint) != Some(wanted) {
                assert_eq!(news.recv().await, Some(shop()));
            }
        };
        tokio::time::timeout(Duration::from_mins(1), waiting)
            .await
            .unwrap_or_else(|_| panic!("never {wanted:?}"));
    }

    fn redis() -> RedisStack {
        let operator = access::acl_line(access::User::Operator, "demo", &sha256_hex("right"));
        RedisStack::start(Options {
            modules: false,
            append: Append::Always,
            acl: vec![access::DEFAULT_OFF.into(), operator],
            ..Options::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_paused_redis_is_told_of_and_so_is_its_return() {
        let redis = redis();
        let (sender, mut news) = mpsc::unbounded_channel();
        let prober = Prober::new(Vet::new(|_| true), sender);
        let endpoint = Endpoint::new(redis.host(), redis.port()).with_user("operator", Secret::new("right"));
        assert_eq!(prober.health(&shop(), &endpoint), None, "not looked yet");
        until(&mut news, &prober, &endpoint, RedisHealth::Ready).await;
        redis.pause().unwrap();
        until(&mut news, &prober, &endpoint, RedisHealth::Unreachable).await;
        redis.resume().unwrap();
        until(&mut news, &prober, &endpoint, RedisHealth::Ready).await;
    }

    #[tokio::test]
    async fn another_password_is_tried_at_once() {
        let redis = redis();
        let (sender, mut news) = mpsc::unbounded_channel();
        let prober = Prober::new(Vet::new(|_| true), sender);
        let wrong = Endpoint::new(redis.host(), redis.port()).with_user("operator", Secret::new("wrong"));
        until(&mut news, &prober, &wrong, RedisHealth::Denied("WRONGPASS")).await;
        let right = Endpoint::new(redis.host(), redis.port()).with_user("operator", Secret::new("right"));
        until(&mut news, &prober, &right, RedisHealth::Ready).await;
    }

    #[tokio::test]
    async fn a_forbidden_address_is_not_dialled() {
        let (sender, mut news) = mpsc::unbounded_channel();
        let prober = Prober::new(Vet::new(|_| false), sender);
        let endpoint = Endpoint::new("127.0.0.1", 1);
        until(&mut news, &prober, &endpoint, RedisHealth::ForbiddenAddress).await;
    }
}
