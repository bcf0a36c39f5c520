//! The renewal that keeps peers from claiming what is in hand. Touches the idle time of these entries.

use super::Settings;
use super::contact::Contact;
use super::hold::Holding;
use crate::back_off::BackOff;
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::{Class, Error};
use crate::hand_over::mark;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Ids renewed with one call, so that none is slow.
const BATCH: usize = 256;

/// XCLAIM by the owner itself resets the idle time; JUSTID leaves the delivery count alone. Only what is still ours is
/// renewed: after a long stall a peer may have it, and a plain XCLAIM would take it back. Nor is what was handed over since
/// it was seen in hand: to renew it would keep peers from it, and its next hand-over would take off a second delivery.
/// KEYS: stream. ARGV: group, consumer, idle time that marks what was handed over, ids.
const RENEW: &str = r"
local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for i = 4, #ARGV do
  local item = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  if item and item[3] < tonumber(ARGV[3]) then claim[#claim + 1] = ARGV[i] end
end
if #claim > 5 then
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end
return #claim
";

impl Holding {
    /// Renews what is in hand each third of `claim_min_idle`, until dropped. While Redis is away it is tried on: after an
    /// outage longer than `claim_min_idle`, peers wait only for a while before they claim.
    pub(super) async fn renew(self, shared: Shared, settings: Arc<Settings>, contact: Contact) {
        let turn = settings.claim_min_idle / 3;
        loop {
            tokio::time::sleep(turn).await;
            self.forget_left(settings.claim_min_idle);
            let mut back_off = BackOff::new(FIRST_WAIT, LONGEST_WAIT);
            while let Err(error) = self.renew_all(&shared, &settings, &contact).await {
                self.counters().failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(stream = settings.key, %error, "entries in hand were not renewed");
                // What Redis refuses it will not grant a moment later.
                if !matches!(error.class(), Class::Unreachable | Class::NotReady) {
                    break;
                }
                tokio::time::sleep(back_off.wait().min(turn)).await;
            }
        }
    }

    async fn renew_all(&self, shared: &Shared, settings: &Settings, contact: &Contact) -> Result<(), Error> {
        for ids in self.in_hand().chunks(BATCH) {
            renew(shared, settings, ids).await?;
            contact.answered();
        }
        Ok(())
    }
}

async fn renew(shared: &Shared, settings: &Settings, ids: &[EntryId]) -> Result<(), Error> {
    let mut command = redis::cmd("EVAL");
    command.arg(RENEW).arg(1).arg(&settings.key);
    command.arg(&settings.group).arg(&settings.consumer);
    command.arg(mark(settings.claim_min_idle));
    for id in ids {
        command.arg(id.to_string());
    }
    command.exec_async(&mut shared.repeating()).await?;
    Ok(())
}
