//! A TCP proxy that can be made to delay, to cut writes in half, to reset and to go silent. Touches its own port on loopback
//! and the one address behind it.

mod carry;
mod weather;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use carry::{End, carry_both};
pub use weather::Weather;

/// What a proxy has done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections ended in the middle of a write.
    pub halved: AtomicU64,
    /// Connections reset, also at once.
    pub reset: AtomicU64,
}

/// A running proxy; dropping it closes every connection through it.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    counters: Arc<Counters>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of loopback and forwards to `target`, which may come and go. Within a runtime.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (weather, forecast) = watch::channel(Weather::Clear);
        let counters = Arc::<Counters>::default();
        let accepting = tokio::spawn(accept(listener, target, seed, forecast, Arc::clone(&counters))).abort_handle();
        Ok(Self {
            address,
            weather,
            counters,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// From now on, for the connections that are open as for new ones.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections are tasks of a set that it owns, and end with it.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    seed: u64,
    weather: watch::Receiver<Weather>,
    counters: Arc<Counters>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Without this the finished ones would pile up.
            Some(_) = connections.join_next() => continue,
        };
        // Out of file descriptors, or gone before it was taken: the next one may fare better.
        let Ok((client, _)) = accepted else { continue };
        let number = counters.connections.fetch_add(1, Ordering::Relaxed);
        let (weather, counters) = (weather.clone(), Arc::clone(&counters));
        connections.spawn(async move {
            serve(client, target, seed ^ number, weather, &counters).await;
        });
    }
}

async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    seed: u64,
    weather: watch::Receiver<Weather>,
    counters: &Counters,
) {
    let resetting = *weather.borrow() == Weather::Resetting;
    let server = if resetting {
        None
    } else {
        TcpStream::connect(target).await.ok()
    };
    let Some(mut server) = server else {
        counters.reset.fetch_add(u64::from(resetting), Ordering::Relaxed);
        reset(&client);
        return;
    };
    // A proxy that gathered small writes would delay in good weather too.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    match carry_both(&mut client, &mut server, seed, weather).await {
        End::Closed => return,
        End::Broken => {}
        End::Halved => _ = counters.halved.fetch_add(1, Ordering::Relaxed),
        End::Reset => _ = counters.reset.fetch_add(1, Ordering::Relaxed),
    }
    reset(&client);
    reset(&server);
}

/// When it is dropped, the peer gets a reset instead of an end.
fn reset(stream: &TcpStream) {
    // A socket that cannot be told so is closed in the ordinary way: as dead, only more politely.
    let _ = stream.set_zero_linger();
}
