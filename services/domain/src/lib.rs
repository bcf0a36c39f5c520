//! The shop's rules: money, identifiers, orders, reservations, events, keys, access. Pure: no I/O, no async, and time is
//! passed in (`ids::*::generate` alone reads clock and randomness, for the edges to call).
//!
//! # A way through the services, from here outwards
//! 1. [`order`]: what an order is: its states, its money, its document.
//! 2. [`order::situation`]: where an order stands and what can happen to it: rows and columns of a table.
//! 3. [`order::rules`]: the table: which move follows in each row at each column.
//! 4. `order/decide.rs`: what an input says (its column), and what each move does.
//! 5. `order/transition.rs`: the words that moves are made of: a state, an event, a job, a refund, the next due time.
//! 6. `payments/src/act`: read, decide, store, and on a conflict again: for one happening or for a batch.
//! 7. `payments/src/store/commit.rs`, `advance.lua`: a decision is stored whole or not at all.
//! 8. [`reservation`]: inventory's side, as pure rules.
//! 9. `inventory/src/scripts`: `reservation.lua`, then `reserve`, `commit` and `release`: the same rules, where stock is.
//!
//! Then `payments/src/consume` (what comes in by streams), `sweep.rs` (what falls due) and `http`. To be skipped at first:
//! tests and `order/{table,world}.rs`, [`access`], [`keys`], `watch`, `token.rs`, search, all of `kit`; and `model`,
//! `storm`, `verify` and `load`, which prove things about these and change nothing in them.
//!
//! # Words
//! - [`Input`](order::Input): what happened to an order, as a fact with its content: an answer of inventory or of the
//!   provider, a wish, the clock.
//! - [`Trigger`](order::situation::Trigger): what an input says about this order: a column of the table. Some say nothing.
//! - [`Situation`](order::situation::Situation): where an order stands, state and marks together: a row of the table.
//! - [`Move`](order::rules::Move): what the table has where row and column meet, the name of a change or of none.
//! - [`Decision`](order::Decision): a change ready to be stored: the order afterwards, events, jobs, a refund, the due time.
//! - [`Outcome`](order::Outcome): what [`decide`](order::decide) says: a decision to store, or why nothing changes.
//! - `Happening` (payments, `act`): an input, or the provider's answer about a refund whose document is yet to be read.
//! - `Committed` (payments, `store`): what the script said: stored, another order by now, entries that are lost, or a request
//!   that is known already.
//! - `Acted` (payments, `act`): what became of one happening: the order changed, did not, or the request is known already.
//! - `OrderInput` (payments, `act`): an input of a batch, with its order and the entry that told it.
//! - `Answer` (payments, `act`): what became of one of them: done, or the error it shares with others. Another
//!   [`Answer`](reservation::Answer), of a reservation, is the kind of event that inventory replies with.

pub mod access;
pub mod events;
pub mod ids;
pub mod jobs;
pub mod keys;
pub mod lines;
pub mod money;
pub mod order;
pub mod reservation;

/// Milliseconds since the Unix epoch, by the clock of Redis.
pub type UnixMilliseconds = i64;
