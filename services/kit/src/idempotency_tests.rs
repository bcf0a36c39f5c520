use proptest::prelude::*;

use super::*;

fn weak(key: &str) -> bool {
    let refused = RequestKey::new(key, "POST", "/", b"").require_unguessable();
    refused.is_err_and(|error| error.code() == "idempotency_key_weak")
}

#[test]
fn keys_are_bare_or_quoted() {
    for (text, key) in [
        ("abc", Some("abc")),
        ("\"abc\"", Some("abc")),
        (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
        ("a\"b", Some("a\"b")),
        ("", None),
        ("\"\"", None),
        ("\"", None),
        ("\"abc", None),
        (r#""a"b""#, None),
        (r#""a\b""#, None),
        (r#""a\""#, None),
        ("\"abc\";a=1", None),
        ("a b", None),
        ("\"a b\"", None),
        ("é", None),
        ("\u{7f}", None),
    ] {
        assert_eq!(parse(text).as_deref(), key, "{text}");
    }
    assert!(parse(&"a".repeat(255)).is_some() && parse(&"a".repeat(256)).is_none());
    assert!(parse(&format!("\"{}\"", "a".repeat(255))).is_some());
}

#[test]
fn what_cannot_hold_122_random_bits_is_weak() {
    let hyphenated = Uuid::new_v4().to_string();
    for strong in [
        hyphenated.as_str(),
        &hyphenated.to_uppercase(),
        &Uuid::new_v4().simple().to_string(),
        "V1StGXR8_Z5jdHi6B-myTx",
        &"0f".repeat(16),
        "ORSXG5BAMNXWIZJANRXXE3LQZZ",
    ] {
        assert!(!weak(strong), "{strong}");
    }
    let version_7 = Uuid::now_v7();
    for guessable in [
        "",
        "order-1",
        "V1StGXR8_Z5jdHi6B-myT",
        &version_7.to_string(),
        "00000000-0000-0000-0000-000000000000",
        "c232ab00-9414-11ec-b3c8-9f68deced846",
        "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01arz3ndektsv4rrffq69g5fav",
        "507f1f77bcf86cd799439011",
        "1700000000000000000000000000",
        "a-key-with-spaces in it-and-more",
        "a-key-with-a-dot.in.it-and-more",
    ] {
        assert!(weak(guessable), "{guessable}");
    }
}

/// The shortest that is strong, of each kind, and the same without its last character.
#[test]
fn the_fewer_kinds_of_characters_the_longer_a_key_must_be() {
    for (kind, shortest) in [
        ("0123456789", 37),
        ("0123456789abcdef", 31),
        ("0123456789ABCDEF", 31),
        ("fFaA09", 31),
        ("z0123456789abcdef", 24),
        ("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 24),
        ("zyxwvutsrqponmlkjihgfedcba", 24),
        ("zZ0123456789", 22),
        ("-_zZ01", 22),
    ] {
        let key: String = kind.chars().cycle().take(shortest).collect();
        assert!(!weak(&key), "{key}");
        assert!(weak(&key[..shortest - 1]), "{key} without its last character");
        // The bits that so many characters of these kinds can hold.
        let kinds: f64 = match shortest {
            37 => 10.0,
            31 => 16.0,
            24 => 36.0,
            _ => 62.0,
        };
        assert!(f64::from(u32::try_from(shortest).unwrap()) * kinds.log2() >= 122.0);
    }
    // What may stand between the digits of a date or a number makes none longer.
    assert!(weak("2024-01-31-2024-01-31-2024-01-31-2024-01"));
    assert!(weak("order_z-1234-5678-9012-3456"));
}

#[test]
fn a_record_of_the_same_body_is_replayed_and_of_another_refused() {
    let key = RequestKey::new("key", "POST", "/v1/orders", b"{\"a\":1}").scoped("anybody");
    let record = key.record(StatusCode::ACCEPTED, "order-1", None);
    assert_eq!(
        record.to_json(),
        format!(r#"{{"fingerprint":"{}","status":202,"id":"order-1"}}"#, key.fingerprint)
    );
    assert_eq!(key.judge(&record.to_json()), Ok(record.clone()));
    assert_eq!(record.status(), StatusCode::ACCEPTED);
    let other = RequestKey::new("key", "POST", "/v1/orders", b"{\"a\":2}").scoped("anybody");
    assert_eq!(other.id, key.id);
    let refused = other.judge(&record.to_json()).unwrap_err();
    assert_eq!(
        (refused.status().as_u16(), refused.code()),
        (422, "idempotency_key_reused")
    );
    assert_eq!(key.judge("{}").unwrap_err().status().as_u16(), 500);
    let with_result = key.record(StatusCode::CREATED, "1", Some(serde_json::json!({"on_hand": 3})));
    assert_eq!(key.judge(&with_result.to_json()), Ok(with_result));
}

#[test]
fn ids_and_fingerprints_stay_as_they_are() {
    // Stored ones outlive this program: whoever changes them makes every repetition in flight a new request.
    let key = RequestKey::new("key", "POST", "/v1/orders", b"{}").scoped("anybody");
    assert_eq!(
        key.fingerprint,
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    assert_eq!(
        key.id,
        "8c9e68027fa32d91a9774c736861ccdde6d69a41d9740c40b5f6955aa6a80199"
    );
}

proptest! {
    /// However it is written, the same key is the same.
    #[test]
    fn quoting_changes_nothing(key in "[!-~&&[^\"]][!-~]{0,254}") {
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(parse(&quoted), Some(key.clone()));
        prop_assert_eq!(parse(&key), Some(key));
    }

    /// Whatever comes, it is a key within the limits or none.
    #[test]
    fn any_text_is_a_valid_key_or_none(text in any::<String>()) {
        if let Some(key) = parse(&text) {
            prop_assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        }
    }

    /// Requests have one id if and only if caller, method, path and key are the same; the body is no part of it.
    #[test]
    fn an_id_is_of_its_parts_alone(one in parts(), other in parts(), bodies in any::<[Vec<u8>; 2]>()) {
        let id = |(caller, method, path, key): &Parts, body: &[u8]| {
            RequestKey::new(key, method, path, body).scoped(caller)
        };
        let (first, second) = (id(&one, &bodies[0]), id(&other, &bodies[1]));
        prop_assert_eq!(first.id == second.id, one == other);
        prop_assert_eq!(first.fingerprint == second.fingerprint, bodies[0] == bodies[1]);
        prop_assert_eq!(&id(&one, &bodies[1]).id, &first.id);
        prop_assert!(first.id.len() == 64 && first.id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }

    /// Random keys of the kinds that callers have are never refused.
    #[test]
    fn random_keys_are_strong(bytes in any::<[u8; 16]>(), text in "[A-Za-z0-9_-]{22,64}") {
        prop_assert!(!weak(&uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()));
        let digits = hex(&bytes);
        prop_assert!(!weak(&digits) || digits.bytes().all(|byte| byte.is_ascii_digit()));
        // A text that happens to be one of the weak kinds is one.
        let is_of_one_case = [text.to_lowercase(), text.to_uppercase()].contains(&text);
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_'));
        let is_weak_kind = is_ulid(&text) || Uuid::try_parse(&text).is_ok() || is_hex || is_of_one_case;
        prop_assert!(is_weak_kind || !weak(&text));
    }

    /// Nothing short is strong.
    #[test]
    fn short_keys_are_weak(text in "[!-~]{1,21}") {
        prop_assert!(weak(&text));
    }
}

type Parts = (String, String, String, String);

/// Parts that are often equal, or equal when joined.
fn parts() -> impl Strategy<Value = Parts> {
    let part = || "[ab\u{0}]{0,2}";
    (part(), part(), part(), part())
}
