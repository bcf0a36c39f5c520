//! What a `ConsumerGroup`'s status should say, and whether saying it is urgent. Pure; the time is passed in.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use shopwright_api::{
    ConsumerGroupStatus, LastScale, StreamStatus,
    condition::{self, ABLE_TO_SCALE, BACKLOG_KNOWN, Fact, GROUP_READY, Holds, READY, SCALING_LIMITED},
};
use shopwright_streams::Class;

use super::assign::{Idle, Rival};

/// What was found out about one group.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Report {
    /// It is left alone.
    Idle(Idle),
    /// It is sampled, and scaled if possible.
    Watched(Watched),
}

/// The state of a group that is sampled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watched {
    pub(super) target: TargetState,
    /// Why the backlog is not known, if it is not.
    pub(super) unknown: Option<Unknown>,
    /// Each stream's figures; empty while unknown.
    pub(super) streams: Vec<StreamFigures>,
    /// Work left, corrected for entries that are counted twice or no longer exist.
    pub(super) backlog: u64,
    pub(super) desired: Option<u32>,
    /// The backlog asks for more than the maximum.
    pub(super) limited: bool,
    pub(super) last_scale: Option<Scaled>,
}

/// The workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetState {
    /// It is there and has so many replicas.
    Found(u32),
    /// There is no such Deployment.
    NotFound,
    /// The API server refused to scale it, with this HTTP status; 0 without an answer.
    Refused(u16, u32),
}

/// A change of replicas that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    pub(super) at: Timestamp,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) reason: &'static str,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamFigures {
    pub(super) key: String,
    pub(super) undelivered: u64,
    pub(super) pending: u64,
}

/// Why a backlog is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret has no usable `password`.
    SecretIncomplete,
    /// The Secret cannot be read.
    SecretUnreadable,
    /// A Redis call failed.
    Redis(shopwright_streams::Error),
    /// A key holds something that is no stream.
    WrongType,
    /// The group has just been lost; it is made again.
    GroupLost,
}

impl Unknown {
    /// A fixed word for conditions and Events.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretIncomplete => "SecretIncomplete",
            Self::SecretUnreadable => "SecretUnreadable",
            Self::WrongType => "WrongType",
            Self::GroupLost => "GroupLost",
            Self::Redis(error) => match error.class() {
                Class::Unreachable => "RedisUnreachable",
                Class::ForbiddenAddress => "ForbiddenAddress",
                Class::Denied if error.code() == Some("NOPERM") => "NoPermission",
                Class::Denied => "WrongCredentials",
                Class::NotReady => "RedisNotReady",
                Class::NoGroup => "GroupLost",
                Class::WrongType => "WrongType",
                Class::Other => "UnexpectedAnswer",
            },
        }
    }

    /// A sentence for people: fixed words and Redis's code, nothing that a peer wrote.
    pub(super) fn message(&self) -> String {
        match self {
            Self::SecretNotFound => "the Secret of spec.redis.secretRef does not exist".to_owned(),
            Self::SecretIncomplete => "the Secret of spec.redis.secretRef has no key `password`".to_owned(),
            Self::SecretUnreadable => "the Secret of spec.redis.secretRef cannot be read".to_owned(),
            Self::WrongType => "a key of spec.streams holds something that is not a stream".to_owned(),
            Self::GroupLost => "the group was lost and is made again".to_owned(),
            Self::Redis(error) => match error.class() {
                Class::ForbiddenAddress => {
                    "spec.redis.host names a loopback or link-local address or the API server".to_owned()
                }
                _ => error.to_string(),
            },
        }
    }

    /// Whether one occurrence is enough to say so: an answer is certain, a silence may be a hiccup.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Redis(error) => !matches!(error.class(), Class::Unreachable | Class::Other | Class::NoGroup),
            Self::GroupLost | Self::SecretUnreadable => false,
            _ => true,
        }
    }

    /// Whether other credentials might help.
    pub(super) fn is_about_credentials(&self) -> bool {
        match self {
            Self::Redis(error) => error.class() == Class::Denied && error.code() != Some("NOPERM"),
            _ => false,
        }
    }
}

