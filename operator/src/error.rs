//! What class an error belongs to. The class alone decides requeue, condition reason, Event and metric.

use std::time::Duration;

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may go away by itself: try again, with back-off.
    Retry,
    /// Something else has to change first, and its change will wake us.
    Wait,
    /// Only the user can put it right.
    User,
}

impl Class {
    /// The class of a failed request to the API server.
    pub fn of(error: &kube::Error) -> Self {
        match error {
            // A namespace that is going takes nothing new; its end takes the Shop with it.
            kube::Error::Api(status) if terminating(status) => Self::Wait,
            // Denied by policy or quota, or invalid: the same request stays wrong until somebody changes something.
            kube::Error::Api(status) if matches!(status.code, 403 | 422) => Self::User,
            _ => Self::Retry,
        }
    }
}

fn terminating(status: &kube::core::Status) -> bool {
    status.code == 403
        && status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.reason == "NamespaceTerminating")
}

/// How long to wait before try number `attempts` (from 1): 0.5 s doubling to 60 s, spread by up to a quarter so that
/// many objects that failed together do not come back together. `spread` is from 0 to 1.
pub fn back_off(attempts: u32, spread: f64) -> Duration {
    let doubled = Duration::from_millis(500).saturating_mul(1_u32 << attempts.saturating_sub(1).min(10));
    doubled
        .min(Duration::from_mins(1))
        .mul_f64(1.0 + spread.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_stops_at_a_minute() {
        assert_eq!(back_off(1, 0.0), Duration::from_millis(500));
        assert_eq!(back_off(2, 0.0), Duration::from_secs(1));
        assert_eq!(back_off(8, 0.0), Duration::from_mins(1));
        assert_eq!(back_off(u32::MAX, 0.0), Duration::from_mins(1));
        assert_eq!(back_off(1, 1.0), Duration::from_millis(625));
    }

    #[test]
    fn a_namespace_that_is_going_is_waited_for_and_a_refusal_is_the_users() {
        let refusal = |causes: serde_json::Value| {
            let status = serde_json::json!({"code": 403, "reason": "Forbidden", "details": {"causes": causes}});
            kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
        };
        let going = refusal(serde_json::json!([{"reason": "NamespaceTerminating", "message": "", "field": ""}]));
        assert_eq!(Class::of(&going), Class::Wait);
        assert_eq!(Class::of(&refusal(serde_json::json!([]))), Class::User);
    }
}
