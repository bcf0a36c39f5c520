//! What a storm came to, for people. Pure.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use shopwright_kit::crash::POINTS;
use shopwright_load::machine::Machine;
use shopwright_load::report::Report as LoadReport;
use shopwright_load::violation::ViolationKind;

use crate::books::Books;
use crate::conduct::Struck;
use crate::database::Died;
use crate::death::Deaths;
use crate::plan::{Durability, RedisDeath};
use crate::role::Role;

/// The most lines of one kind of finding.
const MOST_LINES: usize = 20;

/// What a storm came to.
pub struct Report {
    /// The same seed makes the same plan and the same load.
    pub seed: u64,
    /// What the disk promised.
    pub durability: Durability,
    /// Of Shopwright, and of Redis.
    pub versions: [String; 2],
    /// Where it ran.
    pub machine: Machine,
    /// How long faults and load went on, and how long the shop then had to settle.
    pub lasted: [Duration; 2],
    /// What clients saw.
    pub load: LoadReport,
    /// How the books compare.
    pub books: Books,
    /// Of processes.
    pub deaths: Deaths,
    /// Of the main Redis.
    pub redis_deaths: Vec<Died>,
    /// Other faults.
    pub struck: Struck,
    /// Lines of logs that tell of a panic.
    pub panics: Vec<String>,
    /// Where data and logs are, when something is wrong.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Everything that must not be, one line each; nothing when all is well.
    pub fn violations(&self) -> Vec<String> {
        let mut found: Vec<String> = self.books.violations().collect();
        found.extend(self.panics.iter().map(|line| format!("panic: {line}")));
        let seen = self.seen_by_clients(false);
        found.extend(seen.map(|(kind, count)| format!("seen by clients: {kind}, {count} times")));
        found.extend(self.mildness().map(|line| format!("too mild: {line}")));
        found
    }

    /// Broken promises that clients saw, by whether a lost second permits them.
    fn seen_by_clients(&self, permitted: bool) -> impl Iterator<Item = (ViolationKind, u64)> {
        let seen = self.load.violations.iter().map(|(kind, count)| (*kind, *count));
        seen.filter(move |(kind, _)| self.is_permitted(*kind) == permitted)
    }

    /// With a lost second a client sees orders go back or vanish, and its keys forgotten. Whether what is there now is whole is
    /// told by the rest of this report.
    fn is_permitted(&self, kind: ViolationKind) -> bool {
        let back = match kind {
            ViolationKind::Money | ViolationKind::Stock | ViolationKind::StreamUnsound => false,
            ViolationKind::Doubled
            | ViolationKind::NotReplayed
            | ViolationKind::RepeatRefused
            | ViolationKind::Lost
            | ViolationKind::VersionBack
            | ViolationKind::StateBack
            | ViolationKind::StreamBehind
            | ViolationKind::CancelIgnored => true,
        };
        back && self.durability == Durability::EverySecond && !self.redis_deaths.is_empty()
    }

    /// Nothing is lost that may not be, nothing doubled, nothing stuck, and all books agree.
    pub fn is_whole(&self) -> bool {
        self.violations().is_empty()
    }

    fn write_head(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let durability = match self.durability {
            Durability::Always => "always",
            Durability::EverySecond => "every second",
        };
        let [shopwright, redis] = &self.versions;
        let [storm, settled] = self.lasted.map(|lasted| lasted.as_secs_f64());
        writeln!(
            out,
            "storm, seed {}, durability {durability}: {storm:.0} s, then {settled:.0} s to settle",
            self.seed
        )?;
        writeln!(out, "shopwright {shopwright}, redis {redis}, on {}\n", self.machine)
    }

    fn write_faults(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let killed: Vec<String> = Role::ALL
            .iter()
            .map(|role| {
                let count = self.deaths.killed.get(role).copied().unwrap_or_default();
                format!("{count} {}", role.name())
            })
            .collect();
        writeln!(out, "killed      {}", killed.join(", "))?;
        let of = |lost_power| {
            let is = move |died: &&Died| matches!(died.death, RedisDeath::PowerLost { .. }) == lost_power;
            self.redis_deaths.iter().filter(is)
        };
        let cut: u64 = self.redis_deaths.iter().map(|died| died.cut).sum();
        let loading = self
            .redis_deaths
            .iter()
            .map(|died| died.loading)
            .max()
            .unwrap_or_default();
        writeln!(
            out,
            "redis       {} killed, {} lost their power and {cut} bytes; loading took at most {} ms; {} put off",
            of(false).count(),
            of(true).count(),
            loading.as_millis(),
            self.struck.put_off
        )?;
        let weather: Vec<String> = self
            .struck
            .weather
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        writeln!(
            out,
            "frozen      {}\nnetwork     {}",
            self.struck.frozen,
            weather.join(", ")
        )?;
        write!(out, "slow disk   {}", self.struck.slow_disk)?;
        if let Some(reason) = &self.struck.slow_disk_not_tried {
            write!(out, "; not tried: {reason}")?;
        }
        for (role, how) in self.deaths.unasked.iter().take(MOST_LINES) {
            write!(out, "\nended by itself: {}, {how}", role.name())?;
        }
        writeln!(out, "\n\nkills by crash point")?;
        for point in POINTS {
            let count = self.deaths.crashed.get(point).copied().unwrap_or_default();
            writeln!(out, "  {point:<34}{count:>5}")?;
        }
        Ok(())
    }

    fn write_orders(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Books { fates, stock, .. } = &self.books;
        writeln!(
            out,
            "\norders      {} accepted; {} without a definite reply, of which {} were placed",
            fates.accepted, fates.unknown, fates.unseen
        )?;
        let states: Vec<String> = fates
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        writeln!(out, "now         {}", states.join(", "))?;
        let lost = fates.lost.len();
        writeln!(
            out,
            "lost        {lost}, of which {} in a second that may be",
            lost - fates.lost_without_leave().count()
        )?;
        writeln!(
            out,
            "stock       {} adjustments, {} refused, {} pieces lost with a second that may be",
            stock.done, stock.refused, stock.excused
        )
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.write_head(out)?;
        self.write_faults(out)?;
        self.write_orders(out)?;
        writeln!(out, "\n{}", self.load)?;
        let permitted: u64 = self.seen_by_clients(true).map(|(_, count)| count).sum();
        if permitted > 0 {
            writeln!(
                out,
                "of these, {permitted} are what a second that may be lost looks like to clients\n"
            )?;
        }
        writeln!(out, "{}", self.books.verified)?;
        let violations = self.violations();
        if violations.is_empty() {
            return writeln!(out, "no violations");
        }
        writeln!(out, "{} VIOLATIONS", violations.len())?;
        for violation in violations.iter().take(MOST_LINES) {
            writeln!(out, "  {violation}")?;
        }
        if let Some(kept) = &self.kept {
            writeln!(out, "data and logs are in {}", kept.display())?;
        }
        Ok(())
    }
}
