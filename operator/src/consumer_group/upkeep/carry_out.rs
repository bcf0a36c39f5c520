//! One chore against Redis: a small bounded call, or a few.

use shopwright_streams::{
    Error, Shared,
    consumer::{self, Deleted},
    dead_letter::{self, Owners},
    hand_over,
    trim::{self, Trimmed},
};

use super::{
    super::validate::Plan,
    plan::{Chore, Done},
};

/// Entries that one chore hands over or buries at most; what remains is a chore of its own.
const LIMIT: usize = 256;

/// Does it.
pub(super) async fn carry_out(shared: &Shared, plan: &Plan, chore: &Chore) -> Result<Done, Error> {
    let group = plan.group.as_str();
    Ok(match chore {
        Chore::HandOver {
            stream,
            consumer,
            asked,
        } => {
            let idle = plan.pending.claim_min_idle;
            let handed = if *asked {
                hand_over::of(shared, stream, group, consumer, idle, LIMIT).await?
            } else {
                hand_over::of_failed(shared, stream, group, consumer, idle, LIMIT).await?
            };
            Done::HandedOver {
                entries: handed.entries,
                remaining: handed.remaining,
            }
        }
        Chore::Bury { stream, owners } => {
            let names: Option<Vec<&str>> = owners.as_ref().map(|names| names.iter().map(String::as_str).collect());
            let owners = names.as_deref().map_or(Owners::Any, Owners::Named);
            let rules = plan.pending;
            let (idle, deliveries) = (rules.claim_min_idle, rules.max_deliveries);
            Done::Buried(dead_letter::bury_left(shared, stream, group, owners, idle, deliveries, LIMIT).await?)
        }
        Chore::DeleteConsumer { stream, consumer } => {
            match consumer::delete_if_idle(shared, stream, group, consumer).await? {
                Deleted::Yes => Done::Deleted(true),
                Deleted::Unknown => Done::Deleted(false),
                Deleted::Holds(_) => Done::Kept,
            }
        }
        Chore::CountDeadLetters { stream } => {
            Done::DeadLetters(dead_letter::count(shared, &dead_letter::key(stream, group)).await?)
        }
        Chore::Trim(trim) => {
            let declared: Vec<&str> = trim.declared.iter().map(String::as_str).collect();
            match trim::behind(shared, &trim.stream, &declared, trim.retention).await? {
                Trimmed::Trimmed(entries) => Done::Trimmed(entries),
                Trimmed::Nothing => Done::Trimmed(0),
                Trimmed::Blocked { group, others } => Done::TrimBlocked { group, others },
            }
        }
    })
}
