//! The RFC 7396 patch between two documents, so that one write carries the change.

use serde_json::{Map, Value};

/// The patch that turns `from` into `to`. Members that are equal are left out, absent ones become null; arrays are replaced
/// whole. Neither document may hold a null, which this form of patch cannot express.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in to {
        match from.get(name) {
            Some(old) if old == value => {}
            Some(old) => {
                patch.insert(name.clone(), merge_patch(old, value));
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// RFC 7396, section 2, as written there.
#[cfg(test)]
pub(super) fn apply(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut target = match target {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let old = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), apply(old, value));
        }
    }
    Value::Object(target)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
            Just(json!([1, {"a": 2}])),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn the_patch_leads_from_one_to_the_other(
            from in prop::collection::btree_map("[a-d]", document(), 0..4),
            to in prop::collection::btree_map("[a-d]", document(), 0..4),
        ) {
            let from = Value::Object(from.into_iter().collect());
            let to = Value::Object(to.into_iter().collect());
            prop_assert_eq!(apply(from.clone(), &merge_patch(&from, &to)), to);
        }
    }

    #[test]
    fn equal_documents_need_no_patch() {
        let document = json!({"a": 1, "b": {"c": [1]}});
        assert_eq!(merge_patch(&document, &document), json!({}));
    }
}
