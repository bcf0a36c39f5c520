//! What is not done.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_no_status_is_written() {
    let redis = redis().await;
    let recorder = Recorder::default();
    // A minimum of one keeps it sampled all the time: what is proven is that sampling alone writes nothing.
    let plan = plan(redis.port(), "still", |spec| spec.scaling.min_replicas = 1);
    let _running = start(&recorder, [assignment(plan, 1)], anywhere());
    eventually("ready", || recorder.is_ready("still")).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let before = recorder.with(|seen| seen.status_writes);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if recorder.with(|seen| seen.status_writes) == before {
            break;
        }
        // On a slow machine what it takes to be ready may be told in parts.
        assert!(Instant::now() < deadline, "{before} writes, and it goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_owner_is_going_is_left_alone_until_the_owner_stays() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let redis = redis().await;
    add(&mut connect(&redis).await, "leaving-stream").await;
    let recorder = Recorder::default();
    let (going, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_going, count) = (Arc::clone(&going), Arc::clone(&asked));
    let _running = start_owned(
        &recorder,
        [assignment(plan(redis.port(), "leaving", |_| {}), 0)],
        anywhere(),
        Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            is_going.load(Ordering::SeqCst)
        }),
    );
    eventually("asked again and again", || asked.load(Ordering::SeqCst) > 5).await;
    assert_eq!(recorder.scales(), [], "there is a backlog, and nobody scales");
    assert_eq!(recorder.reasons(), Vec::<&str>::new());
    assert_eq!(recorder.with(|seen| seen.status_writes), 0);
    going.store(false, Ordering::SeqCst);
    eventually("scaled", || recorder.scales() == [("leaving-worker".to_owned(), 1)]).await;
}
