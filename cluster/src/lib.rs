//! A real single-node Kubernetes in namespaces of its own, built from pinned Go modules. It needs root, and touches only its
//! state folder, the cache, and control groups named `shopwright-*`.

mod boot;
mod cgroup;
mod config;
mod control;
mod down;
mod forward;
mod helper;
pub mod images;
mod init;
mod lock;
mod manager;
mod paths;
mod pki;
pub mod preflight;
mod residue;
mod resolve;
mod storage;
mod supervisor;
mod toolchain;

pub use boot::{Cluster, Options};
pub use down::down;
pub use forward::Target;
pub use helper::run_if_asked;
pub use paths::{StateDir, cache_dir, workspace_dir};
pub use residue::{Snapshot, residue};
pub use toolchain::Kubernetes;