/// How soon a status has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It says what is already there.
    Nothing,
    /// Figures moved: at the next opportunity.
    Figures,
    /// Conditions, replicas or the generation changed.
    Now,
}

/// The status to write, given the one that is there.
pub(super) fn render(
    previous: &ConsumerGroupStatus,
    report: &Report,
    generation: Option<i64>,
    now: Timestamp,
) -> ConsumerGroupStatus {
    let facts = facts(report);
    let conditions = condition::merge(&previous.conditions, &facts, generation, now);
    let mut status = ConsumerGroupStatus {
        observed_generation: generation,
        conditions,
        ..ConsumerGroupStatus::default()
    };
    status.last_scale.clone_from(&previous.last_scale);
    let Report::Watched(watched) = report else {
        status.streams = streams_remembered(previous);
        return status;
    };
    if watched.unknown.is_none() {
        status.backlog = Some(signed(watched.backlog));
        status.undelivered = Some(total(&watched.streams, |stream| stream.undelivered));
        status.pending = Some(total(&watched.streams, |stream| stream.pending));
        status.streams = watched.streams.iter().map(stream_status).collect();
    } else {
        status.streams = streams_remembered(previous);
    }
    status.replicas = match watched.target {
        TargetState::Found(replicas) | TargetState::Refused(_, replicas) => i32::try_from(replicas).ok(),
        TargetState::NotFound => None,
    };
    status.desired_replicas = watched.desired.and_then(|desired| i32::try_from(desired).ok());
    if let Some(scaled) = watched.last_scale {
        status.last_scale = Some(LastScale {
            time: Time(Timestamp::from_second(scaled.at.as_second()).unwrap_or(scaled.at)),
            from: i32::try_from(scaled.from).unwrap_or(i32::MAX),
            to: i32::try_from(scaled.to).unwrap_or(i32::MAX),
            reason: scaled.reason.to_owned(),
        });
    }
    status
}

/// Which streams have had the group, without figures. Nothing else remembers it: without them a group that was lost in the
/// meantime would be made again behind its entries.
fn streams_remembered(previous: &ConsumerGroupStatus) -> Vec<StreamStatus> {
    let keys = previous.streams.iter().map(|stream| StreamStatus {
        key: stream.key.clone(),
        ..StreamStatus::default()
    });
    keys.collect()
}

/// Compares what is there with what should be.
pub(super) fn urgency(there: &ConsumerGroupStatus, wanted: &ConsumerGroupStatus) -> Urgency {
    let loud = |status: &ConsumerGroupStatus| ConsumerGroupStatus {
        backlog: None,
        undelivered: None,
        pending: None,
        streams: Vec::new(),
        ..status.clone()
    };
    if there == wanted {
        Urgency::Nothing
    } else if loud(there) != loud(wanted) {
        Urgency::Now
    } else {
        Urgency::Figures
    }
}

fn facts(report: &Report) -> Vec<Fact> {
    let (able, group, backlog, limited) = match report {
        Report::Idle(idle) => {
            let (reason, message) = idle_words(idle);
            let able = Fact::new(ABLE_TO_SCALE, false, reason, message);
            return vec![summary([&able]), able];
        }
        Report::Watched(watched) => (
            able(watched.target),
            group(watched.unknown),
            backlog(watched.unknown),
            limited(watched.limited),
        ),
    };
    vec![summary([&able, &backlog, &group]), able, group, backlog, limited]
}

/// True when all are; else the first that is not says why.
fn summary<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Fact {
    match facts.into_iter().find(|fact| fact.holds != Holds::True) {
        Some(fact) => Fact::new(READY, false, fact.reason, fact.message.clone()),
        None => Fact::new(
            READY,
            true,
            "Scaling",
            "the group exists, its backlog is known and its target follows it",
        ),
    }
}

fn idle_words(idle: &Idle) -> (&'static str, String) {
    match idle {
        Idle::Invalid(problems) => ("InvalidSpec", problems.join("; ")),
        Idle::Conflict(rival) => {
            let message = match rival {
                Rival::SameTarget(name) => format!("the older ConsumerGroup {name} scales the same target"),
                Rival::SameWork(name) => format!("the older ConsumerGroup {name} has the same stream and group"),
                Rival::Autoscaler(name) => format!("the HorizontalPodAutoscaler {name} scales the same target"),
            };
            ("ConflictingScaler", message)
        }
    }
}

