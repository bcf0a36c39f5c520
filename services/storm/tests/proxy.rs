//! The proxy, before a server that sends back what it gets.
#![allow(clippy::unwrap_used, reason = "this whole crate is a test")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shopwright_storm::proxy::{Proxy, Weather};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Longer than anything here takes, shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends back what it gets, in pieces as they come.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
            });
        }
    });
    address
}

async fn proxied() -> Proxy {
    Proxy::start(echo().await, 7).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Sends `text` and returns what came back, which is less when the connection breaks.
async fn exchange(stream: &mut TcpStream, text: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    stream.write_all(text).await.map_err(|error| error.kind())?;
    let mut back = Vec::new();
    let mut piece = [0; 4096];
    while back.len() < text.len() {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.unwrap();
        match read.map_err(|error| error.kind())? {
            0 => return Err(ErrorKind::UnexpectedEof),
            length => back.extend_from_slice(&piece[..length]),
        }
    }
    Ok(back)
}

#[tokio::test]
async fn in_clear_weather_everything_arrives_and_ends_pass() {
    let proxy = proxied().await;
    let mut stream = connect(&proxy).await;
    let much: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    assert_eq!(exchange(&mut stream, &much).await.unwrap(), much);
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the server's end");
}

#[tokio::test]
async fn delays_hold_pieces_back_and_lose_none() {
    let proxy = proxied().await;
    let longest = Duration::from_millis(50);
    proxy.set(Weather::Delaying { longest });
    let mut stream = connect(&proxy).await;
    let began = Instant::now();
    for number in 0..20_u8 {
        assert_eq!(exchange(&mut stream, &[number; 10]).await.unwrap(), [number; 10]);
    }
    // Forty waits, of 25 ms in the mean.
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn halving_lets_half_of_a_write_through_and_resets_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap(), 7).await.unwrap();
    proxy.set(Weather::Halving);
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    let (mut writes, mut arrived) = (0, 0);
    let mut piece = [0; 1000];
    let error = loop {
        // One write at a time, so that each is a piece of its own.
        if client.write_all(&[writes; 100]).await.is_ok() {
            writes += 1;
        }
        let mut of_this = 0;
        let ended = loop {
            match server.read(&mut piece).await {
                Ok(length) if length > 0 => of_this += length,
                Ok(_) => break Some(ErrorKind::UnexpectedEof),
                Err(error) => break Some(error.kind()),
            }
            if of_this == 100 {
                break None;
            }
        };
        arrived += of_this;
        if let Some(error) = ended {
            break error;
        }
    };
    assert_eq!(error, ErrorKind::ConnectionReset);
    assert_eq!(arrived, usize::from(writes) * 100 - 50, "half of the last write");
    let seen = client.read(&mut piece).await.unwrap_err();
    assert_eq!(seen.kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.counters().halved.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn resetting_ends_what_is_open_and_what_comes_until_it_is_over() {
    let proxy = proxied().await;
    let mut open = connect(&proxy).await;
    exchange(&mut open, b"hello").await.unwrap();
    proxy.set(Weather::Resetting);
    let error = tokio::time::timeout(PATIENCE, open.read(&mut [0; 1]))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut another = connect(&proxy).await;
    assert!(exchange(&mut another, b"hello").await.is_err());
    proxy.set(Weather::Clear);
    assert_eq!(exchange(&mut connect(&proxy).await, b"hello").await.unwrap(), b"hello");
    assert_eq!(proxy.counters().reset.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn silence_takes_connections_and_forwards_nothing_until_it_is_over() {
    let proxy = proxied().await;
    let mut old = connect(&proxy).await;
    exchange(&mut old, b"hello").await.unwrap();
    proxy.set(Weather::Silent);
    let mut new = connect(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"anybody there?").await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 1])).await;
        assert!(answer.is_err(), "an answer in silence");
    }
    proxy.set(Weather::Clear);
    for stream in [&mut old, &mut new] {
        let mut answer = [0; 14];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"anybody there?");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_a_reset_and_one_that_comes_back_is_found() {
    // Bound, so that nobody else gets the port, and not listening yet.
    let away = TcpSocket::new_v4().unwrap();
    away.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let proxy = Proxy::start(away.local_addr().unwrap(), 7).await.unwrap();
    assert!(exchange(&mut connect(&proxy).await, b"hello").await.is_err());
    let listener = away.listen(16).unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"x").await.unwrap();
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 1);
    drop(proxy);
    assert_eq!(
        tokio::time::timeout(PATIENCE, server.read(&mut [0; 1]))
            .await
            .unwrap()
            .unwrap_or(0),
        0
    );
}
