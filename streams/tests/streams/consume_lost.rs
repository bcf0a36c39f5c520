//! The consumer loop when Redis does what it is asked and the answer never comes.

use crate::running::{HOUR, Recorder, Running, all_acknowledged, group, settings, start, start_batches};
use crate::support::{RESPONSE_TIMEOUT, add, execute, redis};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shopwright_redis_stack::RedisStack;
use shopwright_streams::consume::{BatchHandler, Entry, Handler, Outcome, Settings};
use shopwright_streams::{Client, Endpoint, EntryId, dead_letter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A way to Redis that carries every request there. For a request that `loses` answers true to, it waits until Redis has
/// answered and then closes the connection instead of passing that on.
async fn lossy(stack: &RedisStack, loses: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let redis = format!("{}:{}", stack.host(), stack.port());
    let loses = Arc::new(loses);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let Ok(server) = TcpStream::connect(&redis).await else {
                continue;
            };
            tokio::spawn(carry(client, server, Arc::clone(&loses)));
        }
    });
    Client::new(Endpoint::new(here.ip().to_string(), here.port())).with_response_timeout(RESPONSE_TIMEOUT)
}

async fn carry(mut client: TcpStream, mut server: TcpStream, loses: Arc<impl Fn(&[u8]) -> bool>) {
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    let mut losing = false;
    loop {
        tokio::select! {
            read = client.read(&mut request) => match read {
                Ok(length @ 1..) => {
                    losing |= loses(&request[..length]);
                    if server.write_all(&request[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answer) => match read {
                Ok(length @ 1..) if !losing && client.write_all(&answer[..length]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_restarted_consumer_counts_once_however_many_answers_are_lost() {
    let (stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(add(&shared, "s", number).await);
    }
    execute(&shared, "XREADGROUP GROUP g a STREAMS s >").await;
    // What takes entries over under its own name; more often than an entry has deliveries.
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    let lossy = lossy(&stack, move |request| {
        let takes = request.windows(10).any(|bytes| bytes == b"RETRYCOUNT");
        takes && counter.fetch_add(1, Ordering::SeqCst) < 7
    })
    .await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    let patient = Settings {
        claim_min_idle: HOUR,
        ..settings("a")
    };
    let running = start(&lossy, patient, &handler);
    all_acknowledged(&shared).await;
    assert!(lost.load(Ordering::SeqCst) > 7);
    for id in ids {
        assert_eq!(handler.counts(id), [2]);
    }
    assert_eq!(dead_letter::count(&shared, "s:dead:g").await.unwrap(), 0);
    running.stop().await;
}

/// Refuses every tenth entry. Records the delivery counts of all.
#[derive(Default)]
struct Picky(Mutex<BTreeMap<EntryId, Vec<u64>>>);

impl Picky {
    fn outcome(&self, entry: &Entry) -> Outcome {
        self.0
            .lock()
            .unwrap()
            .entry(entry.id)
            .or_default()
            .push(entry.delivery_count);
        let number: usize = entry.fields.text("number").unwrap().parse().unwrap();
        if number.is_multiple_of(10) {
            Outcome::Reject("malformed")
        } else {
            Outcome::Done
        }
    }
}

impl Handler for Picky {
    async fn handle(&self, entry: &Entry) -> Outcome {
        self.outcome(entry)
    }
}

impl BatchHandler for Picky {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        entries.iter().map(|entry| self.outcome(entry)).collect()
    }
}

#[tokio::test]
async fn answers_lost_at_random_lose_nothing_double_nothing_and_burn_no_delivery() {
    answers_lost_at_random(start).await;
}

#[tokio::test]
async fn answers_lost_at_random_harm_batches_as_little() {
    answers_lost_at_random(start_batches).await;
}

async fn answers_lost_at_random(start: fn(&Client, Settings, &Arc<Picky>) -> Running) {
    const ENTRIES: usize = 400;
    let (stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let (mut ids, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..ENTRIES {
        let id = add(&shared, "s", number).await;
        ids.insert(id);
        if number.is_multiple_of(10) {
            refused.insert(id);
        }
    }
    // A dead consumer's share is claimed rather than read.
    execute(&shared, "XREADGROUP GROUP g dead COUNT 100 STREAMS s >").await;
    shopwright_streams::hand_over::of(&shared, "s", "g", "dead", HOUR, ENTRIES)
        .await
        .unwrap();
    let lost = Arc::new(AtomicUsize::new(0));
    let (counter, random) = (Arc::clone(&lost), Mutex::new(StdRng::seed_from_u64(4)));
    let lossy = lossy(&stack, move |_| {
        let loses = random.lock().unwrap().random_bool(0.05);
        counter.fetch_add(usize::from(loses), Ordering::SeqCst);
        loses
    })
    .await;
    let handler = Arc::new(Picky::default());
    let running = ["a", "b"].map(|name| {
        // Nothing comes again by being idle: what a lost answer handed out must be found by whom it was handed to.
        let patient = Settings {
            claim_min_idle: HOUR,
            concurrency: 4,
            ..settings(name)
        };
        start(&lossy, patient, &handler)
    });
    all_acknowledged(&shared).await;
    for running in running {
        assert_eq!(running.stop().await.unfinished, 0);
    }
    let dead = dead_letter::list(&shared, "s:dead:g", EntryId::ZERO, ENTRIES).await;
    let dead: Vec<EntryId> = dead.unwrap().iter().map(|letter| letter.entry).collect();
    assert_eq!(dead.len(), refused.len(), "each buried once");
    assert_eq!(BTreeSet::from_iter(dead), refused);
    let seen = handler.0.lock().unwrap();
    assert!(seen.keys().eq(ids.iter()), "{} of {ENTRIES} seen", seen.len());
    assert!(seen.values().all(|counts| *counts == [1]), "{seen:?}");
    println!("{} answers were lost", lost.load(Ordering::SeqCst));
    assert!(lost.load(Ordering::SeqCst) > 10);
}
