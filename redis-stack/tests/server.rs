//! The pinned Redis Stack installs, starts with its modules, keeps its data over a kill, and dies with its owner.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

use redis::Commands;
use shopwright_redis_stack::{Append, Options, RedisStack, install};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

fn connect(stack: &RedisStack) -> redis::Connection {
    stack
        .client()
        .unwrap()
        .get_connection_with_timeout(Duration::from_secs(5))
        .unwrap()
}

#[test]
fn installation_has_every_file_and_no_other() {
    let installation = install().unwrap();
    for file in [
        &installation.redis_server,
        &installation.redis_cli,
        &installation.rejson,
        &installation.redisearch,
    ] {
        assert!(file.is_file(), "{}", file.display());
    }
    let mut libraries: Vec<_> = std::fs::read_dir(&installation.lib)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    libraries.sort();
    assert_eq!(
        libraries,
        ["libcrypto.so.1.1", "libssl.so.1.1", "redisearch.so", "rejson.so"]
    );
}

#[test]
fn modules_answer() {
    let stack = RedisStack::start(Options::default()).unwrap();
    let mut connection = connect(&stack);
    redis::cmd("JSON.SET")
        .arg("mug")
        .arg("$")
        .arg(r#"{"name":"blue mug"}"#)
        .exec(&mut connection)
        .unwrap();
    redis::cmd("FT.CREATE")
        .arg(&["idx", "ON", "JSON", "SCHEMA", "$.name", "AS", "name", "TEXT"])
        .exec(&mut connection)
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found: Vec<redis::Value> = redis::cmd("FT.SEARCH")
            .arg("idx")
            .arg("blue")
            .query(&mut connection)
            .unwrap();
        if found.len() == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "the index never found the document");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn data_survives_a_kill_with_an_append_only_file() {
    let mut stack = RedisStack::start(Options {
        append: Append::Always,
        ..Options::plain()
    })
    .unwrap();
    let port = stack.port();
    let () = connect(&stack).set("kept", 7).unwrap();
    stack.kill().unwrap();
    assert!(
        stack
            .client()
            .unwrap()
            .get_connection_with_timeout(Duration::from_secs(1))
            .is_err()
    );
    stack.restart().unwrap();
    assert_eq!(stack.port(), port);
    let kept: u32 = connect(&stack).get("kept").unwrap();
    assert_eq!(kept, 7);
}

#[test]
fn an_acl_is_obeyed_and_the_harness_still_gets_in() {
    let acl = vec![
        "user default off".to_owned(),
        "user guest on >guest ~guest:* +get".to_owned(),
    ];
    let stack = RedisStack::start(Options {
        acl,
        ..Options::plain()
    })
    .unwrap();
    let () = connect(&stack).set("secret", 1).unwrap();
    let guest = redis::Client::open(format!("redis://guest:guest@127.0.0.1:{}/", stack.port())).unwrap();
    let mut guest = guest.get_connection().unwrap();
    let refused = guest.get::<_, Option<u32>>("secret").unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"));
    assert!(
        redis::Client::open(format!("redis://127.0.0.1:{}/", stack.port()))
            .unwrap()
            .get_connection()
            .and_then(|mut connection| redis::cmd("PING").exec(&mut connection))
            .is_err()
    );
}

#[test]
fn a_paused_server_answers_only_after_resume() {
    let stack = RedisStack::start(Options::plain()).unwrap();
    let mut connection = connect(&stack);
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stack.pause().unwrap();
    assert!(redis::cmd("PING").exec(&mut connection).is_err());
    stack.resume().unwrap();
    redis::cmd("PING").exec(&mut connect(&stack)).unwrap();
}

#[test]
fn many_start_at_once_each_on_its_own_port() {
    let threads: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(|| RedisStack::start(Options::plain()).unwrap()))
        .collect();
    let stacks: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (number, stack) in stacks.iter().enumerate() {
        let () = connect(stack).set("number", number).unwrap();
    }
    for (number, stack) in stacks.iter().enumerate() {
        let mut connection = connect(stack);
        let found: usize = connection.get("number").unwrap();
        assert_eq!(found, number);
        // The thread that started this server has ended; the server lives until it is dropped.
        assert!(Path::new(&format!("/proc/{}", stack.process_id())).exists());
    }
    let pids: Vec<u32> = stacks.iter().map(RedisStack::process_id).collect();
    drop(stacks);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

/// Runs this very test binary as a child that starts a server and waits, then kills the child with SIGKILL.
#[test]
fn the_server_dies_with_a_killed_owner() {
    const ROLE: &str = "SHOPWRIGHT_TEST_OWNER_OF_A_SERVER";
    if let Ok(report) = std::env::var(ROLE) {
        let stack = RedisStack::start(Options::plain()).unwrap();
        let partial = format!("{report}.partial");
        std::fs::write(&partial, stack.process_id().to_string()).unwrap();
        std::fs::rename(partial, report).unwrap();
        std::thread::sleep(Duration::from_secs(120));
        return;
    }
    if std::process::Command::new("setpriv").arg("--version").output().is_err() {
        // Unlike println!, this is shown of a test that passes.
        let _ = writeln!(std::io::stdout(), "left out: setpriv is not installed here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("pid");
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_server_dies_with_a_killed_owner"])
        .env(ROLE, &report)
        // Nobody removes the folder of a killed owner's server but this test.
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !report.exists() {
        assert!(Instant::now() < deadline, "the owner never started its server");
        std::thread::sleep(Duration::from_millis(10));
    }
    let server = std::fs::read_to_string(&report).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let alive = || std::fs::read_to_string(format!("/proc/{server}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(20);
    while alive() {
        assert!(Instant::now() < deadline, "redis-server outlived its owner");
        std::thread::sleep(Duration::from_millis(10));
    }
}
