//! The shop as processes on loopback under faults, then proof that nothing was lost or doubled.
//!
//! - `plan`: what goes wrong when, from a seed. `role`, `dice`: who there is, and chances. `death`, `losses`: judgement. Pure.
//! - `proxy`: a bad network. `database`: a Redis that dies, and a slow disk. `fleet`: processes that die and are replaced.
//! - `shop`: all of it as one shop; `duties`: what the operator would do for it.
//! - `storm`: a shop under a plan and under load. `crash_points`: a shop that dies at each named point in turn.
//!
//! Touches processes and folders it made, ports of loopback, nothing else; all of it ends and goes with it.

pub mod accounts;
pub mod database;
pub mod death;
pub mod dice;
pub mod fleet;
pub mod plan;
pub mod proxy;
pub mod role;

#[cfg(test)]
mod plan_tests;
