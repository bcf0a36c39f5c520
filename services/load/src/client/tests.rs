//! The client against a server that does what it is told, connection by connection.

use serde::de::IgnoredAny;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const GOOD: Does = Does::Say("HTTP/1.1 202 Accepted\r\nidempotent-replayed: true\r\ncontent-length: 2\r\n\r\n{}");
const CAPACITY: Does =
    Does::Say("HTTP/1.1 503 x\r\nretry-after: 1\r\ncontent-length: 19\r\n\r\n{\"code\":\"capacity\"}");

/// What the server does with one request.
#[derive(Clone, Copy)]
enum Does {
    /// Says it and closes.
    Say(&'static str),
    /// Holds the connection and its tongue.
    Nothing,
}

const CLOSE: Does = Does::Say("");

struct Asked {
    outcome: Outcome<IgnoredAny>,
    /// Every request as it came, head and body.
    requests: Vec<String>,
    failures: Vec<String>,
    given_up: u64,
    took: Duration,
}

/// Posts once to a server that follows the script.
async fn post(script: &[Does], attempts: u32) -> Asked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script = script.to_vec();
    let server = tokio::spawn(async move {
        let (mut requests, mut held) = (Vec::new(), Vec::new());
        for does in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(b"{\"lines\":[]}") {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
            match does {
                Does::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                Does::Nothing => held.push(stream),
            }
        }
        requests
    });
    let timeout = Duration::from_millis(300);
    let client = Client::new(url.parse().unwrap(), None, timeout, attempts).unwrap();
    let recorder = Recorder::default();
    let began = Instant::now();
    let outcome = client.post(&order(), began, &recorder, &CancellationToken::new()).await;
    let counts = recorder.snapshot();
    Asked {
        outcome,
        took: began.elapsed(),
        requests: server.await.unwrap(),
        failures: counts.failures.into_keys().map(|failure| failure.code).collect(),
        given_up: counts.calls[&Call::PlaceOrder].given_up,
    }
}

fn order() -> Post<'static> {
    Post {
        call: Call::PlaceOrder,
        path: "/orders",
        caller: Caller::Shopper("token"),
        key: Uuid::new_v4(),
        body: b"{\"lines\":[]}".to_vec(),
    }
}

#[tokio::test]
async fn every_repeat_is_the_same_request() {
    let half = Does::Say("HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{\"id\":");
    let garbage = Does::Say("HTTP/1.1 202 Accepted\r\ncontent-length: 6\r\n\r\n<html>");
    let nonsense = Does::Say("\x16\x03\x01 this is no HTTP\r\n\r\n");
    let internal = Does::Say("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n");
    let asked = post(&[CLOSE, Does::Nothing, half, garbage, nonsense, internal, GOOD], 7).await;
    let Outcome::Accepted(accepted, when) = asked.outcome else {
        panic!("{:?}", asked.outcome)
    };
    assert!(accepted.is_replayed && accepted.status == 202);
    // Any of the attempts may have been the one. Waits alone took more than a second.
    assert!(when.known_at - when.asked_at >= 1_000, "{when:?}");
    assert_eq!(asked.requests.len(), 7);
    assert!(asked.requests.iter().all(|request| *request == asked.requests[0]));
    let key = asked.requests[0].to_ascii_lowercase().contains("\r\nidempotency-key: ");
    assert!(key && asked.requests[0].starts_with("POST /api/v1/orders "));
    for code in ["(no reply in time)", "(garbage)", "(no code)"] {
        assert!(
            asked.failures.iter().any(|failure| failure == code),
            "{:?}",
            asked.failures
        );
    }
    assert_eq!(asked.given_up, 0);
}

#[tokio::test]
async fn what_is_no_repetition_was_done_by_its_own_attempt() {
    const NEW: Does = Does::Say("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}");
    let began_at = journal::now();
    let asked = post(&[CAPACITY, NEW], 2).await;
    let Outcome::Accepted(_, when) = asked.outcome else {
        panic!("{:?}", asked.outcome)
    };
    // Not before the second that the shop asked to wait.
    assert!(when.asked_at - began_at >= 1_000, "{when:?}");
}

#[tokio::test]
async fn no_definite_reply_is_unknown_and_turned_away_is_not() {
    let asked = post(&[CAPACITY, CLOSE], 2).await;
    assert!(matches!(asked.outcome, Outcome::Unknown));
    assert_eq!(asked.given_up, 1);
    // Retry-After is honoured, and no back-off is this long after one attempt.
    assert!(asked.took >= Duration::from_secs(1), "{:?}", asked.took);
    let asked = post(&[CAPACITY], 1).await;
    assert!(matches!(asked.outcome, Outcome::Unavailable));
}

#[tokio::test]
async fn a_definite_no_is_not_repeated() {
    let no = Does::Say("HTTP/1.1 409 x\r\ncontent-length: 31\r\n\r\n{\"code\":\"order_state_conflict\"}");
    let asked = post(&[CLOSE, no], 5).await;
    assert!(matches!(asked.outcome, Outcome::Refused(409, code) if code == "order_state_conflict"));
    assert_eq!(asked.requests.len(), 2);
}

#[tokio::test]
async fn no_shop_at_all_is_turned_away() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}").parse().unwrap();
    let client = Client::new(url, None, Duration::from_secs(5), 2).unwrap();
    let (recorder, over) = (Recorder::default(), CancellationToken::new());
    let outcome: Outcome<IgnoredAny> = client.post(&order(), Instant::now(), &recorder, &over).await;
    assert!(matches!(outcome, Outcome::Unavailable));
}

#[tokio::test]
async fn the_runs_end_leaves_what_is_in_flight_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let client = Client::new(url, None, Duration::from_secs(60), 8).unwrap();
    let (recorder, over) = (Recorder::default(), CancellationToken::new());
    let placed = order();
    let posting = client.post::<IgnoredAny>(&placed, Instant::now(), &recorder, &over);
    let ending = async {
        let connection = listener.accept().await.unwrap();
        over.cancel();
        connection
    };
    let (outcome, _connection) = tokio::join!(posting, ending);
    assert!(matches!(outcome, Outcome::Unknown));
    // Once it is over, nothing is sent any more.
    let outcome: Outcome<IgnoredAny> = client.post(&placed, Instant::now(), &recorder, &over).await;
    assert!(matches!(outcome, Outcome::Unavailable));
}
