//! `docs/consumer-groups/reference.md` names every field of a `ConsumerGroup`, with the default and the range of the schema.

#![expect(clippy::unwrap_used, reason = "a step that fails is the test that fails")]

use std::collections::BTreeMap;

use kube::CustomResourceExt as _;
use serde_json::Value;
use shopwright_api::ConsumerGroup;

/// Path -> schema of every field that holds a value of its own.
fn fields(schema: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let (inside, before) = (field.get("properties").is_some(), found.len());
        fields(field, &format!("{path}."), found);
        fields(&field["items"], &format!("{path}[]."), found);
        if !inside && found.len() == before {
            found.insert(path, field.clone());
        }
    }
}

fn properties(part: &str) -> Value {
    let crd = serde_json::to_value(ConsumerGroup::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part].clone()
}

/// The lines of the reference's section on `part`.
fn section(part: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/consumer-groups/reference.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {part}\n")).unwrap();
    rest.lines()
        .take_while(|line| !line.starts_with("## "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_field_of_the_spec_is_there_with_its_default_and_range() {
    let mut found = BTreeMap::new();
    fields(&properties("spec"), "", &mut found);
    assert!(found.len() > 25, "{found:?}");
    let lines = section("spec");
    for (path, schema) in found {
        let name = format!("`{path}`");
        let line = lines
            .iter()
            .find(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(&name)));
        let line = line.unwrap_or_else(|| panic!("{path} is missing"));
        let default = match &schema["default"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert!(line.contains(&default), "{path}: the default is {default}");
        if let (Some(least), Some(most)) = (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            assert!(line.contains(&format!("{least}..{most}")), "{path}: {least}..{most}");
        }
        for word in schema["enum"].as_array().into_iter().flatten() {
            assert!(line.contains(word.as_str().unwrap()), "{path}: {word}");
        }
    }
}

#[test]
fn every_field_of_the_status_is_there() {
    let text = section("status").join("\n");
    let status = properties("status");
    for name in status["properties"].as_object().unwrap().keys() {
        let named = [format!("`{name}`"), format!("`{name}[]`")];
        assert!(named.iter().any(|name| text.contains(name)), "{name} is missing");
    }
}
