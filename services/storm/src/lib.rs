//! The shop as processes on loopback under faults, then proof that nothing was lost or doubled.
//!
//! - `plan`: what goes wrong when, from a seed. `role`, `dice`: who there is, and chances. `death`, `losses`: judgement. Pure.
//! - `proxy`: a bad network. `database`: a Redis that dies, and a slow disk. `fleet`: processes that die and are replaced.
//! - `shop`: all of it as one shop; `duties`: what the operator and the provider do meanwhile; `traffic`: its customers.
//! - `conduct`: lets a plan come true. `orders`, `stock_book`, `verified`: compare the books afterwards. `report`: tells.
//! - `storm`: a shop under a plan and under load. `crash_points`: a shop that dies at each named point in turn.
//!
//! Touches processes and folders it made, ports of loopback, nothing else; all of it ends and goes with it.

pub mod accounts;
pub mod books;
pub mod conduct;
pub mod crash_points;
pub mod database;
pub mod death;
pub mod dice;
pub mod duties;
pub mod fleet;
pub mod losses;
pub mod marks;
pub mod orders;
pub mod plan;
pub mod proxy;
pub mod report;
pub mod role;
pub mod shop;
pub mod stock_book;
pub mod storm;
pub mod traffic;
pub mod verified;

pub use arena::Interrupted;

mod arena;
mod connection;
mod documents;
mod mildness;

#[cfg(test)]
mod plan_tests;
