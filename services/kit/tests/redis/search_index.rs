//! The search index and its alias, alone and while versions change.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use shopwright_kit::{
    Redis,
    search_index::{IndexReady, SearchIndex, is_missing},
};
use shopwright_redis_stack::{Append, Options, RedisStack};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{command, eventually, execute, patient, settings, settings_as, users};

const NAME: &str = "{own}:idx:things";

/// What a service and the migration may, no more.
async fn start(append: Append) -> RedisStack {
    let acl = users(&[
        ("service", "~{own}:* +json.set +ft.search +ft.info +ping"),
        (
            "migration",
            "~{own}:* +eval +ft.create +ft.aliasupdate +ft.dropindex +ft.info",
        ),
    ]);
    let options = Options {
        acl,
        append,
        ..Options::default()
    };
    RedisStack::start_async(options).await.unwrap()
}

fn index(version: u32) -> SearchIndex {
    SearchIndex {
        name: NAME.to_owned(),
        version,
        prefix: "{own}:thing:".to_owned(),
        schema: match version {
            1 => &["$.name", "AS", "name", "TEXT"],
            _ => &["$.name", "AS", "name", "TEXT", "$.number", "AS", "number", "NUMERIC"],
        },
    }
}

/// A running program of this version.
struct Keeper {
    ready: IndexReady,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn keep(stack: &RedisStack, version: u32) -> Keeper {
    let (ready, stop) = (IndexReady::default(), CancellationToken::new());
    let redis = patient(&settings_as(stack, "service"));
    let migration = settings_as(stack, "migration");
    let task = tokio::spawn(index(version).keep(redis, migration, ready.clone(), stop.clone()));
    Keeper { ready, stop, task }
}

impl Keeper {
    async fn is_ready(&self) {
        eventually("it is ready", || async { self.ready.is_ready() }).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn add(redis: &Redis, number: usize) {
    let document = format!(r#"{{"name":"the","number":{number}}}"#);
    execute(redis, &format!("JSON.SET {{own}}:thing:{number} $ {document}")).await;
}

async fn count(redis: &Redis) -> redis::RedisResult<usize> {
    let found: Vec<usize> = command(redis, &format!("FT.SEARCH {NAME} * LIMIT 0 0")).await?;
    Ok(found[0])
}

/// The index that the alias leads to.
async fn target(redis: &Redis) -> Option<String> {
    match command::<Vec<redis::Value>>(redis, &format!("FT.INFO {NAME}")).await {
        Ok(information) => redis::from_redis_value_ref(&information[1]).ok(),
        Err(error) if is_missing(&error) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn indexes(stack: &RedisStack) -> Vec<String> {
    let mut indexes: Vec<String> = command(&patient(&settings(stack)), "FT._LIST").await.unwrap();
    indexes.sort();
    indexes
}

/// Adds documents and searches for all of them, all the time.
struct Traffic {
    searches: Arc<AtomicUsize>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    fn start(stack: &RedisStack, first: usize) -> Self {
        let (written, searches) = (Arc::new(AtomicUsize::new(first)), Arc::new(AtomicUsize::new(0)));
        let stop = CancellationToken::new();
        let (redis, ended, number) = (
            patient(&settings_as(stack, "service")),
            stop.clone(),
            Arc::clone(&written),
        );
        let writing = tokio::spawn(async move {
            while !ended.is_cancelled() {
                add(&redis, number.load(Ordering::SeqCst)).await;
                number.fetch_add(1, Ordering::SeqCst);
            }
        });
        let (redis, ended, done) = (
            patient(&settings_as(stack, "service")),
            stop.clone(),
            Arc::clone(&searches),
        );
        let searching = tokio::spawn(async move {
            while !ended.is_cancelled() {
                let there = written.load(Ordering::SeqCst);
                let found = count(&redis).await.unwrap();
                assert!(found >= there, "{found} of {there} found");
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            searches,
            stop,
            tasks: vec![writing, searching],
        }
    }

    /// Some more searches are done, and every one so far was complete.
    async fn goes_on(&self) {
        let goal = self.searches.load(Ordering::SeqCst) + 50;
        eventually("searches go on", || async {
            assert!(!self.tasks.iter().any(JoinHandle::is_finished), "a search failed");
            self.searches.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    async fn end(self) {
        self.goes_on().await;
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_made_and_made_again() {
    let mut stack = start(Append::Always).await;
    let redis = patient(&settings(&stack));
    for number in 0..2_000 {
        add(&redis, number).await;
    }
    // Two replicas at once.
    let keepers = [keep(&stack, 1), keep(&stack, 1)];
    for keeper in &keepers {
        keeper.is_ready().await;
    }
    assert_eq!(count(&redis).await.unwrap(), 2_000, "ready is only after the scan");
    let found: Vec<usize> = command(&redis, &format!("FT.SEARCH {NAME} the LIMIT 0 0"))
        .await
        .unwrap();
    assert_eq!(found, [2_000], "there are no stop words");

    execute(&redis, &format!("FT.DROPINDEX {NAME}:v1")).await;
    let is_whole = |documents: usize| {
        let redis = &redis;
        move || async move { count(redis).await.is_ok_and(|found| found == documents) }
    };
    eventually("it is there again", is_whole(2_000)).await;
    execute(&redis, "FLUSHALL").await;
    for number in 0..300 {
        add(&redis, number).await;
    }
    eventually("and again", is_whole(300)).await;
    // What is on the disk is alias and index.
    stack.restart().unwrap();
    assert_eq!(target(&redis).await, Some(format!("{NAME}:v1")));
    eventually("and after a restart", is_whole(300)).await;
    assert_eq!(indexes(&stack).await, [format!("{NAME}:v1")]);
    for keeper in keepers {
        keeper.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_live_together_and_no_search_misses_a_document() {
    let stack = start(Append::Off).await;
    let redis = patient(&settings(&stack));
    for number in 0..3_000 {
        add(&redis, number).await;
    }
    let old = keep(&stack, 1);
    old.is_ready().await;
    let traffic = Traffic::start(&stack, 3_000);
    traffic.goes_on().await;

    let new = [keep(&stack, 2), keep(&stack, 2)];
    for keeper in &new {
        keeper.is_ready().await;
        assert_eq!(target(&redis).await, Some(format!("{NAME}:v2")), "ready is by its own");
    }
    traffic.goes_on().await;
    assert_eq!(
        indexes(&stack).await,
        [format!("{NAME}:v2")],
        "the older one is dropped"
    );
    assert!(old.ready.is_ready());
    // A pod of the old version that starts late, as in a roll that is taken back.
    old.stop().await;
    let late = keep(&stack, 1);
    late.is_ready().await;
    traffic.end().await;
    assert_eq!(indexes(&stack).await, [format!("{NAME}:v2")]);

    execute(&redis, "FLUSHALL").await;
    add(&redis, 1).await;
    let is_back = || async {
        target(&redis).await == Some(format!("{NAME}:v2")) && indexes(&stack).await == [format!("{NAME}:v2")]
    };
    eventually("the newer one is back, alone", is_back).await;
    eventually("it is whole", || async {
        count(&redis).await.is_ok_and(|found| found == 1)
    })
    .await;
    for keeper in new.into_iter().chain([late]) {
        keeper.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_from_before_versions_gives_way_unnoticed() {
    let stack = start(Append::Off).await;
    let redis = patient(&settings(&stack));
    for number in 0..1_000 {
        add(&redis, number).await;
    }
    execute(
        &redis,
        &format!("FT.CREATE {NAME} ON JSON PREFIX 1 {{own}}:thing: SCHEMA $.name AS name TEXT"),
    )
    .await;
    eventually("it is scanned", || async {
        count(&redis).await.is_ok_and(|found| found == 1_000)
    })
    .await;
    let traffic = Traffic::start(&stack, 1_000);
    traffic.goes_on().await;
    let keeper = keep(&stack, 1);
    keeper.is_ready().await;
    traffic.end().await;
    assert_eq!(indexes(&stack).await, [format!("{NAME}:v1")]);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_versions_at_once_the_newest_stays_and_the_alias_never_goes_back() {
    let stack = start(Append::Off).await;
    let redis = patient(&settings(&stack));
    for number in 0..2_000 {
        add(&redis, number).await;
    }
    for _ in 0..3 {
        let keepers: Vec<Keeper> = [3, 1, 2, 4, 2, 3].map(|version| keep(&stack, version)).into();
        let mut newest = String::new();
        while !keepers.iter().all(|keeper| keeper.ready.is_ready()) || newest != format!("{NAME}:v4") {
            let now = target(&redis).await.unwrap_or_default();
            assert!(now >= newest, "{now} after {newest}");
            newest = now;
        }
        assert_eq!(count(&redis).await.unwrap(), 2_000);
        assert_eq!(indexes(&stack).await, [format!("{NAME}:v4")]);
        for keeper in keepers {
            keeper.stop().await;
        }
        execute(&redis, &format!("FT.DROPINDEX {NAME}:v4")).await;
    }
}
