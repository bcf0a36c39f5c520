//! Kubernetes documents as plain JSON: how to name a resource, read a field, look at a condition.

use anyhow::{Context as _, Result, anyhow, ensure};
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::Value;

/// The Shop resource.
pub fn shops() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("shopwright.dev", "v1alpha1", "Shop"), "shops")
}

/// The ConsumerGroup resource.
pub fn consumer_groups() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("shopwright.dev", "v1alpha1", "ConsumerGroup"),
        "consumergroups",
    )
}

/// A condition as it is written in `status.conditions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The fixed word for why.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// The generation that it speaks of, when it says so.
    pub observed_generation: Option<i64>,
}

/// The condition of this type, if the object carries one.
pub fn condition(object: &DynamicObject, type_: &str) -> Option<Condition> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|one| one["type"] == type_)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some(Condition {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        observed_generation: found["observedGeneration"].as_i64(),
    })
}

/// Demands a condition with this status, seen for the object's present generation.
pub fn demand(object: &DynamicObject, type_: &str, status: &str) -> Result<Condition> {
    let found = condition(object, type_).ok_or_else(|| anyhow!("no condition {type_}"))?;
    ensure!(
        found.status == status,
        "{type_}={}/{}: {}",
        found.status,
        found.reason,
        found.message
    );
    let observed = found.observed_generation.or_else(|| {
        object
            .data
            .pointer("/status/observedGeneration")
            .and_then(Value::as_i64)
    });
    ensure!(
        observed == object.metadata.generation,
        "{type_} speaks of generation {observed:?}, the object is at {:?}",
        object.metadata.generation
    );
    Ok(found)
}

/// Reads a whole number at a JSON pointer.
pub fn number(value: &Value, pointer: &str) -> Result<i64> {
    value
        .pointer(pointer)
        .and_then(Value::as_i64)
        .with_context(|| format!("no number at {pointer} of {value}"))
}

/// Reads a text at a JSON pointer.
pub fn text(value: &Value, pointer: &str) -> Result<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("no text at {pointer} of {value}"))
}

/// Lays `patch` over `base` as RFC 7396 has it: objects are merged key by key, null removes, everything else is replaced.
pub fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(serde_json::Map::new());
    }
    let Value::Object(base) = base else { return };
    for (key, value) in patch {
        if value.is_null() {
            base.remove(key);
        } else {
            merge(base.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn a_merge_keeps_what_the_patch_does_not_name() {
        let mut base = json!({"a": {"b": 1, "c": [1, 2]}, "d": true});
        merge(&mut base, &json!({"a": {"c": [3], "e": {"f": 1}}, "d": null}));
        assert_eq!(base, json!({"a": {"b": 1, "c": [3], "e": {"f": 1}}}));
    }
}
