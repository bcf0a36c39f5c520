//! Container images without a container engine: static binaries in reproducible OCI archives. Same input, same digest.

mod binaries;
mod example_worker;
mod oci;
mod pause;
mod redis;
mod single;

pub use binaries::build;
pub use example_worker::{example_worker, example_worker_binary};
pub use oci::{Built, reference_of};
pub use pause::pause;
pub use redis::redis;
pub use single::{Program, single};

/// Images that exist only on this machine are named as if they came from here; nothing ever asks it.
pub const REGISTRY: &str = "shopwright.local";
/// The version of the images built from this source tree.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// User and group of every image that we make.
const NON_ROOT: &str = "65532:65532";