fn able(target: TargetState) -> Fact {
    match target {
        TargetState::Found(_) => Fact::new(ABLE_TO_SCALE, true, "ReadyForNewScale", "the target can be scaled"),
        TargetState::NotFound => Fact::new(
            ABLE_TO_SCALE,
            false,
            "TargetNotFound",
            "the Deployment of spec.scaleTargetRef does not exist",
        ),
        TargetState::Refused(0, _) => Fact::new(ABLE_TO_SCALE, false, "FailedRescale", "the API server did not answer"),
        TargetState::Refused(code, _) => Fact::new(
            ABLE_TO_SCALE,
            false,
            "FailedRescale",
            format!("the API server answered {code}"),
        ),
    }
}

fn group(unknown: Option<Unknown>) -> Fact {
    match unknown {
        None => Fact::new(GROUP_READY, true, "GroupExists", "the group exists on every stream"),
        Some(reason) if reason.reason() == "GroupLost" || reason.reason() == "WrongType" => {
            Fact::new(GROUP_READY, false, reason.reason(), reason.message())
        }
        Some(reason) => Fact::new(GROUP_READY, Holds::Unknown, reason.reason(), reason.message()),
    }
}

fn backlog(unknown: Option<Unknown>) -> Fact {
    match unknown {
        None => Fact::new(BACKLOG_KNOWN, true, "Sampled", "Redis was asked"),
        Some(reason) => Fact::new(BACKLOG_KNOWN, false, reason.reason(), reason.message()),
    }
}

fn limited(limited: bool) -> Fact {
    if limited {
        Fact::new(
            SCALING_LIMITED,
            true,
            "TooManyReplicas",
            "the backlog asks for more replicas than spec.maxReplicas",
        )
    } else {
        Fact::new(
            SCALING_LIMITED,
            false,
            "DesiredWithinRange",
            "the backlog asks for no more than spec.maxReplicas",
        )
    }
}

fn stream_status(stream: &StreamFigures) -> StreamStatus {
    StreamStatus {
        key: stream.key.clone(),
        undelivered: Some(signed(stream.undelivered)),
        pending: Some(signed(stream.pending)),
    }
}

