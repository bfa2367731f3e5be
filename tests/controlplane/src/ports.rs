//! Free loopback ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::Error;
use crate::scratch::random_bytes;

/// Below the ranges that Linux and macOS take source ports from. A server inside that range can lose its port while it
/// is down: the system may give a reconnecting client that very port as its source, and the client connects to itself.
const RANGE: std::ops::Range<u16> = 12_000..32_000;
const TRIES: usize = 200;

/// `N` different ports that nothing listens on now. Another process may take one before it is used: then retry.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut held: Vec<TcpListener> = Vec::with_capacity(N);
    for _ in 0..TRIES {
        if held.len() == N {
            break;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port_from(random_bytes()?)));
        // Held until all are found, so that they differ.
        held.extend(TcpListener::bind(address));
    }
    let ports: Vec<u16> = held
        .iter()
        .filter_map(|l| l.local_addr().ok())
        .map(|a| a.port())
        .collect();
    ports.try_into().map_err(|_| Error::Ports(N))
}

fn port_from(random: [u8; 2]) -> u16 {
    RANGE.start + u16::from_le_bytes(random) % (RANGE.end - RANGE.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_lie_below_the_source_port_range_and_are_free() {
        let ports = free_ports::<3>().unwrap();
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        assert!(ports.iter().all(|p| RANGE.contains(p)));
    }

    #[test]
    fn every_random_value_maps_into_the_range() {
        assert_eq!(port_from([0, 0]), 12_000);
        assert!(RANGE.contains(&port_from([255, 255])));
    }
}
