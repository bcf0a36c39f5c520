//! What holds for every plan, whatever the seed.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use proptest::prelude::*;

use crate::plan::{Durability, Fault, Forecast, LONGEST_FSYNC_DELAY, RedisDeath, Wrong, plan};
use crate::proxy::Weather;
use crate::role::Role;

fn forecast(seed: u64, seconds: u64, durability: Durability) -> Forecast {
    Forecast {
        duration: Duration::from_secs(seconds),
        seed,
        durability,
        claim_min_idle: Duration::from_secs(2),
        redis_gap: Duration::from_secs(8),
    }
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![Just(Durability::Always), Just(Durability::EverySecond)]
}

fn apart(faults: &[Fault], same: impl Fn(&Wrong) -> bool, gap: Duration) -> bool {
    let of_kind: Vec<&Fault> = faults.iter().filter(|fault| same(&fault.what)).collect();
    of_kind
        .windows(2)
        .all(|pair| pair[0].at + pair[0].what.duration() + gap <= pair[1].at)
}

/// The kinds of weather there are; never a clear sky.
fn weathers(faults: &[Fault]) -> HashSet<Discriminant<Weather>> {
    faults
        .iter()
        .filter_map(|fault| match fault.what {
            Wrong::Network { weather, .. } => Some(discriminant(&weather)),
            _ => None,
        })
        .collect()
}

proptest! {
    #[test]
    fn faults_are_in_order_and_over_before_the_end(seed: u64, seconds in 1_u64..2_000, durability in durability()) {
        let forecast = forecast(seed, seconds, durability);
        let faults = plan(&forecast);
        prop_assert!(faults.windows(2).all(|pair| pair[0].at <= pair[1].at));
        prop_assert!(faults.iter().all(|fault| fault.at + fault.what.duration() < forecast.duration));
        prop_assert_eq!(plan(&forecast), faults);
    }

    #[test]
    fn redis_has_its_time_between_two_deaths(seed: u64, durability in durability()) {
        let forecast = forecast(seed, 1_800, durability);
        let apart = apart(&plan(&forecast), |what| matches!(what, Wrong::Redis(_)), forecast.redis_gap);
        prop_assert!(apart);
    }

    #[test]
    fn what_would_end_each_other_never_overlaps(seed: u64, durability in durability()) {
        let faults = plan(&forecast(seed, 1_800, durability));
        let kinds: [fn(&Wrong) -> bool; 3] = [
            |what| matches!(what, Wrong::Network { .. }),
            |what| matches!(what, Wrong::SlowDisk { .. }),
            |what| matches!(what, Wrong::Freeze { .. }),
        ];
        for same in kinds {
            prop_assert!(apart(&faults, same, Duration::ZERO));
        }
    }

    #[test]
    fn each_fault_keeps_its_bounds(seed: u64, durability in durability()) {
        for fault in plan(&forecast(seed, 1_800, durability)) {
            match fault.what {
                Wrong::Kill { role, replica } => prop_assert!(replica < role.replicas()),
                Wrong::Freeze { role, replica, duration } => {
                    prop_assert!(replica < role.replicas());
                    prop_assert!(duration > Duration::from_secs(2), "shorter than the claim time: {duration:?}");
                }
                Wrong::Redis(RedisDeath::Killed) => {}
                Wrong::Redis(RedisDeath::PowerLost { age }) => {
                    prop_assert!(durability == Durability::EverySecond && age <= Duration::from_secs(1));
                }
                Wrong::SlowDisk { delay, duration } => {
                    prop_assert!(delay <= LONGEST_FSYNC_DELAY && duration <= Duration::from_secs(6));
                }
                Wrong::Network { weather, duration } => {
                    prop_assert!(weather != Weather::Clear && duration <= Duration::from_secs(4));
                }
            }
        }
    }

    #[test]
    fn in_a_long_plan_everything_goes_wrong_for_everybody(seed: u64, durability in durability()) {
        let faults = plan(&forecast(seed, 1_800, durability));
        for role in Role::ALL {
            for replica in 0..role.replicas() {
                let (mut killed, mut frozen) = (false, false);
                for fault in &faults {
                    killed |= fault.what == (Wrong::Kill { role, replica });
                    frozen |= matches!(fault.what, Wrong::Freeze { role: whom, replica: which, .. } if (whom, which) == (role, replica));
                }
                prop_assert!(killed && frozen, "{role:?} {replica}");
            }
        }
        prop_assert_eq!(weathers(&faults).len(), 4);
        let slow_disk = faults.iter().any(|fault| matches!(fault.what, Wrong::SlowDisk { .. }));
        prop_assert!(slow_disk);
        let killed = faults.iter().any(|fault| fault.what == Wrong::Redis(RedisDeath::Killed));
        let power_lost = faults.iter().any(|fault| matches!(fault.what, Wrong::Redis(RedisDeath::PowerLost { .. })));
        prop_assert!(killed);
        prop_assert_eq!(power_lost, durability == Durability::EverySecond);
    }

    #[test]
    fn a_minute_is_enough_for_every_kind(seed: u64, durability in durability()) {
        let faults = plan(&forecast(seed, 60, durability));
        let kinds: Vec<_> = faults.iter().map(|fault| discriminant(&fault.what)).collect();
        let one_of_each = [
            Wrong::Kill { role: Role::Payments, replica: 0 },
            Wrong::Freeze { role: Role::Payments, replica: 0, duration: Duration::ZERO },
            Wrong::Redis(RedisDeath::Killed),
            Wrong::SlowDisk { delay: Duration::ZERO, duration: Duration::ZERO },
            Wrong::Network { weather: Weather::Silent, duration: Duration::ZERO },
        ];
        for kind in one_of_each {
            prop_assert!(kinds.contains(&discriminant(&kind)), "{kind:?}");
        }
        let power_lost = faults.iter().any(|fault| matches!(fault.what, Wrong::Redis(RedisDeath::PowerLost { .. })));
        prop_assert_eq!(power_lost, durability == Durability::EverySecond);
        prop_assert_eq!(weathers(&faults).len(), 4);
        for role in Role::ALL {
            let killed = faults.iter().any(|fault| matches!(fault.what, Wrong::Kill { role: whom, .. } if whom == role));
            prop_assert!(killed, "{role:?}");
        }
    }
}
