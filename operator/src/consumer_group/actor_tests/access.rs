//! What Redis may refuse: passwords, certificates, keys. Each has its reason, none makes a storm, no neighbour waits.

use super::*;

async fn add_user(connection: &mut redis::aio::MultiplexedConnection, keys: &str) {
    redis::cmd("ACL")
        .arg(&["SETUSER", "operator", "on", ">right", keys, "+@all"])
        .exec_async(connection)
        .await
        .expect("ACL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_is_read_again_at_once() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let require = async |password: &str, connection: &mut redis::aio::MultiplexedConnection| {
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", password])
            .exec_async(connection)
            .await
            .expect("CONFIG SET");
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .exec_async(connection)
            .await
            .expect("CLIENT KILL");
    };
    require("first-password", &mut connection).await;
    let recorder = Recorder::default();
    let secret = |spec: &mut shopwright_api::ConsumerGroupSpec| {
        spec.redis.secret_ref = Some(shopwright_api::SecretReference {
            name: "credentials".to_owned(),
        });
    };
    let reason = || {
        recorder
            .condition("rotated", condition::READY)
            .map(|(_, reason)| reason)
    };
    let _running = start(
        &recorder,
        [assignment(plan(redis.port(), "rotated", secret), 1)],
        anywhere(),
    );
    eventually("no secret", || reason().as_deref() == Some("SecretNotFound")).await;
    recorder.set_secret("credentials", &[("password", "first-password")]);
    eventually("ready", || recorder.is_ready("rotated")).await;

    require("second-password", &mut connection).await;
    eventually("refused", || reason().as_deref() == Some("WrongCredentials")).await;
    recorder.set_secret("credentials", &[("password", "second-password")]);
    eventually("ready again", || recorder.is_ready("rotated")).await;
    let everything = recorder.with(|seen| format!("{:?} {:?}", seen.status, seen.notices));
    assert!(!everything.contains("-password"), "{everything}");
    assert_eq!(recorder.scales(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_reported_and_disturbs_no_neighbour() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    redis::cmd("SET")
        .arg(&["wrong-stream", "text"])
        .exec_async(&mut connection)
        .await
        .expect("SET");
    let recorder = Recorder::default();
    let wrong = assignment(plan(redis.port(), "wrong", |_| {}), 0);
    let right = assignment(plan(redis.port(), "right", |_| {}), 0);
    let _running = start(&recorder, [wrong, right], anywhere());
    eventually("ready", || recorder.is_ready("right")).await;
    eventually("reported", || {
        recorder
            .condition("wrong", condition::READY)
            .is_some_and(|(_, why)| why == "WrongType")
    })
    .await;
    add(&mut connection, "right-stream").await;
    eventually("woken", || recorder.scales() == [("right-worker".to_owned(), 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_is_never_dialled() {
    let redis = redis().await;
    let recorder = Recorder::default();
    let _running = start(
        &recorder,
        [assignment(plan(redis.port(), "inside", |_| {}), 0)],
        address::vet(Vec::new()),
    );
    eventually("refused", || {
        recorder
            .condition("inside", condition::READY)
            .is_some_and(|(_, why)| why == "ForbiddenAddress")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_tried_ever_more_seldom_however_many_groups_there_are() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    add_user(&mut connection, "~*").await;
    let recorder = Recorder::default();
    recorder.set_secret("credentials", &[("username", "operator"), ("password", "wrong")]);
    let stop = CancellationToken::new();
    let mut with = surroundings(&recorder, anywhere(), Arc::new(|_| false), stop.clone());
    with.settings = Settings::default();
    let groups = (0..100).map(|number| {
        let plan = plan(redis.port(), &format!("group-{number}"), |spec| {
            spec.redis.secret_ref = Some(shopwright_api::SecretReference {
                name: "credentials".to_owned(),
            });
        });
        assignment(plan, 1)
    });
    let before = statistic(&mut connection, "total_connections_received").await;
    let _running = start_with(with, groups, stop);
    eventually("reported", || {
        recorder.condition("group-99", condition::READY) == Some(("False".to_owned(), "WrongCredentials".to_owned()))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let dialled = statistic(&mut connection, "total_connections_received").await - before;
    let read = recorder.with(|seen| seen.secret_reads);
    println!("100 groups with a wrong password: {dialled} connections and {read} readings of the Secret in 6 s");
    assert!(dialled <= 12 && read <= 12, "{dialled} connections, {read} readings");
    let told = recorder
        .reasons()
        .iter()
        .filter(|reason| **reason == "WrongCredentials")
        .count();
    assert_eq!(told, 100, "each group is told once");

    recorder.set_secret("credentials", &[("username", "operator"), ("password", "right")]);
    eventually("ready", || {
        (0..100).all(|number| recorder.is_ready(&format!("group-{number}")))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_and_the_neighbour_wakes_in_milliseconds() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    add_user(&mut connection, "~fine-*").await;
    let recorder = Recorder::default();
    recorder.set_secret("credentials", &[("username", "operator"), ("password", "right")]);
    let of = |group: &str| {
        let plan = plan(redis.port(), group, |spec| {
            spec.redis.secret_ref = Some(shopwright_api::SecretReference {
                name: "credentials".to_owned(),
            });
        });
        assignment(plan, 0)
    };
    let _running = start(&recorder, [of("forbidden"), of("fine")], anywhere());
    eventually("ready", || recorder.is_ready("fine")).await;
    eventually("reported", || {
        recorder.condition("forbidden", condition::READY) == Some(("False".to_owned(), "NoPermission".to_owned()))
    })
    .await;
    let message = recorder.with(|seen| {
        let status = &seen.status["forbidden"];
        condition::find(&status.conditions, condition::READY).map(|it| it.message.clone())
    });
    assert_eq!(message.as_deref(), Some("Redis answered NOPERM for a key"));
    let sent = Instant::now();
    add(&mut connection, "fine-stream").await;
    eventually("woken", || recorder.scales() == [("fine-worker".to_owned(), 1)]).await;
    println!(
        "beside a forbidden key: one message to scale write {:?}",
        sent.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_named_and_nothing_is_made_on_it() {
    let mut options = Options::plain();
    options.arguments = ["--cluster-enabled", "yes"].map(str::to_owned).into();
    let redis = RedisStack::start_async(options).await.expect("Redis starts");
    let recorder = Recorder::default();
    let _running = start(
        &recorder,
        [assignment(plan(redis.port(), "sharded", |_| {}), 3)],
        anywhere(),
    );
    eventually("reported", || {
        recorder.condition("sharded", condition::READY) == Some(("False".to_owned(), "RedisCluster".to_owned()))
    })
    .await;
    assert_eq!(recorder.scales(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_not_answered_for_delays_nothing_that_works() {
    let redis = redis().await;
    let mut connection = connect(&redis).await;
    let recorder = Recorder::default();
    recorder.set_secret("credentials", &[("password", "any")]);
    let stop = CancellationToken::new();
    let mut with = surroundings(&recorder, anywhere(), Arc::new(|_| false), stop.clone());
    with.settings.resync = Duration::from_millis(200);
    redis::cmd("ACL")
        .arg(&["SETUSER", "default", ">any"])
        .exec_async(&mut connection)
        .await
        .expect("ACL");
    let plan = plan(redis.port(), "waiting", |spec| {
        spec.redis.secret_ref = Some(shopwright_api::SecretReference {
            name: "credentials".to_owned(),
        });
    });
    let _running = start_with(with, [assignment(plan, 0)], stop);
    eventually("ready", || recorder.is_ready("waiting")).await;
    let reads = recorder.with(|seen| seen.secret_reads);
    eventually("read again", || recorder.with(|seen| seen.secret_reads > reads)).await;
    recorder.with(|seen| seen.silent.insert("credentials".to_owned()));
    // By now a reading hangs.
    tokio::time::sleep(Duration::from_secs(2)).await;
    add(&mut connection, "waiting-stream").await;
    eventually("woken", || recorder.scales() == [("waiting-worker".to_owned(), 1)]).await;
}
