//! How long Redis' file was when, so that a lost power can take its end. Reads the folder, and cuts the file of a dead server.
//!
//! SIGKILL alone loses nothing that Redis has written: the kernel goes on and has it. What `everysec` may lose, only a machine
//! that goes down loses: whatever was written since the last fsync, which is a second ago, or more when the disk is slow.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::append_file::{AppendFile, cut, newest};
use super::{Database, locked};

const INTERVAL: Duration = Duration::from_millis(20);
/// Samples of some ten seconds: older than any fsync is late.
const SAMPLES: usize = 500;

/// The file's lengths of late. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Growth(Arc<Mutex<VecDeque<(Instant, AppendFile)>>>);

impl Growth {
    /// Measures for ever.
    pub async fn watch(&self, database: &Database) -> Infallible {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            let at = Instant::now();
            // Between two files there may be none for a moment.
            let Ok(Some(file)) = newest(&database.directory) else {
                continue;
            };
            let mut samples = locked(&self.0);
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            samples.push_back((at, file));
        }
    }

    /// Takes from the file of a dead server what was written to it within `age` before `death`; returns how many bytes.
    /// Nothing, when the server had begun the file later than that.
    pub(super) fn cut_since(&self, death: Instant, age: Duration, directory: &Path) -> Result<u64> {
        let Some(last) = newest(directory)? else { return Ok(0) };
        let samples = std::mem::take(&mut *locked(&self.0));
        let before = samples
            .iter()
            .rev()
            .find(|(at, file)| death.saturating_duration_since(*at) >= age && file.path == last.path);
        match before {
            Some((_, file)) => Ok(cut(&last.path, file.length)?),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const MANIFEST: &str = "file appendonly.aof.2.incr.aof seq 2 type i\n";

    /// What is left of a file of 40 bytes, by samples of so many milliseconds before the death.
    fn left(samples: &[(u64, u64)], name: &str) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("appendonlydir");
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("appendonly.aof.manifest"), MANIFEST).unwrap();
        std::fs::write(files.join("appendonly.aof.2.incr.aof"), [0; 40]).unwrap();
        let began = Instant::now();
        let death = began + Duration::from_secs(10);
        let growth = Growth::default();
        locked(&growth.0).extend(samples.iter().map(|(before, length)| {
            let file = AppendFile {
                path: files.join(name),
                length: *length,
            };
            (death.checked_sub(Duration::from_millis(*before)).unwrap(), file)
        }));
        let lost = growth
            .cut_since(death, Duration::from_millis(900), folder.path())
            .unwrap();
        let left = std::fs::metadata(files.join("appendonly.aof.2.incr.aof"))
            .unwrap()
            .len();
        assert_eq!(lost + left, 40);
        left
    }

    #[test]
    fn the_newest_sample_that_is_old_enough_says_what_is_left() {
        let this = "appendonly.aof.2.incr.aof";
        assert_eq!(left(&[(1_500, 10), (901, 20), (899, 30)], this), 20);
        assert_eq!(left(&[(1_500, 10), (900, 20), (0, 40)], this), 20);
        assert_eq!(left(&[(899, 30)], this), 40, "nothing is known of that time");
        assert_eq!(left(&[(1_500, 10)], "appendonly.aof.1.incr.aof"), 40, "another file");
    }
}
