//! Carries the bytes of one connection in both directions, as the weather lets it. Touches the two sockets it is given.

use std::io;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Weather;

const PIECE: usize = 16 * 1024;
/// One piece in so many is cut, so that a connection gets somewhere before it breaks.
const HALVED_ONE_IN: u32 = 6;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both peers were done.
    Closed,
    /// A peer went away in the middle.
    Broken,
    /// A write was cut in half.
    Halved,
    /// The weather reset it.
    Reset,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Returns when the connection is over, and how.
pub(super) async fn carry_both(
    client: &mut TcpStream,
    server: &mut TcpStream,
    seed: u64,
    weather: watch::Receiver<Weather>,
) -> End {
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    let mut resetting = weather.clone();
    let asking = carry(
        client_reads,
        server_writes,
        StdRng::seed_from_u64(seed),
        weather.clone(),
    );
    let answering = carry(server_reads, client_writes, StdRng::seed_from_u64(!seed), weather);
    tokio::select! {
        both = async { tokio::try_join!(asking, answering) } => both.err().unwrap_or(End::Closed),
        _ = resetting.wait_for(|weather| *weather == Weather::Resetting) => End::Reset,
    }
}

/// One direction, to its end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut random: StdRng,
    mut weather: watch::Receiver<Weather>,
) -> Result<(), End> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        // A closed channel is a proxy that is being dropped, and this task with it.
        let now = *weather
            .wait_for(|weather| *weather != Weather::Silent)
            .await
            .map_err(|_| End::Broken)?;
        if length == 0 {
            to.shutdown().await?;
            return Ok(());
        }
        match now {
            Weather::Delaying { longest } => tokio::time::sleep(longest.mul_f64(random.random_range(0.0..1.0))).await,
            Weather::Halving if random.random_ratio(1, HALVED_ONE_IN) => {
                to.write_all(&piece[..length / 2]).await?;
                // Sent before the reset, which would overtake what still waits here.
                to.flush().await?;
                return Err(End::Halved);
            }
            Weather::Clear | Weather::Halving | Weather::Resetting | Weather::Silent => {}
        }
        to.write_all(&piece[..length]).await?;
    }
}
