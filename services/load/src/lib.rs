//! Load for a shop, by HTTP and nothing else: shoppers who arrive when they want to, whatever the shop does.
//!
//! - `mix`, `plan`: what is asked for and when, from a seed. Pure.
//! - `client`: one call with its repeats, like a good client: the same key until there is a definite reply.
//! - `shopper`: browsing, placing, and one order's life. `reader`: live streams of orders.
//! - `observe`: what two sights of one order may tell. Pure.
//! - `journal`: every accepted order on disk, for whoever checks the shop afterwards.
//! - `recorder`, `report`: what is counted, and how it reads.

pub mod cli;
pub mod journal;
pub mod machine;
pub mod mix;
pub mod products;
pub mod report;
pub mod violation;

mod address;
mod admin_key;
mod api;
mod call;
mod client;
mod load;
mod observe;
mod plan;
mod reader;
mod recorder;
mod run;
mod shopper;

pub use address::{ShopUrl, ShopUrlError};
pub use admin_key::AdminKey;
pub use call::Call;
pub use load::{Load, LoadError};
pub use plan::Arrivals;
