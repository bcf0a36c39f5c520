//! A provider that is none: its own book in Redis, under its own keys and its own ACL user, one script per call.
//!
//! Faults are put into its book by whoever tests (`RPUSH {NAME-provider}:faults effect_then_timeout|stored_error|busy|refused`,
//! met by the next calls; `SET {NAME-provider}:down 1`, met by all). Its latency is the call's, half before the effect and
//! half after it, so that a caller can die with the effect done and the answer on its way, as with a real one.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, Script};
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::keys::ShopKeys;
use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::{ChargeAnswer, RefundAnswer};
use shopwright_kit::{Redis, crash};

use super::{GiveBack, Provider};
use crate::metrics::Metrics;

struct Scripts {
    charge: Script,
    refund: Script,
}

/// The simulated provider. Cloning is cheap.
#[derive(Clone)]
pub struct Simulated {
    redis: Redis,
    keys: ShopKeys,
    latency: Duration,
    decline_above: Option<Amount>,
    metrics: Metrics,
    scripts: Arc<Scripts>,
}

impl Simulated {
    /// A provider for one shop, over a connection of its own user.
    pub fn new(
        redis: Redis,
        keys: ShopKeys,
        latency: Duration,
        decline_above: Option<Amount>,
        metrics: Metrics,
    ) -> Self {
        let scripts = Scripts {
            charge: Script::new(include_str!("charge.lua")),
            refund: Script::new(include_str!("refund.lua")),
        };
        Self {
            redis,
            keys,
            latency,
            decline_above,
            metrics,
            scripts: Arc::new(scripts),
        }
    }

    async fn about_charge(&self, call: &'static str, key: OrderId, money: Option<Money>) -> ChargeAnswer {
        tokio::time::sleep(self.latency / 2).await;
        let limit = self.decline_above.map(|limit| limit.to_string()).unwrap_or_default();
        let mut script = self.scripts.charge.prepare_invoke();
        script
            .key(self.keys.provider_charge(key))
            .key(self.keys.provider_faults())
            .key(self.keys.provider_down())
            .arg(call)
            .arg(money.map(|money| money.amount.to_string()).unwrap_or_default())
            .arg(money.map(|money| money.currency.to_string()).unwrap_or_default())
            .arg(limit);
        let word: Result<String, _> = script.invoke_async(&mut self.redis.idempotent()).await;
        crash::point("payments.provider.after_effect");
        tokio::time::sleep(self.latency / 2).await;
        match self.word(call, key, &word) {
            "charged" => ChargeAnswer::Charged,
            "declined" => ChargeAnswer::Declined,
            "stopped" => ChargeAnswer::Stopped,
            _ => ChargeAnswer::Unknown,
        }
    }

    /// One of the known words, counted and logged where it is none to go by.
    fn word(&self, call: &'static str, key: OrderId, answer: &Result<String, RedisError>) -> &'static str {
        const CLEAR: [&str; 5] = ["charged", "declined", "stopped", "succeeded", "failed"];
        const UNCLEAR: [&str; 5] = ["busy", "timeout", "error", "not_found", "mismatch"];
        let word = match answer {
            Ok(word) => CLEAR
                .into_iter()
                .chain(UNCLEAR)
                .find(|known| known == word)
                .unwrap_or("other"),
            Err(error) => {
                tracing::warn!(order = %key, call, kind = ?error.kind(), code = error.code(), "the provider's book is away");
                "unreachable"
            }
        };
        if !CLEAR.contains(&word) {
            tracing::warn!(order = %key, call, answer = word, "the provider gave no clear answer");
        }
        self.metrics.called(call, word);
        word
    }
}

impl Provider for Simulated {
    async fn charge(&self, key: OrderId, money: Money) -> ChargeAnswer {
        self.about_charge("charge", key, Some(money)).await
    }

    async fn stop(&self, key: OrderId) -> ChargeAnswer {
        self.about_charge("stop", key, None).await
    }

    async fn lookup(&self, key: OrderId) -> ChargeAnswer {
        self.about_charge("lookup", key, None).await
    }

    async fn refund(&self, id: RefundId, key: OrderId, what: GiveBack) -> RefundAnswer {
        tokio::time::sleep(self.latency / 2).await;
        let mut script = self.scripts.refund.prepare_invoke();
        script
            .key(self.keys.provider_refund(id))
            .key(self.keys.provider_charge(key))
            .key(self.keys.provider_faults())
            .key(self.keys.provider_down())
            .arg(match what {
                GiveBack::Amount(money) => money.amount.to_string(),
                GiveBack::Rest => "rest".to_owned(),
            });
        let word: Result<String, _> = script.invoke_async(&mut self.redis.idempotent()).await;
        crash::point("payments.provider.after_effect");
        tokio::time::sleep(self.latency / 2).await;
        match self.word("refund", key, &word) {
            "succeeded" => RefundAnswer::Succeeded,
            "failed" => RefundAnswer::Failed,
            _ => RefundAnswer::Unknown,
        }
    }
}
