//! The payment provider, as payments sees it: four questions about a key, and answers that may be unknown.

use std::future::Future;
use std::time::Duration;

use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::money::Money;
use shopwright_domain::order::{ChargeAnswer, RefundAnswer};

pub mod simulated;

pub use simulated::Simulated;

/// A call that has no answer by then is given up, and its answer is `Unknown`: a call that never ends would keep its place
/// among the few at once for ever. Below the time that a consumer has to drain (30 s), so that a call made just before the
/// end still tells how it went.
pub const LONGEST_CALL: Duration = Duration::from_secs(20);

/// How much of a charge is to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveBack {
    /// So much.
    Amount(Money),
    /// All that is left of it, which may be nothing.
    Rest,
}

/// A provider of payments. Every call may be repeated under its key, at any time and from any process, and then answers
/// as the first one did: what was charged, stopped, given back or refused stays so for its key, for ever. No answer, an
/// error and "busy" are all `Unknown`, from which nobody concludes anything.
///
/// It keeps a book of its own, and never gives back more of a charge than it took, whatever it is asked: the last guard
/// of the shop's money is not in the shop.
pub trait Provider: Send + Sync + 'static {
    /// Take the money, once for this key.
    fn charge(&self, key: OrderId, money: Money) -> impl Future<Output = ChargeAnswer> + Send;
    /// Refuse this key from now on, unless it was charged or declined.
    fn stop(&self, key: OrderId) -> impl Future<Output = ChargeAnswer> + Send;
    /// What has become of this key? Not knowing it is `Unknown`: the charge may still be on its way.
    fn lookup(&self, key: OrderId) -> impl Future<Output = ChargeAnswer> + Send;
    /// Give money back, once for this refund. `Failed` is for ever: whoever still wants to, asks with another refund. Asked for
    /// the rest of a charge of which nothing is left, it has `Succeeded`.
    fn refund(&self, id: RefundId, key: OrderId, what: GiveBack) -> impl Future<Output = RefundAnswer> + Send;
}
