//! Processor time of processes, read on the machine itself: a local cluster's processes are in our process table.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;

use crate::process;

/// The kernel's unit of processor time towards programs: `USER_HZ`, which is 100 on every architecture that we run on.
const TICKS_PER_SECOND: u32 = 100;

/// The pids of the processes called `command` in these pods.
pub fn pids(pods: &[Pod], command: &str) -> Result<Vec<i32>> {
    let uids = pods.iter().filter_map(|pod| pod.metadata.uid.as_deref());
    let found: Vec<i32> = uids.flat_map(|uid| process::of_pod(uid, command)).collect();
    ensure!(
        !found.is_empty(),
        "no process {command} on this machine: is the cluster elsewhere?"
    );
    Ok(found)
}

/// Per cent of one core that each set of processes takes together, over the next `window`.
pub async fn shares<const N: usize>(sets: [&[i32]; N], window: Duration) -> Result<[f64; N]> {
    let before = spent(sets)?;
    let started = Instant::now();
    tokio::time::sleep(window).await;
    let elapsed = started.elapsed().as_secs_f64();
    let after = spent(sets)?;
    let mut shares = [0.0; N];
    for (share, (after, before)) in shares.iter_mut().zip(after.into_iter().zip(before)) {
        *share = after.saturating_sub(before).as_secs_f64() / elapsed * 100.0;
    }
    Ok(shares)
}

fn spent<const N: usize>(sets: [&[i32]; N]) -> Result<[Duration; N]> {
    let mut all = [Duration::ZERO; N];
    for (sum, set) in all.iter_mut().zip(sets) {
        for pid in set {
            let path = format!("/proc/{pid}/stat");
            let text = fs::read_to_string(&path).with_context(|| path.clone())?;
            *sum += parse(&text).with_context(|| path)?;
        }
    }
    Ok(all)
}

/// `utime` and `stime` together: fields 14 and 15. The name in field 2 may hold anything, so counting begins behind it.
fn parse(stat: &str) -> Result<Duration> {
    let (_, behind) = stat.rsplit_once(") ").context("no name in it")?;
    let fields: Vec<&str> = behind.split(' ').collect();
    let ticks = |index: usize| -> Result<u32> { Ok(fields.get(index).context("too short")?.parse()?) };
    Ok(Duration::from_secs(1) * (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse, shares};

    #[test]
    fn both_kinds_of_time_are_read_behind_any_name() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        assert_eq!(parse(stat).unwrap(), Duration::from_secs(2));
        assert!(parse("7 (x) S 1").is_err());
    }

    #[tokio::test]
    async fn a_busy_process_is_seen_to_be_busy() {
        let own = [i32::try_from(std::process::id()).unwrap()];
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let busy = std::thread::spawn(move || while stopped.try_recv().is_err() {});
        let mut share = 0.0;
        // However slow the machine is, at some time the thread gets its turn.
        for _ in 0..100 {
            [share] = shares([&own], Duration::from_millis(200)).await.unwrap();
            if share > 1.0 {
                break;
            }
        }
        stop.send(()).unwrap();
        busy.join().unwrap();
        assert!(share > 1.0, "{share}");
    }
}
