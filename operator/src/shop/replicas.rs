//! Who sets `replicas` of a scaled Deployment. Pure.
//!
//! Omitting `replicas` when a Deployment is created makes it 1; omitting it after having applied it makes it 1 too. So it
//! is applied until the scaler owns it by way of the `scale` subresource, and left out from then on.

use kube::core::DynamicObject;
use serde_json::Value;
use shopwright_api::names::SCALE_MANAGER;

/// What to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// The scaler owns them: leave them out.
    LeaveToScaler,
    /// Nobody of ours owns them yet: apply this number, then the same through `scale` as the scaler.
    HandOver(i32),
}

/// Decides by the Deployment as it is, if it is.
pub fn plan(live: Option<&DynamicObject>, minimum: i32) -> Replicas {
    let Some(live) = live else {
        return Replicas::HandOver(minimum);
    };
    if owned_by_scaler(live) {
        return Replicas::LeaveToScaler;
    }
    let now = live.data.pointer("/spec/replicas").and_then(Value::as_i64);
    Replicas::HandOver(now.and_then(|it| i32::try_from(it).ok()).unwrap_or(minimum))
}

fn owned_by_scaler(live: &DynamicObject) -> bool {
    live.metadata.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(SCALE_MANAGER)
            && entry.subresource.as_deref() == Some("scale")
            && entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: Value, managers: &Value) -> DynamicObject {
        let mut deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "demo", "managedFields": managers},
            "spec": {}
        });
        deployment["spec"]["replicas"] = replicas;
        serde_json::from_value(deployment).unwrap()
    }

    fn manager(name: &str, subresource: &str, field: &str) -> Value {
        json!([{"manager": name, "operation": "Apply", "subresource": subresource, "fieldsV1": {"f:spec": {field: {}}}}])
    }

    #[test]
    fn a_new_one_begins_with_the_minimum() {
        assert_eq!(plan(None, 0), Replicas::HandOver(0));
        assert_eq!(plan(None, 3), Replicas::HandOver(3));
    }

    #[test]
    fn what_the_scaler_owns_is_left_out() {
        let live = deployment(json!(7), &manager(SCALE_MANAGER, "scale", "f:replicas"));
        assert_eq!(plan(Some(&live), 0), Replicas::LeaveToScaler);
    }

    #[test]
    fn killed_between_the_two_writes_the_live_number_is_kept() {
        let live = deployment(json!(7), &manager("shopwright-operator", "", "f:replicas"));
        assert_eq!(plan(Some(&live), 0), Replicas::HandOver(7));
        let by_a_person = deployment(json!(4), &manager("kubectl", "scale", "f:replicas"));
        assert_eq!(plan(Some(&by_a_person), 0), Replicas::HandOver(4));
    }

    #[test]
    fn the_scalers_other_fields_are_not_replicas() {
        let live = deployment(json!(2), &manager(SCALE_MANAGER, "scale", "f:paused"));
        assert_eq!(plan(Some(&live), 0), Replicas::HandOver(2));
        let not_through_scale = deployment(json!(2), &manager(SCALE_MANAGER, "", "f:replicas"));
        assert_eq!(plan(Some(&not_through_scale), 0), Replicas::HandOver(2));
    }
}
