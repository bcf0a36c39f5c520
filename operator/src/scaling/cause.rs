//! Why a number of replicas was chosen or kept: a fixed word for machines, a sentence for people. Plain data.

use super::Policy;

/// Why a number of replicas was chosen or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// From zero: there is work.
    Woken,
    /// The backlog needs more replicas.
    BacklogGrew,
    /// The largest need of the window is below what runs.
    BacklogShrank,
    /// To the last replica: nothing to do and nothing arriving, so the window need not be waited out.
    Idle,
    /// To zero: nothing to do for the whole cool-down.
    Quiet {
        /// How long it has been quiet.
        milliseconds: u64,
    },
    /// Below the minimum.
    BelowMinimum,
    /// Above the maximum.
    AboveMaximum,
    /// Redis has given no answer for so long that the user's fallback decides, also when it changes nothing.
    Fallback {
        /// How long.
        milliseconds: u64,
    },
    /// Kept: exactly what the backlog needs.
    AsNeeded,
    /// Kept: fewer would do, but the minimum is reached.
    AtMinimum,
    /// Kept: more are needed, but the maximum is reached.
    AtMaximum,
    /// Kept at zero: nothing to do.
    AtRest,
    /// Kept at zero: too little to do.
    BelowActivation,
    /// Kept: fewer would do now, but the window remembers a larger need.
    Stabilizing {
        /// That larger need.
        largest: u32,
    },
    /// Kept: the fall in need is too small.
    WithinTolerance {
        /// What would do.
        target: u32,
    },
    /// Kept: the user's limit of steps.
    StepLimited {
        /// Where the steps lead.
        target: u32,
    },
    /// Kept: nothing to do, but not for long enough.
    CoolingDown {
        /// Until zero, if it stays quiet.
        remaining_milliseconds: u64,
    },
    /// Kept: the first answer after a start or a gap takes nothing away.
    JustStarted,
    /// Kept: somebody else has scaled up not long ago.
    RaisedByOthers {
        /// For how much longer.
        remaining_milliseconds: u64,
    },
    /// Kept: an estimate takes nothing away.
    BacklogEstimated,
    /// Kept: Redis gave no answer.
    BacklogUnknown,
}

impl Cause {
    /// A fixed word for status, Events and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Woken => "Woken",
            Self::BacklogGrew => "BacklogGrew",
            Self::BacklogShrank => "BacklogShrank",
            Self::Idle => "Idle",
            Self::Quiet { .. } => "Quiet",
            Self::BelowMinimum => "BelowMinimum",
            Self::AboveMaximum => "AboveMaximum",
            Self::Fallback { .. } => "Fallback",
            Self::AsNeeded => "AsNeeded",
            Self::AtMinimum => "AtMinimum",
            Self::AtMaximum => "AtMaximum",
            Self::AtRest => "AtRest",
            Self::BelowActivation => "BelowActivation",
            Self::Stabilizing { .. } => "Stabilizing",
            Self::WithinTolerance { .. } => "WithinTolerance",
            Self::StepLimited { .. } => "StepLimited",
            Self::CoolingDown { .. } => "CoolingDown",
            Self::JustStarted => "JustStarted",
            Self::RaisedByOthers { .. } => "RaisedByOthers",
            Self::BacklogEstimated => "BacklogEstimated",
            Self::BacklogUnknown => "BacklogUnknown",
        }
    }

    /// The cause in a sentence, for somebody who knows only the policy's fields.
    pub(super) fn sentence(&self, policy: &Policy) -> String {
        let window = policy.window_milliseconds() / 1000;
        let cooldown = policy.cooldown_milliseconds() / 1000;
        match self {
            Self::Woken => "there is work".to_owned(),
            Self::BacklogGrew => "the backlog grew".to_owned(),
            Self::BacklogShrank => format!("no more were needed within the last {window} s"),
            Self::Idle => format!("no work and no arrivals for {} s", super::IDLE_BEFORE_RELEASE.as_secs()),
            Self::Quiet { milliseconds } => format!("no work for {} s", milliseconds / 1000),
            Self::BelowMinimum => format!("the minimum is {}", policy.min_replicas()),
            Self::AboveMaximum => format!("the maximum is {}", policy.max_replicas()),
            Self::Fallback { milliseconds } => {
                format!(
                    "the fallback applies, for Redis has not answered for {} s",
                    milliseconds / 1000
                )
            }
            Self::AsNeeded => "as many as the backlog needs".to_owned(),
            Self::AtMinimum => format!("fewer would do, but the minimum is {}", policy.min_replicas()),
            Self::AtMaximum => format!("more are needed, but the maximum is {}", policy.max_replicas()),
            Self::AtRest => "there is nothing to do".to_owned(),
            Self::BelowActivation => format!("a backlog of up to {} does not start a replica", policy.activation()),
            Self::Stabilizing { largest } => {
                format!("fewer would do now, but {largest} were needed within the last {window} s")
            }
            Self::WithinTolerance { target } => {
                format!(
                    "{target} would do, but so small a fall is within the tolerance of {} %",
                    policy.tolerance_percent()
                )
            }
            Self::StepLimited { target } => format!("on the way to {target}, the next step has to wait"),
            Self::CoolingDown { .. } => {
                format!("there is nothing to do, but not yet for the {cooldown} s after which the last replica goes")
            }
            Self::JustStarted => {
                "fewer would do, but the first answer after a start or a silence takes nothing away".to_owned()
            }
            Self::RaisedByOthers { .. } => {
                format!(
                    "somebody else has scaled up, which is kept for {} s",
                    policy.courtesy_milliseconds() / 1000
                )
            }
            Self::BacklogEstimated => "fewer may do, but the backlog is an estimate".to_owned(),
            Self::BacklogUnknown => "Redis gave no answer".to_owned(),
        }
    }
}
