//! Redis away for longer than the claim time, with two consumers and an entry in hand all the while: idle time grows, and
//! nobody has failed.

use crate::running::{Recorder, all_acknowledged, group, settings, start};
use crate::support::{RESPONSE_TIMEOUT, add, command, durable_redis, endpoint, evaluate, eventually, redis};
use shopwright_redis_stack::RedisStack;
use shopwright_streams::consume::{Outcome, Settings};
use shopwright_streams::{Client, Endpoint, EntryId, Shared, dead_letter};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Half of it is what the holder has to be quicker than its peer, once Redis is back.
const IDLE: Duration = Duration::from_secs(8);
const OUTAGE: Duration = Duration::from_secs(9);

/// What another consumer handed over, with the id 9999999999999-1: in one step, so that nobody reads it.
const HAND_OVER: &str = r"
redis.call('XADD', KEYS[1], '9999999999999-1', 'number', 2)
redis.call('XREADGROUP', 'GROUP', 'g', 'going', 'STREAMS', KEYS[1], '>')
redis.call('XCLAIM', KEYS[1], 'g', 'going', 0, '9999999999999-1', 'IDLE', 3600000, 'RETRYCOUNT', 0, 'JUSTID')
";

/// How much later than its peer the holder reaches Redis again.
const BEHIND: Duration = Duration::from_secs(1);

/// A way to Redis that can be cut: what is on it ends, and what comes is turned away.
struct Way {
    endpoint: Endpoint,
    is_cut: watch::Sender<bool>,
}

impl Way {
    async fn to(stack: &RedisStack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let redis = format!("{}:{}", stack.host(), stack.port());
        let (is_cut, seen) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (redis, mut seen) = (redis.clone(), seen.clone());
                tokio::spawn(async move {
                    let carry = async {
                        let mut server = TcpStream::connect(&redis).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await
                    };
                    tokio::select! {
                        _ = seen.wait_for(|is_cut| *is_cut) => {}
                        _ = carry => {}
                    }
                });
            }
        });
        Self {
            endpoint: Endpoint::new(here.ip().to_string(), here.port()),
            is_cut,
        }
    }
}

/// Its id, who has it, for how many milliseconds, and its deliveries.
async fn pending_entry(shared: &Shared, id: EntryId) -> (String, String, u64, u64) {
    let items: Vec<_> = command(shared, &format!("XPENDING s g {id} {id} 1")).await.unwrap();
    items.into_iter().next().unwrap()
}

async fn consumers(shared: &Shared) -> usize {
    let reply = command::<redis::streams::StreamInfoConsumersReply>(shared, "XINFO CONSUMERS s g").await;
    reply.unwrap().consumers.len()
}

/// The two are processes of their own, so each has its own connections.
async fn is_survived(mut stack: RedisStack, patience: Duration, outage: impl AsyncFnOnce(&mut RedisStack)) {
    let way = Way::to(&stack).await;
    let client = |endpoint: &Endpoint| Client::new(endpoint.clone()).with_response_timeout(patience);
    let (holder, peer) = (client(&way.endpoint), client(&endpoint(&stack)));
    let shared = client(&endpoint(&stack)).shared().repeating();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let gate = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&gate);
    let handler = Recorder::new(move |_| {
        let told = Arc::clone(&told);
        async move {
            told.acquire().await.unwrap().forget();
            Outcome::Done
        }
    });
    let one_delivery = |name| Settings {
        claim_min_idle: IDLE,
        max_deliveries: 1,
        // The holder has no slot left: what is claimed, its peer claims.
        concurrency: 1,
        ..settings(name)
    };
    let holder = start(&holder, one_delivery("holder"), &handler);
    eventually("the entry in hand", async || handler.counts(id) == [1]).await;
    let peer = start(&peer, one_delivery("peer"), &handler);
    eventually("the peer reads", async || consumers(&shared).await == 2).await;
    way.is_cut.send(true).unwrap();
    outage(&mut stack).await;
    tokio::time::sleep(BEHIND).await;
    way.is_cut.send(false).unwrap();

    // The older entry comes first in a claim that may take both.
    eventually("Redis is back", async || {
        command::<String>(&shared, "PING").await.is_ok()
    })
    .await;
    evaluate(&shared, HAND_OVER).await;
    let other: EntryId = "9999999999999-1".parse().unwrap();
    eventually("a claim", async || handler.counts(other) == [1]).await;
    let item = pending_entry(&shared, id).await;
    assert_eq!((item.1.as_str(), item.3), ("holder", 1));
    gate.add_permits(2);
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1]);
    assert_eq!(dead_letter::count(&shared, "s:dead:g").await.unwrap(), 0);
    holder.stop().await;
    peer.stop().await;
}

/// Calls wait for the end of the outage and are answered then, so that nothing seems to have failed.
#[tokio::test]
async fn a_redis_that_stood_still_burns_no_delivery() {
    let (stack, _) = redis().await;
    is_survived(stack, RESPONSE_TIMEOUT, async |stack| {
        stack.pause().unwrap();
        tokio::time::sleep(OUTAGE).await;
        stack.resume().unwrap();
    })
    .await;
}

/// Callers give up and call again, and Redis takes up at its end what nobody waits for any more.
#[tokio::test]
async fn a_redis_that_stood_still_for_longer_than_callers_wait_burns_no_delivery() {
    let (stack, _) = redis().await;
    is_survived(stack, Duration::from_secs(1), async |stack| {
        stack.pause().unwrap();
        tokio::time::sleep(OUTAGE).await;
        stack.resume().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_was_gone_burns_no_delivery() {
    let (stack, _) = durable_redis().await;
    is_survived(stack, RESPONSE_TIMEOUT, async |stack| {
        stack.kill().unwrap();
        tokio::time::sleep(OUTAGE).await;
        stack.restart().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_failed_renewal_is_made_up_for_before_the_next_turn() {
    const TURN: Duration = Duration::from_secs(15);
    let (stack, client) = redis().await;
    let (shared, way) = (client.shared(), Way::to(&stack).await);
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let handler = Recorder::new(|_| std::future::pending::<Outcome>());
    let settings = Settings {
        claim_min_idle: TURN * 3,
        drain: Duration::ZERO,
        ..settings("holder")
    };
    let holder = start(&Client::new(way.endpoint.clone()), settings, &handler);
    eventually("the entry in hand", async || handler.counts(id) == [1]).await;
    way.is_cut.send(true).unwrap();
    tokio::time::sleep(TURN + Duration::from_secs(1)).await;
    way.is_cut.send(false).unwrap();
    let back = Instant::now();
    let turn = u64::try_from(TURN.as_millis()).unwrap();
    eventually("renewed", async || pending_entry(&shared, id).await.2 < turn).await;
    assert!(back.elapsed() < TURN * 2 / 3, "only after {:?}", back.elapsed());
    holder.stop().await;
}
