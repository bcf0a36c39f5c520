//! The shared connection, private ones, and what their errors say.

use crate::support::{as_user, command, endpoint, execute, redis, redis_with_users};
use shopwright_streams::connection::{RESPONSE_TIMEOUT, Vet};
use shopwright_streams::{Class, Client, Endpoint, Error, Secret};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_forbidden_address_is_not_dialled_whatever_name_leads_to_it() {
    let (stack, _) = redis().await;
    for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
        let client = Client::vetted(
            Endpoint::new(host, stack.port()),
            Vet::new(|address| !address.is_loopback()),
        );
        assert_eq!(
            client.ping().await.unwrap_err().class(),
            Class::ForbiddenAddress,
            "{host}"
        );
        let private = client.private(Duration::ZERO).await.map(|_| ());
        assert_eq!(private.unwrap_err().class(), Class::ForbiddenAddress, "{host}");
    }
    let allowed = Client::vetted(endpoint(&stack), Vet::new(|address| address == Ipv4Addr::LOCALHOST));
    allowed.ping().await.unwrap();
}

#[tokio::test]
async fn errors_carry_redis_code_word_and_a_class() {
    let (stack, client) = redis_with_users(&[("reader", "~allowed +ping +xlen +get")]).await;
    execute(&client.shared(), "SET allowed text").await;
    let reader = as_user(&stack, "reader");
    reader.ping().await.unwrap();
    let refused = command::<u64>(&reader.shared(), "XLEN other")
        .await
        .map_err(Error::from)
        .unwrap_err();
    assert_eq!((refused.class(), refused.code()), (Class::Denied, Some("NOPERM")));
    let mistyped = command::<u64>(&reader.shared(), "XLEN allowed")
        .await
        .map_err(Error::from)
        .unwrap_err();
    assert_eq!(
        (mistyped.class(), mistyped.code()),
        (Class::WrongType, Some("WRONGTYPE"))
    );
    let stranger = Client::new(endpoint(&stack).with_user("reader", Secret::new("hunter2")));
    let denied = stranger.ping().await.unwrap_err();
    assert_eq!((denied.class(), denied.code()), (Class::Denied, Some("WRONGPASS")));
    let anonymous = Client::new(endpoint(&stack)).ping().await.unwrap_err();
    assert_eq!((anonymous.class(), anonymous.code()), (Class::Denied, Some("NOAUTH")));
}

#[tokio::test]
async fn an_unknown_name_and_a_closed_port_are_unreachable() {
    let (mut stack, client) = redis().await;
    stack.kill().unwrap();
    assert_eq!(client.ping().await.unwrap_err().class(), Class::Unreachable);
    let nowhere = Client::new(Endpoint::new("no-such-host.invalid", 6379));
    assert_eq!(nowhere.ping().await.unwrap_err().class(), Class::Unreachable);
}

#[tokio::test]
async fn a_repeating_call_survives_a_restart_at_rest() {
    let (mut stack, client) = redis().await;
    client.ping().await.unwrap();
    stack.restart().unwrap();
    // Nobody has used the connection since; only the first call on it can find out that it is closed.
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_frozen_redis_fails_calls_in_time_and_is_used_again_after() {
    let (stack, _) = redis().await;
    let client = Client::new(endpoint(&stack));
    client.ping().await.unwrap();
    stack.pause().unwrap();
    let began = Instant::now();
    assert_eq!(client.ping().await.unwrap_err().class(), Class::Unreachable);
    assert!(began.elapsed() >= RESPONSE_TIMEOUT);
    // Callers at the same time share one attempt, instead of dialling one after the other.
    let began = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.ping().await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    stack.resume().unwrap();
    client.ping().await.unwrap();
}
