//! Forwarders: listeners on the host's loopback whose connections are made inside the cluster's network namespace.

use crate::{config::NODE_ADDRESS, resolve};
use anyhow::{Context as _, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// What a forwarder leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A port of a Service, looked up on each connection, so that the Service may be deleted and made again.
    Service {
        /// Name of the Service.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Its port, by number.
        port: u16,
    },
    /// An address in the cluster's network.
    Address(SocketAddr),
}

impl FromStr for Target {
    type Err = anyhow::Error;

    /// `name.namespace:port` or `address:port`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let parsed = text.split_once(':').and_then(|(host, port)| {
            let (name, namespace) = host.split_once('.')?;
            let label =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            (label(name) && label(namespace)).then_some(())?;
            Some(Self::Service {
                name: name.into(),
                namespace: namespace.into(),
                port: port.parse().ok()?,
            })
        });
        parsed.with_context(|| format!("{text:?} is neither service.namespace:port nor address:port"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, namespace, port } => write!(out, "{name}.{namespace}:{port}"),
            Self::Address(address) => write!(out, "{address}"),
        }
    }
}

/// All forwarders of one cluster. They end with the process.
pub(crate) struct Forwarders {
    network: Arc<File>,
    open: Mutex<HashMap<Target, SocketAddr>>,
}

impl Forwarders {
    /// `network` is the opened network namespace of the cluster (`/proc/PID/ns/net`).
    pub(crate) fn new(network: File) -> Self {
        Self {
            network: Arc::new(network),
            open: Mutex::default(),
        }
    }

    /// The loopback address that leads to `target`: the same one each time it is asked for.
    pub(crate) fn open(&self, target: &Target) -> anyhow::Result<SocketAddr> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = open.get(target) {
            return Ok(*address);
        }
        // Bound here, on the host; the thread that accepts has moved, and so has all that it dials.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (network, destination) = (Arc::clone(&self.network), target.clone());
        let (report, moved) = mpsc::channel();
        thread::Builder::new()
            .name(format!("forward {address}"))
            .spawn(move || {
                let entered = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
                let stay = entered.is_ok();
                let _ = report.send(entered);
                if stay {
                    serve(&listener, &destination);
                }
            })?;
        moved.recv()?.context("enter the cluster's network")?;
        open.insert(target.clone(), address);
        Ok(address)
    }
}

fn serve(listener: &TcpListener, target: &Target) {
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of file descriptors, for one: give others the time to close theirs.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let target = target.clone();
        // A thread starts in the network namespace of the one that makes it.
        let started = thread::Builder::new().stack_size(256 * 1024).spawn(move || {
            if let Err(error) = dial(&target).and_then(|server| pipe(&client, &server)) {
                eprintln!("forward to {target}: {error:#}");
                let _ = client.shutdown(Shutdown::Both);
            }
        });
        if let Err(error) = started {
            eprintln!("forward: {error}");
        }
    }
}

fn dial(target: &Target) -> anyhow::Result<TcpStream> {
    let address = match target {
        Target::Address(address) => *address,
        Target::Service { name, namespace, port } => {
            let server = (IpAddr::from(NODE_ADDRESS.parse::<Ipv4Addr>()?), 53).into();
            (
                resolve::address(server, &format!("{name}.{namespace}.svc.cluster.local"))?,
                *port,
            )
                .into()
        }
    };
    let stream = TcpStream::connect_timeout(&address, DIAL_PATIENCE).with_context(|| address.to_string())?;
    Ok(stream)
}

/// Copies both ways until both sides have closed.
fn pipe(client: &TcpStream, server: &TcpStream) -> anyhow::Result<()> {
    for stream in [client, server] {
        stream.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        let answers = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn_scoped(scope, || copy(server, client));
        if answers.is_err() {
            bail!("no thread for the answers");
        }
        copy(client, server);
        Ok(())
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let ended = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    if ended.is_err() {
        // A reset on one side is a reset on the other, or the peer would wait for the rest for ever.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn targets_are_parsed_once_and_strictly() {
        let service = Target::Service {
            name: "demo-payments".into(),
            namespace: "shop".into(),
            port: 8080,
        };
        assert_eq!("demo-payments.shop:8080".parse::<Target>().unwrap(), service);
        assert_eq!(service.to_string(), "demo-payments.shop:8080");
        assert_eq!(
            "10.88.0.1:6443".parse::<Target>().unwrap(),
            Target::Address("10.88.0.1:6443".parse().unwrap())
        );
        for wrong in [
            "",
            "payments:80",
            "a.b",
            "a.b.c:80",
            "a.b:http",
            "a.b:70000",
            ".b:1",
            "a b.c:1",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_connection_is_carried_both_ways_and_closed_half_by_half() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Address(server.local_addr().unwrap());
        let middle = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = middle.local_addr().unwrap();
        thread::spawn(move || serve(&middle, &target));
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let mut heard = String::new();
        accepted.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "question");
        accepted.write_all(b"answer").unwrap();
        drop(accepted);
        heard.clear();
        client.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "answer");
    }
}
