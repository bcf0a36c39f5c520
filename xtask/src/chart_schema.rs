//! The values schema of `charts/shop`, made from the Shop's CRD. Pure.

use serde_json::{Map, Value, json};

/// The schema of the chart's values: a name, labels, annotations, and `spec` exactly as the CRD has it.
pub(crate) fn values_schema(crd: &Value) -> Value {
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let words = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the shop chart",
        "description": "`spec` is made from crds/shops.yaml by `cargo xtask gen`. Do not edit.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            // Helm hands both to every subchart.
            "global": {"type": "object"},
            "enabled": {"type": "boolean"},
            "name": {"type": "string"},
            "labels": words,
            "annotations": words,
            "spec": closed(spec),
        },
    })
}

/// Unknown fields are refused by the chart as by the API server; Kubernetes's own extensions and defaults are left out.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(closed).collect(),
        Value::Object(map) => closed_object(map),
        other => other.clone(),
    }
}

fn closed_object(map: &Map<String, Value>) -> Value {
    let mut out: Map<String, Value> = map
        .iter()
        .filter(|(key, _)| !key.starts_with("x-kubernetes-") && *key != "default" && *key != "nullable")
        .map(|(key, value)| (key.clone(), closed(value)))
        .collect();
    let is_true = |key: &str| map.get(key) == Some(&Value::Bool(true));
    if is_true("x-kubernetes-int-or-string") && !out.contains_key("type") && !out.contains_key("anyOf") {
        out.insert("type".into(), json!(["integer", "string"]));
    }
    if is_true("nullable")
        && let Some(Value::String(kind)) = out.get("type").cloned()
    {
        out.insert("type".into(), json!([kind, "null"]));
    }
    if out.get("type") == Some(&json!("object"))
        && out.get("properties").is_some_and(Value::is_object)
        && !out.contains_key("additionalProperties")
    {
        out.insert("additionalProperties".into(), Value::Bool(false));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_and_kubernetes_words_are_gone() {
        let schema = json!({
            "type": "object", "default": {}, "x-kubernetes-validations": [],
            "properties": {"size": {"x-kubernetes-int-or-string": true, "default": "1Gi"}, "free": {"type": "object"}},
        });
        assert_eq!(
            closed(&schema),
            json!({
                "type": "object", "additionalProperties": false,
                "properties": {"size": {"type": ["integer", "string"]}, "free": {"type": "object"}},
            })
        );
    }
}
