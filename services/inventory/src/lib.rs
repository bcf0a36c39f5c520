//! Products, prices, stock and reservations: the API that `serve` serves and the events that `consume` obeys.
//!
//! Touches the keys of inventory, and of payments only the event stream it reads.

pub mod api;
pub mod catalogue;
pub mod cli;
pub mod consume;
pub mod events;
pub mod product;
pub mod reactions;
pub mod repetition;
pub mod reservations;
pub mod schema;
mod scripts;
pub mod search;
pub mod serve;
