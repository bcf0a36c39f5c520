//! A consumer's name goes only when nothing is pending under it, whoever races.

use crate::support::{add, as_user, command, execute, redis, redis_with_users};
use shopwright_streams::Class;
use shopwright_streams::consumer::{Deleted, delete_if_idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn only_what_holds_nothing_is_deleted() {
    let (stack, client) = redis_with_users(&[
        ("operator", "~s +eval +xpending +xinfo|consumers +xgroup|delconsumer"),
        ("service", "~own (%RW~s +eval +xpending +xgroup|delconsumer)"),
        ("reader", "~own (%RW~s +eval +xpending)"),
    ])
    .await;
    let shared = client.shared();
    let operator = as_user(&stack, "operator").shared();
    let service = as_user(&stack, "service").shared();
    assert_eq!(
        delete_if_idle(&operator, "s", "g", "c").await.unwrap(),
        Deleted::Unknown
    );
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    assert_eq!(
        delete_if_idle(&operator, "s", "g", "c").await.unwrap(),
        Deleted::Unknown
    );
    assert_eq!(
        delete_if_idle(&operator, "s", "h", "c").await.unwrap(),
        Deleted::Unknown
    );

    let id = add(&shared, "s", 1).await;
    execute(&shared, "XREADGROUP GROUP g c STREAMS s >").await;
    execute(&shared, "XGROUP CREATECONSUMER s g d").await;
    for user in [&operator, &service] {
        assert_eq!(delete_if_idle(user, "s", "g", "c").await.unwrap(), Deleted::Holds(1));
    }
    execute(&shared, &format!("XACK s g {id}")).await;
    let refused = delete_if_idle(&as_user(&stack, "reader").shared(), "s", "g", "c").await;
    assert_eq!(refused.unwrap_err().class(), Class::Denied);
    assert_eq!(delete_if_idle(&operator, "s", "g", "c").await.unwrap(), Deleted::Yes);
    assert_eq!(delete_if_idle(&service, "s", "g", "d").await.unwrap(), Deleted::Yes);
    let left: Vec<redis::Value> = command(&shared, "XINFO CONSUMERS s g").await.unwrap();
    assert_eq!(left.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_with_its_own_reads_loses_no_entry() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    for number in 0..1000 {
        add(&shared, "s", number).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let deleter = {
        let (shared, done) = (client.shared(), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut gone, mut held) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                match delete_if_idle(&shared, "s", "g", "c").await.unwrap() {
                    Deleted::Yes => gone += 1,
                    Deleted::Holds(_) => held += 1,
                    Deleted::Unknown => {}
                }
            }
            (gone, held)
        })
    };
    let mut acknowledged = 0;
    loop {
        let reply: Option<redis::streams::StreamReadReply> =
            command(&shared, "XREADGROUP GROUP g c COUNT 1 STREAMS s >")
                .await
                .unwrap();
        let Some(reply) = reply else { break };
        let id = &reply.keys[0].ids[0].id;
        // An entry that went with its consumer is pending no longer.
        let was_pending: usize = command(&shared, &format!("XACK s g {id}")).await.unwrap();
        assert_eq!(was_pending, 1, "{id} was lost");
        acknowledged += 1;
    }
    done.store(true, Ordering::Relaxed);
    let (gone, held) = deleter.await.unwrap();
    assert_eq!(acknowledged, 1000);
    assert!(gone > 0 && held > 0, "no race: {gone} deleted, {held} held");
}
