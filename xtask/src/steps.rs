//! Numbered steps with elapsed time on stderr: what a person watches while a command works. Touches nothing but the terminal.

use std::time::Instant;

/// Announces the steps of one command as `[2/9] build images ... 41.0 s`.
pub(crate) struct Steps {
    total: usize,
    done: usize,
    began: Instant,
}

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            total,
            done: 0,
            began: Instant::now(),
        }
    }

    /// Runs `work` as the next step. Its line is finished with the elapsed time, or with `failed`.
    pub(crate) fn run<T>(&mut self, what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let step = self.begin(what);
        let outcome = work();
        step.end(outcome.is_ok());
        outcome
    }

    /// [`run`](Self::run) for async work.
    pub(crate) async fn follow<T>(
        &mut self,
        what: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let step = self.begin(what);
        let outcome = work.await;
        step.end(outcome.is_ok());
        outcome
    }

    fn begin(&mut self, what: &str) -> Step {
        self.done += 1;
        let label = format!("[{}/{}] {what}", self.done, self.total);
        eprintln!("{label} ...");
        Step {
            label,
            began: Instant::now(),
        }
    }

    /// Seconds since the first step began.
    pub(crate) fn elapsed_seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

struct Step {
    label: String,
    began: Instant,
}

impl Step {
    fn end(self, succeeded: bool) {
        let seconds = self.began.elapsed().as_secs_f64();
        if succeeded {
            eprintln!("{} {seconds:.1} s", self.label);
        } else {
            eprintln!("{} failed after {seconds:.1} s", self.label);
        }
    }
}

/// Shows what happens within a step.
pub(crate) fn detail(line: &str) {
    eprintln!("      {line}");
}
