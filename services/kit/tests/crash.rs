//! Crash points, in a process of their own: this very test again, with `CRASH_AT`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::{Command, Output};

use shopwright_kit::crash;

/// Not a test: what the children run.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn passes() {
    for _ in 0..3 {
        for point in crash::POINTS {
            crash::point(point);
        }
    }
    eprintln!("all passed");
}

fn child(crash_at: Option<&str>) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "passes", "--nocapture"])
        .env_remove("CRASH_AT");
    if let Some(crash_at) = crash_at {
        command.env("CRASH_AT", crash_at);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    (output, text)
}

#[test]
fn nothing_happens_unasked() {
    let (output, text) = child(None);
    assert!(output.status.success() && text.contains("all passed"), "{text}");
    assert!(!text.contains("crash point"), "{text}");
}

#[test]
fn every_point_ends_the_process_at_its_pass_if_the_feature_is_on() {
    use std::os::unix::process::ExitStatusExt;
    const ABORTED: i32 = 6;
    for (number, point) in crash::POINTS.into_iter().enumerate() {
        let nth = number % 3 + 1;
        let named = if nth == 1 {
            point.to_owned()
        } else {
            format!("{point}:{nth}")
        };
        let (output, text) = child(Some(&named));
        if cfg!(feature = "crash-points") {
            assert_eq!(output.status.signal(), Some(ABORTED), "{named}: {text}");
            assert_eq!(text.matches("crash point").count(), 1, "{named}: {text}");
            assert!(text.contains(&format!("crash point {point}\n")), "{named}: {text}");
        } else {
            assert!(
                output.status.success() && text.contains("all passed"),
                "{named}: {text}"
            );
        }
    }
    let (output, _) = child(Some("payments.place.before_store:4"));
    assert!(output.status.success(), "there is no fourth pass");
    for wrong in [
        "payments.place.befor_store",
        "payments.place.before_store:0",
        "payments.place.before_store:x",
        "",
    ] {
        let (output, text) = child(Some(wrong));
        assert_eq!(
            output.status.success(),
            !cfg!(feature = "crash-points"),
            "{wrong}: {text}"
        );
    }
}