fn total(streams: &[StreamFigures], figure: impl Fn(&StreamFigures) -> u64) -> i64 {
    signed(
        streams
            .iter()
            .fold(0_u64, |sum, stream| sum.saturating_add(figure(stream))),
    )
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched {
            target: TargetState::Found(2),
            unknown: None,
            streams: vec![StreamFigures {
                key: "orders".to_owned(),
                undelivered: 5,
                pending: 3,
            }],
            backlog: 8,
            desired: Some(2),
            limited: false,
            last_scale: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn rendered(watched: Watched) -> ConsumerGroupStatus {
        render(
            &ConsumerGroupStatus::default(),
            &Report::Watched(watched),
            Some(7),
            at(1_000),
        )
    }

    /// (type, status, reason) of all conditions.
    fn words(status: &ConsumerGroupStatus) -> Vec<(&str, &str, &str)> {
        let words = |one: &'_ k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            (
                one.type_.clone().leak() as &str,
                one.status.clone().leak() as &str,
                one.reason.clone().leak() as &str,
            )
        };
        status.conditions.iter().map(words).collect()
    }

    #[test]
    fn all_is_well() {
        let status = rendered(watched());
        assert_eq!(
            words(&status),
            [
                ("Ready", "True", "Scaling"),
                ("AbleToScale", "True", "ReadyForNewScale"),
                ("GroupReady", "True", "GroupExists"),
                ("BacklogKnown", "True", "Sampled"),
                ("ScalingLimited", "False", "DesiredWithinRange"),
            ]
        );
        assert_eq!(
            (status.backlog, status.undelivered, status.pending),
            (Some(8), Some(5), Some(3))
        );
        assert_eq!(
            (status.replicas, status.desired_replicas, status.observed_generation),
            (Some(2), Some(2), Some(7))
        );
    }

    #[test]
    fn every_way_not_to_be_ready_has_its_reason() {
        let ready = |report: Report| {
            let status = render(&ConsumerGroupStatus::default(), &report, Some(1), at(0));
            let ready = condition::find(&status.conditions, READY).expect("there");
            (ready.status.clone(), ready.reason.clone())
        };
        let lacking = |change: fn(&mut Watched)| {
            let mut watched = watched();
            change(&mut watched);
            ready(Report::Watched(watched))
        };
        let no = |reason: &str| ("False".to_owned(), reason.to_owned());
        assert_eq!(lacking(|it| it.target = TargetState::NotFound), no("TargetNotFound"));
        assert_eq!(
            lacking(|it| it.target = TargetState::Refused(403, 2)),
            no("FailedRescale")
        );
        assert_eq!(
            lacking(|it| it.unknown = Some(Unknown::SecretNotFound)),
            no("SecretNotFound")
        );
        assert_eq!(lacking(|it| it.unknown = Some(Unknown::WrongType)), no("WrongType"));
        assert_eq!(
            ready(Report::Idle(Idle::Invalid(vec!["a".into(), "b".into()]))),
            no("InvalidSpec")
        );
        assert_eq!(
            ready(Report::Idle(Idle::Conflict(Rival::SameTarget("other".into())))),
            no("ConflictingScaler")
        );
        assert_eq!(
            lacking(|it| it.limited = true).0,
            "True",
            "at its maximum it works as told"
        );
    }

    #[test]
    fn unknown_shows_no_figures_but_remembers_the_streams() {
        let known = rendered(watched());
        let unknown = Watched {
            unknown: Some(Unknown::SecretNotFound),
            ..watched()
        };
        let status = render(&known, &Report::Watched(unknown), Some(7), at(2_000));
        assert_eq!((status.backlog, status.undelivered, status.pending), (None, None, None));
        assert_eq!(
            status.streams,
            [StreamStatus {
                key: "orders".to_owned(),
                undelivered: None,
                pending: None
            }]
        );
    }

    #[test]
    fn a_group_that_is_left_alone_shows_no_figures_but_remembers_the_streams() {
        let known = rendered(watched());
        for idle in [
            Idle::Invalid(vec!["a".into()]),
            Idle::Conflict(Rival::Autoscaler("other".into())),
        ] {
            let status = render(&known, &Report::Idle(idle), Some(8), at(2_000));
            let keys: Vec<_> = status.streams.iter().map(|it| (it.key.as_str(), it.pending)).collect();
            assert_eq!((status.backlog, keys), (None, vec![("orders", None)]));
        }
    }

    #[test]
    fn only_what_people_wait_for_is_urgent() {
        let there = rendered(watched());
        let later = |watched| render(&there, &Report::Watched(watched), Some(7), at(9_000));
        assert_eq!(
            urgency(&there, &later(watched())),
            Urgency::Nothing,
            "time alone changes nothing"
        );
        assert_eq!(
            urgency(
                &there,
                &later(Watched {
                    backlog: 9,
                    ..watched()
                })
            ),
            Urgency::Figures
        );
        assert_eq!(
            urgency(
                &there,
                &later(Watched {
                    desired: Some(3),
                    ..watched()
                })
            ),
            Urgency::Now
        );
        assert_eq!(
            urgency(
                &there,
                &later(Watched {
                    unknown: Some(Unknown::WrongType),
                    ..watched()
                })
            ),
            Urgency::Now
        );
        let next_generation = render(&there, &Report::Watched(watched()), Some(8), at(9_000));
        assert_eq!(urgency(&there, &next_generation), Urgency::Now);
    }

    #[test]
    fn the_last_scale_outlives_the_operator_that_did_it() {
        let scaled = Scaled {
            at: at(500),
            from: 0,
            to: 2,
            reason: "Woken",
        };
        let there = rendered(Watched {
            last_scale: Some(scaled),
            ..watched()
        });
        let status = render(&there, &Report::Watched(watched()), Some(7), at(9_000));
        assert_eq!(status.last_scale, there.last_scale);
        assert_eq!(
            status.last_scale.map(|scale| (scale.from, scale.to, scale.reason)),
            Some((0, 2, "Woken".to_owned()))
        );
    }
}
