//! One address for the shop: the gateway to the services, and a page. Touches no Redis; knows no rule of the shop.

pub mod cli;
pub mod gateway;
pub mod page;
pub mod serve;
