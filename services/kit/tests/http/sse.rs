//! Server-sent events over a real socket.

use std::time::Duration;

use axum::{Router, extract::State, response::Response, response::sse::Event, routing::get};
use futures::{Stream, StreamExt};
use reqwest::Client;
use shopwright_kit::{
    ApiError,
    metrics::{self, HttpMetrics},
    serve::{self, Limits},
    sse::{self, Places},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Orders {
    versions: watch::Receiver<u64>,
    places: Places,
    shutdown: CancellationToken,
}

fn versions(receiver: watch::Receiver<u64>) -> impl Stream<Item = Event> {
    futures::stream::unfold((receiver, true), |(mut receiver, is_first)| async move {
        if !is_first {
            receiver.changed().await.ok()?;
        }
        let version = *receiver.borrow_and_update();
        let event = Event::default().event("order").id(version.to_string()).data("{}");
        Some((event, (receiver, false)))
    })
}

async fn events(State(orders): State<Orders>) -> Result<Response, ApiError> {
    let place = orders.places.take()?;
    Ok(sse::reply(versions(orders.versions), place, orders.shutdown))
}

struct Running {
    url: String,
    sender: watch::Sender<u64>,
    places: Places,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn start(places: usize) -> Running {
    let (sender, versions) = watch::channel(1);
    let (places, stop) = (Places::new(places), CancellationToken::new());
    let routes = Router::new().route("/events", get(events)).with_state(Orders {
        versions,
        places: places.clone(),
        shutdown: stop.clone(),
    });
    let http = HttpMetrics::register(&mut metrics::registry());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    // A stream outlives the time limit, which is one of the reply's head.
    let limits = Limits {
        timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let serving = tokio::spawn(serve::run(listener, serve::public(routes, http, limits), stop.clone()));
    Running {
        url,
        sender,
        places,
        stop,
        serving,
    }
}

/// Reads until `text` has come.
async fn read(body: &mut (impl Stream<Item = reqwest::Result<impl AsRef<[u8]>>> + Unpin), text: &str) -> String {
    let mut read = String::new();
    tokio::time::timeout(PATIENCE, async {
        while !read.contains(text) {
            let bytes = body.next().await.expect("not the end").unwrap();
            read.push_str(std::str::from_utf8(bytes.as_ref()).unwrap());
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {text} in {read}"));
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_what_is_then_what_changes_and_a_sign_of_life() {
    let running = start(2).await;
    let response = Client::new().get(&running.url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut body = response.bytes_stream();
    assert_eq!(read(&mut body, "\n\n").await, "event: order\nid: 1\ndata: {}\n\n");
    running.sender.send(7).unwrap();
    assert_eq!(read(&mut body, "\n\n").await, "event: order\nid: 7\ndata: {}\n\n");
    assert_eq!(read(&mut body, "\n\n").await, ": heartbeat\n\n");

    // The shutdown ends the stream in order, and no drain time is waited for.
    running.stop.cancel();
    let end = tokio::time::timeout(PATIENCE, body.next()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
    tokio::time::timeout(Duration::from_secs(10), running.serving)
        .await
        .expect("nothing holds the server up")
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_places_and_they_come_back() {
    let running = start(2).await;
    let open = async || Client::new().get(&running.url).send().await.unwrap();
    let (first, second) = (open().await, open().await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let refused = open().await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("\"capacity\""));
    drop(first);
    tokio::time::timeout(PATIENCE, async {
        while running.places.free() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("who goes leaves a place");
    assert_eq!(open().await.status(), 200);
    drop(second);
}
