//! What a storm of a minute or longer must have brought, or its verdict is worth nothing. Pure.

use std::time::Duration;

use crate::database::Died;
use crate::plan::{Durability, RedisDeath};
use crate::report::Report;
use crate::role::Role;

/// A shorter one may miss a kind of fault.
const LEAST: Duration = Duration::from_secs(60);
/// Of the arrivals, so many must have been accepted: a shop that was closed all the time loses nothing.
const ACCEPTED_SHARE: f64 = 0.3;
/// One of them may come when nothing was just written.
const POWER_LOSSES: usize = 3;
const WEATHERS: [&str; 4] = ["delaying", "halving", "resetting", "silent"];

impl Report {
    /// What did not happen, one line each.
    pub(crate) fn mildness(&self) -> impl Iterator<Item = String> {
        let mut missing = Vec::new();
        let mut demand = |there: bool, what: &str| {
            if !there {
                missing.push(what.to_owned());
            }
        };
        #[allow(clippy::cast_precision_loss, reason = "a share of some thousands")]
        let least = self.load.starts.started as f64 * ACCEPTED_SHARE;
        #[allow(clippy::cast_precision_loss, reason = "the same")]
        let accepted = self.books.fates.accepted as f64;
        demand(accepted > 0.0 && accepted >= least, "hardly any order was accepted");
        if self.lasted[0] >= LEAST {
            for role in Role::ALL {
                let killed = self.deaths.killed.contains_key(&role);
                demand(killed, &format!("{} was never killed", role.name()));
            }
            demand(self.struck.frozen > 0, "nothing was frozen");
            demand(!self.redis_deaths.is_empty(), "Redis never died");
            for weather in WEATHERS {
                let struck = self.struck.weather.contains_key(weather);
                demand(struck, &format!("the network was never {weather}"));
            }
            let slow = self.struck.slow_disk > 0 || self.struck.slow_disk_not_tried.is_some();
            demand(slow, "the disk was never slow");
        }
        let of_power = |died: &&Died| matches!(died.death, RedisDeath::PowerLost { .. });
        let power_lost = self.redis_deaths.iter().filter(of_power);
        let (cut, times) = (power_lost.clone().map(|died| died.cut).sum::<u64>(), power_lost.count());
        let is_due = self.lasted[0] >= LEAST && self.durability == Durability::EverySecond;
        demand(times > 0 || !is_due, "power was never lost");
        let in_vain = times >= POWER_LOSSES && cut == 0;
        demand(!in_vain, "power was lost again and again, and not one byte with it");
        missing.into_iter()
    }
}
