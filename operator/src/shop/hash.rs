//! Stable hashes: of what we want, of what is there, and of what a pod consumes. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use kube::core::DynamicObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Hash of a document, whatever the order of its keys. Good within one process only.
pub fn of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(value, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(bool) => (1_u8, bool).hash(hasher),
        Value::Number(number) => (2_u8, number.to_string()).hash(hasher),
        Value::String(text) => (3_u8, text).hash(hasher),
        Value::Array(items) => {
            (4_u8, items.len()).hash(hasher);
            for item in items {
                feed(item, hasher);
            }
        }
        Value::Object(map) => {
            (5_u8, map.len()).hash(hasher);
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, item) in entries {
                key.hash(hasher);
                feed(item, hasher);
            }
        }
    }
}

/// Hash of what anybody could have edited in an object: all but status, versions and Kubernetes's own annotations.
/// `scaled` leaves out `spec.replicas`, which is the scaler's.
pub fn fingerprint(object: &DynamicObject, scaled: bool) -> u64 {
    let mut data = object.data.clone();
    if let Some(map) = data.as_object_mut() {
        map.remove("status");
    }
    if scaled && let Some(spec) = data.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
    }
    let metadata = &object.metadata;
    let annotations: Vec<_> = metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| !key.contains("kubernetes.io/"))
        .collect();
    let owners = serde_json::to_value(&metadata.owner_references).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (of(&data), &metadata.uid, &metadata.labels, annotations, of(&owners)).hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

/// SHA-256 in hex.
pub fn sha256_hex(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Hash of the configuration and secrets that a pod consumes, for its template: stable between processes and versions.
/// Each part is hashed by itself first, so that no two lists of parts run into each other.
pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let joined: String = parts.into_iter().map(sha256_hex).collect();
    sha256_hex(&joined)[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shop::kinds::Kind;

    #[test]
    fn the_order_of_keys_does_not_matter_and_all_else_does() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [1, 2]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b": [1, 2], "a": 1}"#).unwrap();
        assert_eq!(of(&one), of(&other));
        assert_ne!(of(&one), of(&json!({"a": 1, "b": [2, 1]})));
        assert_ne!(of(&json!({"a": "1"})), of(&json!({"a": 1})));
    }

    #[test]
    fn a_fingerprint_sees_edits_and_overlooks_what_kubernetes_does() {
        let mut object = DynamicObject::new("demo", &Kind::Deployment.resource());
        object.data = json!({"spec": {"replicas": 1, "paused": false}, "status": {"replicas": 0}});
        let before = fingerprint(&object, true);
        object.data["status"] = json!({"replicas": 1});
        object.metadata.resource_version = Some("7".into());
        object.metadata.annotations = Some([("deployment.kubernetes.io/revision".to_owned(), "2".to_owned())].into());
        object.data["spec"]["replicas"] = json!(5);
        assert_eq!(fingerprint(&object, true), before);
        assert_ne!(fingerprint(&object, false), before);
        object.data["spec"]["paused"] = json!(true);
        assert_ne!(fingerprint(&object, true), before);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(of_parts(["ab", "c"]), of_parts(["a", "bc"]));
        assert_eq!(of_parts(["a"]).len(), 16);
    }
}
