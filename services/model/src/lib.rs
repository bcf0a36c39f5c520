//! Goes through every reachable state of the shop: the very state machines that run (`shopwright_domain::order` and
//! `::reservation`), with streams that repeat and reorder, processes that die or pause anywhere, a provider that answers
//! late, twice or never, and a Redis that loses its last writes. `docs/model.md` says what is modelled and what is not.
//!
//! Read [`world`] for what a state is, [`model`] for what can happen, [`step`] for what comes of it, [`invariants`] and
//! [`calm`] for what must hold, [`scope`] for what is checked together.

pub mod calm;
pub mod check;
pub mod entry;
pub mod facts;
pub mod invariants;
pub mod model;
pub mod rules;
pub mod sample;
pub mod scope;
pub mod sights;
pub mod step;
pub mod table;
pub mod world;

pub use check::{Report, check, refute};
pub use rules::Rules;
pub use scope::Scope;
