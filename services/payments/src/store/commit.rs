//! Writes decisions: one script each, on its own or many in one round trip.

use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value, from_redis_value};
use shopwright_domain::events::{Content, Meta, encode};
use shopwright_domain::ids::RefundId;
use shopwright_domain::order::{Decision, Order};
use shopwright_streams::EntryId;
use uuid::Uuid;

use super::{Store, StoreError, rfc3339};

/// Stores one decision, and the mark of the request that it came from: all or nothing.
pub const ADVANCE: &str = include_str!("advance.lua");

/// What a repeated request is known by. Stored with its effect, by the same script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Names caller, path and key; 64 hex digits.
    pub id: String,
    /// What the first reply can be rebuilt from: a `shopwright_kit::idempotency::Record` as JSON.
    pub record: String,
    /// How long repetitions are known.
    pub retention: Duration,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Stored, all of it.
    Stored,
    /// The order is another by now; nothing was stored.
    Conflict,
    /// Redis does not have these entries any more, so what they told may not be true; nothing was stored.
    EntriesLost(Vec<EntryId>),
    /// The request had its effect before, perhaps by an attempt of ours whose answer was lost. This is the record of it;
    /// nothing was stored now.
    Known(String),
}

impl Store {
    /// Stores a decision if the order is still the one that it was made for, and the request is not known yet. Safe to be sent
    /// twice: the second time finds the mark, or another version.
    pub async fn commit(&self, decision: &Decision, mark: Option<&Mark>) -> Result<Committed, StoreError> {
        let call = Call {
            decision,
            entries: &[],
            mark,
        };
        let mut replies = self.send(&[call]).await?;
        // One call, one reply.
        replies.pop().unwrap_or(Ok(Committed::Conflict))
    }

    /// Stores each decision by itself, in one round trip, if all entries of inventory's stream that it follows from are
    /// still there. Decisions of one order must not come together: the second would be made for a version that, when the
    /// first one fails, somebody else may have stored. The outer error means that nothing is known of any.
    pub async fn commit_all(
        &self,
        decisions: &[(&Decision, &[EntryId])],
    ) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
        let call = |&(decision, entries)| Call {
            decision,
            entries,
            mark: None,
        };
        let calls: Vec<_> = decisions.iter().map(call).collect();
        self.send(&calls).await
    }

    /// Stores the mark of a request that needs no effect, unless the request is known: then its record.
    pub async fn remember(&self, mark: &Mark) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.payments_idempotency(&mark.id)).arg(&mark.record);
        let retention = mark.retention.as_millis().to_string();
        command.arg("NX").arg("GET").arg("PX").arg(retention);
        Ok(command.query_async(&mut self.redis.idempotent()).await?)
    }

    /// The record of a request that had its effect.
    pub async fn mark(&self, id: &str) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.payments_idempotency(id));
        Ok(command.query_async(&mut self.redis.idempotent()).await?)
    }

    async fn send(&self, calls: &[Call<'_>]) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
        let arguments = calls.iter().map(|call| self.arguments(call));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let known = arguments
            .iter()
            .map(|call| call.as_cmd("EVALSHA", self.scripts.advance.get_hash()));
        let mut replies = self.pipeline(known).await?;
        // A Redis that has not seen the script yet is sent it whole, for those that did not run.
        let unknown: Vec<_> = (0..replies.len().min(calls.len()))
            .filter(|index| {
                replies[*index]
                    .as_ref()
                    .is_err_and(|error| error.code() == Some("NOSCRIPT"))
            })
            .collect();
        if !unknown.is_empty() {
            let whole = unknown
                .iter()
                .map(|index| arguments[*index].as_cmd("EVAL", &self.scripts.advance_source));
            for (index, reply) in unknown.iter().zip(self.pipeline(whole).await?) {
                replies[*index] = reply;
            }
        }
        Ok(replies.into_iter().map(|reply| Ok(committed(reply?)?)).collect())
    }

    async fn pipeline(&self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<RedisResult<Value>>, RedisError> {
        let mut pipeline = redis::pipe();
        // One call that fails leaves the others whole.
        pipeline.ignore_errors();
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.query_async(&mut self.redis.idempotent()).await
    }

    fn arguments(&self, call: &Call<'_>) -> Result<Arguments, StoreError> {
        let &Call {
            decision,
            entries,
            mark,
        } = call;
        let order = &decision.order;
        // The script has a key of a refund in a fixed place, so that the mark's is always the last. A decision without a
        // refund names one that belongs to the order, and the script, given no document for it, writes nothing there.
        let refund_id = decision
            .refund
            .as_ref()
            .map_or(RefundId::of_whole(order.id, order.version), |refund| refund.id);
        let refund = decision.refund.as_ref().map(serde_json::to_string).transpose();
        let refund = refund.map_err(|source| StoreError::Document {
            key: self.keys.refund(refund_id),
            source,
        })?;
        let mut keys = vec![
            self.keys.order(order.id),
            self.keys.due(),
            self.keys.payments_events(),
            self.keys.payments_jobs(),
            self.keys.refund(refund_id),
            self.keys.inventory_events(),
        ];
        keys.extend(mark.map(|mark| self.keys.payments_idempotency(&mark.id)));
        let retention = |mark: &Mark| mark.retention.as_millis().to_string();
        let mut values = vec![
            decision.expected_version.to_string(),
            order.id.to_string(),
            decision.merge.to_string(),
            refund.unwrap_or_default(),
            decision.due.map(|due| due.to_string()).unwrap_or_default(),
            self.keys.payments_changes(),
            order.version.to_string(),
            mark.map(|mark| mark.record.clone()).unwrap_or_default(),
            mark.map(retention).unwrap_or_default(),
            decision.expected_updated_at.to_string(),
            entries.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" "),
            decision.events.len().to_string(),
        ];
        for event in &decision.events {
            add_entry(&mut values, event, order);
        }
        for job in &decision.jobs {
            add_entry(&mut values, job, order);
        }
        Ok(Arguments { keys, values })
    }
}

/// What is to be stored, and on which conditions.
struct Call<'a> {
    decision: &'a Decision,
    /// Of inventory's stream; all of them must be there.
    entries: &'a [EntryId],
    mark: Option<&'a Mark>,
}

/// Of one call of the script.
struct Arguments {
    keys: Vec<String>,
    values: Vec<String>,
}

impl Arguments {
    fn as_cmd(&self, how: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(how);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.values);
        command
    }
}

fn add_entry<E: Content>(values: &mut Vec<String>, content: &E, order: &Order) {
    let meta = Meta {
        id: Uuid::now_v7().to_string(),
        time: rfc3339(order.updated_at),
        traceparent: order.traceparent.clone(),
        request_id: order.request_id.clone(),
    };
    let fields = encode(content, &meta);
    values.push((fields.len() * 2).to_string());
    for (name, value) in fields {
        values.push(name.to_owned());
        values.push(value);
    }
}

fn committed(reply: Value) -> Result<Committed, RedisError> {
    Ok(match reply {
        Value::Int(1) => Committed::Stored,
        Value::Int(_) => Committed::Conflict,
        Value::Array(_) => {
            let ids: Vec<String> = from_redis_value(reply)?;
            // They come back as they were sent.
            Committed::EntriesLost(ids.iter().filter_map(|id| id.parse().ok()).collect())
        }
        record => Committed::Known(from_redis_value(record)?),
    })
}
