//! Which of several operators may write. One Lease of the coordination API names the leader; a write needs a
//! [`WriteToken`], whose deadline is kept by this process's own monotonic clock, so that a paused or cut-off leader
//! stops by itself before another can take over.

mod evaluate;
mod holder;
mod store;
mod token;

pub use holder::{Settings, hold};
pub use store::{KubernetesLease, LeaseStore, StoreError};
pub use token::{Leadership, NotLeader, WriteToken};

/// A candidate that never wins.
#[cfg(test)]
pub(crate) fn never_for_tests() -> Leadership {
    token::Writer::new().1
}

/// Leadership that a test gives and takes.
#[cfg(test)]
pub(crate) fn switched_for_tests() -> (Leadership, impl Fn(bool)) {
    let (writer, leadership) = token::Writer::new();
    let switch = move |leads: bool| {
        if leads {
            writer.won(std::time::Instant::now(), std::time::Duration::from_hours(1));
        } else {
            writer.lost();
        }
    };
    (leadership, switch)
}
