//! The least of a DNS client: one name, its first IPv4 address. The host's own resolver knows nothing of the cluster.

use anyhow::{Context as _, bail};
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// Asks `server` for `name`. Must run in the network namespace that `server` is in.
pub(crate) fn address(server: SocketAddr, name: &str) -> anyhow::Result<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Connected, so that only the server's answers are heard; each question has a socket and so a port of its own.
    socket.connect(server)?;
    socket.send(&question(name)?)?;
    let mut buffer = [0; 1500];
    let length = socket
        .recv(&mut buffer)
        .with_context(|| format!("ask {server} for {name}"))?;
    first_address(buffer.get(..length).unwrap_or_default()).with_context(|| format!("no address for {name}"))
}

/// A query for the A record of `name` (RFC 1035, section 4).
fn question(name: &str) -> anyhow::Result<Vec<u8>> {
    let mut message = vec![0x53, 0x57, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => message.push(length),
            _ => bail!("{name} is no host name"),
        }
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    Ok(message)
}

/// The first A record among the answers; `None` also for a message that makes no sense.
fn first_address(message: &[u8]) -> Option<Ipv4Addr> {
    let number = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let mut at = 12;
    for _ in 0..number(4)? {
        at = after_name(message, at)? + 4;
    }
    for _ in 0..number(6)? {
        at = after_name(message, at)?;
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        at += 10;
        if (kind, length) == (1, 4) {
            let bytes: [u8; 4] = message.get(at..at + 4)?.try_into().ok()?;
            return Some(bytes.into());
        }
        at += length;
    }
    None
}

fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            // A pointer to an earlier name is two bytes, and the last of a name.
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_found_behind_another_record() {
        let mut message = question("a.bc").unwrap();
        message[7] = 2;
        message.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5, 0, 2, 0xc0, 12]);
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 0, 7]);
        assert_eq!(first_address(&message), Some(Ipv4Addr::new(10, 96, 0, 7)));
        for length in 0..message.len() {
            assert_eq!(first_address(&message[..length]), None);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert!(question("a..b").is_err());
        assert!(question(&"x".repeat(64)).is_err());
    }
}
