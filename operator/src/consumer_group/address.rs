//! Which addresses the operator dials on a user's word. Pure.
//!
//! A `ConsumerGroup` names any host, and the operator has a place in the network that its author may not have.

use std::net::IpAddr;

use shopwright_streams::connection::Vet;

/// Refuses this machine, the link it is on, and the API server, after name resolution.
pub(crate) fn vet(api_server: Vec<IpAddr>) -> Vet {
    Vet::new(move |address| is_remote(address) && !api_server.contains(&address))
}

fn is_remote(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast() && v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_other_machines() {
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert!(!is_remote(refused.parse().expect("an address")), "{refused}");
        }
        for refused in ["::1", "::", "fe80::1", "ff02::1"] {
            assert!(!is_remote(refused.parse().expect("an address")), "{refused}");
        }
        for fine in [
            "10.96.0.10",
            "192.168.1.1",
            "100.64.0.1",
            "203.0.113.9",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(is_remote(fine.parse().expect("an address")), "{fine}");
        }
    }
}
