//! The control socket of a cluster: one line asks, one line answers. `init` gives the number of the first process,
//! `forward TARGET` an address on loopback, `kill kubelet` passes that on to the manager.

use crate::{
    forward::{Forwarders, Target},
    paths::StateDir,
};
use anyhow::{Context as _, bail};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write},
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

const SOCKET: &str = "control.sock";

/// Begins the line that has a component killed, here and at the manager's input.
pub(crate) const KILL: &str = "kill ";
/// What may be killed: nothing else of a node dies without its pods.
const KILLABLE: [&str; 1] = ["kubelet"];

/// What the questions are answered with.
pub(crate) struct Answers {
    /// Opens ways into the cluster's network.
    pub(crate) forwarders: Forwarders,
    /// The first process, as the host numbers it.
    pub(crate) init: i32,
    /// The manager's input.
    pub(crate) manager: Mutex<Box<dyn Write + Send>>,
}

/// Listens in the state folder, which is readable by its owner only.
pub(crate) fn listen(state: &StateDir) -> anyhow::Result<UnixListener> {
    let _ = fs::remove_file(state.join(SOCKET));
    with_short_path(state, |path| Ok(UnixListener::bind(path)?))
}

/// Asks the supervisor of the cluster in `state`.
pub(crate) fn ask(state: &StateDir, question: &str) -> anyhow::Result<String> {
    let mut stream = with_short_path(state, |path| Ok(UnixStream::connect(path)?))
        .with_context(|| format!("no cluster answers in {}", state.root().display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    writeln!(stream, "{question}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", value)) => Ok(value.to_owned()),
        Some(("error", reason)) => bail!("{reason}"),
        _ => bail!("the supervisor broke off"),
    }
}

/// Answers until the process ends.
pub(crate) fn serve(listener: &UnixListener, answers: &Arc<Answers>) {
    for stream in listener.incoming().flatten() {
        let answers = Arc::clone(answers);
        thread::spawn(move || {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_ok() {
                let reply = match answers.to(line.trim_end()) {
                    Ok(value) => format!("ok {value}"),
                    Err(error) => format!("error {error:#}"),
                };
                let _ = writeln!(&stream, "{reply}");
            }
        });
    }
}

impl Answers {
    fn to(&self, question: &str) -> anyhow::Result<String> {
        if let Some(component) = question.strip_prefix(KILL) {
            if !KILLABLE.contains(&component) {
                bail!("{component:?} is none of {}", KILLABLE.join(", "));
            }
            let mut manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(manager, "{question}").and_then(|()| manager.flush())?;
            return Ok(component.to_owned());
        }
        match question.split_once(' ') {
            None if question == "init" => Ok(self.init.to_string()),
            Some(("forward", target)) => Ok(self.forwarders.open(&target.parse::<Target>()?)?.to_string()),
            _ => bail!("unknown question"),
        }
    }
}

/// A socket's path has room for 107 bytes only; through the opened folder it is always short enough.
fn with_short_path<T>(state: &StateDir, action: impl FnOnce(PathBuf) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let folder = File::open(state.root())?;
    action(PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_however_long_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(150));
        fs::create_dir(&path).unwrap();
        let state = StateDir::new(&path).unwrap();
        assert!(
            ask(&state, "init")
                .unwrap_err()
                .to_string()
                .contains("no cluster answers")
        );
        let listener = listen(&state).unwrap();
        let here = File::open("/proc/self/ns/net").unwrap();
        let (mut heard, manager) = UnixStream::pair().unwrap();
        let answers = Answers {
            forwarders: Forwarders::new(here),
            init: 42,
            manager: Mutex::new(Box::new(manager)),
        };
        thread::spawn(move || serve(&listener, &Arc::new(answers)));
        assert_eq!(ask(&state, "init").unwrap(), "42");
        assert!(
            ask(&state, "forward nonsense")
                .unwrap_err()
                .to_string()
                .contains("service.namespace:port")
        );
        assert!(ask(&state, "dance").is_err());
        assert_eq!(ask(&state, "kill kubelet").unwrap(), "kubelet");
        let mut line = String::new();
        BufReader::new(&mut heard).read_line(&mut line).unwrap();
        assert_eq!(line, "kill kubelet\n");
        assert!(
            ask(&state, "kill init")
                .unwrap_err()
                .to_string()
                .contains("none of kubelet")
        );
    }
}
