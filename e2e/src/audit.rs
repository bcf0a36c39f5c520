//! The API server's audit log: what the operator asked for and was refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::object;

/// Requests of every ServiceAccount of a namespace that were answered 403, each as `verb resource: message`, with how often.
/// Only requests received at `since` or later count: while a release is uninstalled its grants may go before its pods.
/// A write into a namespace that is going is answered 403 as well, whoever asks; that is no missing grant and is left out.
pub fn refused(log: &Path, namespace: &str, since: Timestamp) -> Result<BTreeMap<String, usize>> {
    let account = format!("system:serviceaccount:{namespace}:");
    let file = File::open(log).with_context(|| format!("open {}", log.display()))?;
    let mut refused = BTreeMap::new();
    let mut asked = 0_usize;
    for line in BufReader::new(file).lines() {
        let line = line?;
        if !line.contains(&account) {
            continue;
        }
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let user = event.pointer("/user/username").and_then(Value::as_str);
        let received = event.pointer("/requestReceivedTimestamp").and_then(Value::as_str);
        let received: Option<Timestamp> = received.and_then(|time| time.parse().ok());
        if !user.is_some_and(|user| user.starts_with(&account)) || received.is_none_or(|time| time < since) {
            continue;
        }
        asked += 1;
        if let Some(refusal) = refusal(&event) {
            *refused.entry(refusal).or_default() += 1;
        }
    }
    ensure!(
        asked > 0,
        "the audit log names no request of {account}*: is it the right one?"
    );
    Ok(refused)
}

/// When the status of each ConsumerGroup of a namespace was written, in order, since `since`.
pub fn status_writes(log: &Path, namespace: &str, since: Timestamp) -> Result<BTreeMap<String, Vec<Timestamp>>> {
    let file = File::open(log).with_context(|| format!("open {}", log.display()))?;
    let mut writes: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        let line = line?;
        if !line.contains("consumergroups") || !line.contains(namespace) {
            continue;
        }
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let is = |pointer: &str, wanted: &str| event.pointer(pointer).and_then(Value::as_str) == Some(wanted);
        let written = ["patch", "update"].iter().any(|verb| is("/verb", verb));
        if !(written && is("/objectRef/namespace", namespace) && is("/objectRef/subresource", "status")) {
            continue;
        }
        let received: Timestamp = object::text(&event, "/requestReceivedTimestamp")?.parse()?;
        if received >= since {
            let group = object::text(&event, "/objectRef/name")?;
            writes.entry(group).or_default().push(received);
        }
    }
    for times in writes.values_mut() {
        times.sort();
    }
    Ok(writes)
}

/// The most of these times that lie in any one minute.
pub fn busiest_minute(times: &[Timestamp]) -> usize {
    let within = |from: usize| {
        let later = times.iter().skip(from);
        later
            .take_while(|time| time.duration_since(times[from]).as_secs() < 60)
            .count()
    };
    (0..times.len()).map(within).max().unwrap_or_default()
}

fn refusal(event: &Value) -> Option<String> {
    if event.pointer("/responseStatus/code").and_then(Value::as_i64) != Some(403) {
        return None;
    }
    let message = object::text(event, "/responseStatus/message").unwrap_or_default();
    if message.contains("because it is being terminated") {
        return None;
    }
    let verb = object::text(event, "/verb").unwrap_or_default();
    let uri = object::text(event, "/requestURI").unwrap_or_default();
    let path = uri.split('?').next().unwrap_or_default();
    Some(format!("{verb} {path}: {message}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::{busiest_minute, refusal, refused, status_writes};

    #[test]
    fn the_log_is_read_from_a_time_on_and_for_one_namespace() {
        let line = |user: &str, time: &str| {
            json!({"user": {"username": user}, "requestReceivedTimestamp": time, "verb": "get", "requestURI": "/x",
                "responseStatus": {"code": 403, "message": "no"}})
            .to_string()
        };
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let (ours, other) = (
            "system:serviceaccount:ours:operator",
            "system:serviceaccount:other:operator",
        );
        for line in [
            line(ours, "2026-01-01T00:00:00.000000Z"),
            line(ours, "2026-01-01T00:00:02.500000Z"),
            line(other, "2026-01-01T00:00:03.000000Z"),
            "{\"user\": {\"username\": \"system:serviceaccount:ours:".to_owned(),
        ] {
            writeln!(log, "{line}").unwrap();
        }
        let since = "2026-01-01T00:00:01Z".parse().unwrap();
        let found = refused(log.path(), "ours", since).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("get /x: no".to_owned(), 1)]);
        assert!(
            refused(log.path(), "nobody", since).is_err(),
            "a log without any request proves nothing"
        );
    }

    #[test]
    fn writes_of_a_status_are_counted_by_the_minute() {
        let line = |verb: &str, name: &str, subresource: &str, time: &str| {
            json!({"verb": verb, "requestReceivedTimestamp": time,
                "objectRef": {"resource": "consumergroups", "namespace": "ours", "name": name, "subresource": subresource}})
            .to_string()
        };
        let mut log = tempfile::NamedTempFile::new().unwrap();
        for line in [
            line("patch", "jobs", "status", "2026-01-01T00:00:00.000000Z"),
            line("patch", "jobs", "status", "2026-01-01T00:00:50.000000Z"),
            line("patch", "jobs", "status", "2026-01-01T00:01:05.000000Z"),
            line("patch", "jobs", "status", "2026-01-01T00:01:49.900000Z"),
            line("get", "jobs", "status", "2026-01-01T00:01:00.000000Z"),
            line("patch", "jobs", "", "2026-01-01T00:01:00.000000Z"),
            line("patch", "others", "status", "2026-01-01T00:01:00.000000Z"),
        ] {
            writeln!(log, "{line}").unwrap();
        }
        let counted = |since: &str| {
            let writes = status_writes(log.path(), "ours", since.parse().unwrap()).unwrap();
            (writes["jobs"].len(), busiest_minute(&writes["jobs"]))
        };
        assert_eq!(counted("2026-01-01T00:00:00Z"), (4, 3));
        assert_eq!(counted("2026-01-01T00:01:00Z"), (2, 2));
        assert_eq!(busiest_minute(&[]), 0);
    }

    #[test]
    fn only_missing_grants_count() {
        let event = |code: i64, message: &str| json!({"verb": "create", "requestURI": "/api/v1/x?y", "responseStatus": {"code": code, "message": message}});
        assert_eq!(
            refusal(&event(403, "not allowed")),
            Some("create /api/v1/x: not allowed".into())
        );
        assert_eq!(refusal(&event(200, "")), None);
        assert_eq!(
            refusal(&event(
                403,
                "unable to create new content in namespace a because it is being terminated"
            )),
            None
        );
    }
}
