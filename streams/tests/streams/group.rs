//! Groups are created with their stream, once, under the rights that an operator has.

use crate::support::{as_user, command, execute, redis, redis_with_users};
use shopwright_streams::Class;
use shopwright_streams::group::{Ensured, StartFrom, ensure};
use shopwright_streams::sample::{Sample, Target, sample};

async fn undelivered(shared: &shopwright_streams::Shared) -> (u64, Option<u64>) {
    match sample(shared, Target::new("s", "g")).await.unwrap() {
        Sample::Known(known) => (known.undelivered.count, known.reported_lag),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_stream_is_made_with_its_group_and_only_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    for start in [StartFrom::Beginning, StartFrom::End] {
        execute(&shared, "DEL s").await;
        let first = ensure(&shared, "s", "g", start).await.unwrap();
        assert_eq!(
            first,
            Ensured {
                created: true,
                stream_existed: false
            }
        );
        let second = ensure(&shared, "s", "g", start).await.unwrap();
        assert_eq!(
            second,
            Ensured {
                created: false,
                stream_existed: true
            }
        );
        execute(&shared, "XADD s * a 1").await;
        assert_eq!(undelivered(&shared).await, (1, Some(1)));
    }
}

#[tokio::test]
async fn beginning_reads_what_is_there_and_end_does_not() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    for _ in 0..3 {
        execute(&shared, "XADD s * a 1").await;
    }
    let ensured = ensure(&shared, "s", "g", StartFrom::Beginning).await.unwrap();
    assert_eq!(
        ensured,
        Ensured {
            created: true,
            stream_existed: true
        }
    );
    assert_eq!(undelivered(&shared).await.0, 3);
    execute(&shared, "XGROUP DESTROY s g").await;
    ensure(&shared, "s", "g", StartFrom::End).await.unwrap();
    assert_eq!(undelivered(&shared).await, (0, Some(0)));
    // Without ENTRIESREAD the lag would be nil from here until the group has read to the end.
    execute(&shared, "XADD s * a 1").await;
    assert_eq!(undelivered(&shared).await, (1, Some(1)));
}

#[tokio::test]
async fn a_group_that_exists_keeps_its_position() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XADD s 1-1 a 1").await;
    ensure(&shared, "s", "g", StartFrom::Beginning).await.unwrap();
    execute(&shared, "XREADGROUP GROUP g c STREAMS s >").await;
    ensure(&shared, "s", "g", StartFrom::Beginning).await.unwrap();
    assert_eq!(undelivered(&shared).await.0, 0);
}

#[tokio::test]
async fn racing_ensures_create_one_group() {
    let (_stack, client) = redis().await;
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let shared = client.shared();
            tokio::spawn(async move { ensure(&shared, "s", "g", StartFrom::Beginning).await.unwrap().created })
        })
        .collect();
    let mut created = 0;
    for call in calls {
        created += usize::from(call.await.unwrap());
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn another_type_is_said_and_left_alone() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "SET s text").await;
    let error = ensure(&shared, "s", "g", StartFrom::Beginning).await.unwrap_err();
    assert_eq!(error.class(), Class::WrongType);
    assert_eq!(command::<String>(&shared, "GET s").await.unwrap(), "text");
}

/// The rights that ensure, sample and watch need, and no more.
pub(crate) const OPERATOR: &str = "~s* resetchannels +ping +eval +eval_ro +evalsha_ro +xgroup|create +xinfo|stream +xinfo|groups \
    +xrange +xrevrange +xpending +xread";

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let (stack, client) = redis_with_users(&[("operator", OPERATOR)]).await;
    let operator = as_user(&stack, "operator").shared();
    assert!(ensure(&operator, "s", "g", StartFrom::Beginning).await.unwrap().created);
    execute(&client.shared(), "XADD s * a 1").await;
    assert!(ensure(&operator, "s", "late", StartFrom::End).await.unwrap().created);
    assert_eq!(undelivered(&operator).await.0, 1);
    let refused = ensure(&operator, "other", "g", StartFrom::Beginning).await.unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"));
}
