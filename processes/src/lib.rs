//! Child processes on loopback that cannot outlive the process that started them.
//!
//! Touches processes it started, their log files and loopback ports. Signals nobody else.

mod group;
mod log;
mod signal;
mod spawn;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

pub use group::{Ended, Processes};
pub use log::last_lines;
pub use signal::{Signal, signal};
pub use spawn::{AtOurEnd, spawn};

/// A loopback address with a port that was free a moment ago.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
