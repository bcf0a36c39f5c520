//! What goes wrong, for whom, when and for how long: a schedule that is the same for the same seed. Pure.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::proxy::Weather;
use crate::role::Role;

/// When Redis writes to its disk, and with it what a storm may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// An fsync before each reply: nothing that was answered may be lost.
    Always,
    /// An fsync each second: a lost second is permitted.
    EverySecond,
}

/// How the main Redis dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RedisDeath {
    /// SIGKILL. What it had written to the file is there, since the kernel goes on.
    Killed,
    /// SIGKILL, and the end of its file is gone, as when the machine loses power.
    PowerLost {
        /// The last fsync was so long ago; when the disk is slow, by its delay longer.
        age: Duration,
    },
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// SIGKILL of one process; a new one starts at once.
    Kill {
        /// Whose.
        role: Role,
        /// Which of them.
        replica: usize,
    },
    /// SIGSTOP of one process, longer than its peers wait before they claim its work; then SIGCONT.
    Freeze {
        /// Whose.
        role: Role,
        /// Which of them.
        replica: usize,
        /// For how long.
        duration: Duration,
    },
    /// The main Redis dies and comes back on its data.
    Redis(RedisDeath),
    /// Each fsync of the main Redis takes longer.
    SlowDisk {
        /// By so much.
        delay: Duration,
        /// For how long.
        duration: Duration,
    },
    /// What lies between the services and the main Redis.
    Network {
        /// How bad.
        weather: Weather,
        /// For how long.
        duration: Duration,
    },
}

impl Wrong {
    /// How long it lasts. A death is over when the successor runs.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Kill { .. } | Self::Redis(_) => Duration::ZERO,
            Self::Freeze { duration, .. } | Self::SlowDisk { duration, .. } | Self::Network { duration, .. } => {
                *duration
            }
        }
    }
}

/// One entry of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Since the storm began.
    pub at: Duration,
    /// What happens then.
    pub what: Wrong,
}

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct Forecast {
    /// How long faults may come; all have ended when it is over.
    pub duration: Duration,
    /// The same seed makes the same plan.
    pub seed: u64,
    /// What the disk promises.
    pub durability: Durability,
    /// How long peers wait before they claim a frozen consumer's work.
    pub claim_min_idle: Duration,
    /// The shortest time between two deaths of Redis.
    pub redis_gap: Duration,
}

/// The longest delay of an fsync. With more, a lost second could be older than two seconds and the delay.
pub const LONGEST_FSYNC_DELAY: Duration = Duration::from_millis(900);

/// Mean times between two faults of a kind.
const KILL_GAP: Duration = Duration::from_millis(2_500);
const FREEZE_GAP: Duration = Duration::from_secs(9);
const SLOW_DISK_GAP: Duration = Duration::from_secs(20);
const NETWORK_GAP: Duration = Duration::from_secs(6);

/// A plan, ordered by time.
pub fn plan(forecast: &Forecast) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(forecast.seed);
    let mut faults = Vec::new();
    let mut kind = |gap: Duration, apart: bool, random: &mut StdRng, draw: &mut dyn FnMut(&mut StdRng) -> Wrong| {
        let mut at = gap.mul_f64(random.random_range(0.2..1.0));
        loop {
            let what = draw(random);
            if at + what.duration() >= forecast.duration {
                return;
            }
            faults.push(Fault { at, what });
            // Two of the same kind at once would end each other.
            let least = if apart { gap.mul_f64(0.5) } else { Duration::ZERO };
            at += what.duration() + least + gap.mul_f64(random.random_range(0.0..1.0));
        }
    };
    let mut killed = Deck::new(everybody());
    kind(KILL_GAP, false, &mut random, &mut |random| {
        let (role, replica) = killed.draw(random);
        Wrong::Kill { role, replica }
    });
    let mut frozen = Deck::new(everybody());
    kind(FREEZE_GAP, true, &mut random, &mut |random| {
        let (role, replica) = frozen.draw(random);
        let duration = forecast.claim_min_idle.mul_f64(random.random_range(1.2..2.5));
        Wrong::Freeze {
            role,
            replica,
            duration,
        }
    });
    let redis_gap = forecast.redis_gap.mul_f64(2.0);
    // The first is one of power, where it may be: a storm of a minute has few.
    let mut has_died = false;
    kind(redis_gap, true, &mut random, &mut |random| {
        let is_first = !std::mem::replace(&mut has_died, true);
        let killed = forecast.durability == Durability::Always || (random.random_bool(0.3) && !is_first);
        let age = milliseconds(random, 0..1_000);
        Wrong::Redis(if killed {
            RedisDeath::Killed
        } else {
            RedisDeath::PowerLost { age }
        })
    });
    kind(SLOW_DISK_GAP, true, &mut random, &mut |random| Wrong::SlowDisk {
        delay: LONGEST_FSYNC_DELAY.mul_f64(random.random_range(0.1..1.0)),
        duration: milliseconds(random, 1_000..6_000),
    });
    let mut kinds = Deck::new(vec![0, 1, 2, 3]);
    kind(NETWORK_GAP, true, &mut random, &mut |random| {
        let kind = kinds.draw(random);
        weather(kind, random)
    });
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Every process.
fn everybody() -> Vec<(Role, usize)> {
    Role::ALL
        .iter()
        .flat_map(|role| (0..role.replicas()).map(|replica| (*role, replica)))
        .collect()
}

/// Draws each of its cards once before it draws one again: with free draws, every tenth minute would be without silence.
struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    fn new(cards: Vec<T>) -> Self {
        Self {
            cards,
            left: Vec::new(),
        }
    }

    fn draw(&mut self, random: &mut StdRng) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
        }
        let drawn = random.random_range(0..self.left.len());
        self.left.swap_remove(drawn)
    }
}

fn weather(kind: u8, random: &mut StdRng) -> Wrong {
    let (weather, duration) = match kind {
        0 => {
            let longest = milliseconds(random, 5..150);
            (Weather::Delaying { longest }, milliseconds(random, 500..4_000))
        }
        1 => (Weather::Halving, milliseconds(random, 300..2_000)),
        2 => (Weather::Resetting, milliseconds(random, 100..1_000)),
        _ => (Weather::Silent, milliseconds(random, 500..3_500)),
    };
    Wrong::Network { weather, duration }
}

fn milliseconds(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}
