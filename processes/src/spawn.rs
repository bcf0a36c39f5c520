//! Starts child processes that cannot outlive this one. Touches processes only.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::thread;

type Spawn = (Command, mpsc::Sender<io::Result<Child>>);

/// What the kernel sends a child when this process ends, however it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOurEnd {
    /// SIGTERM: it may finish what it has in hand.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl AtOurEnd {
    fn signal(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
        }
    }
}

/// Starts `program` so that the kernel signals it when this process ends.
///
/// The kernel ties the parent-death signal to the parent's *thread*. A test's thread ends long before a server that
/// several tests share, so one thread that never ends does all the starting.
///
/// `prepare` receives the command to add arguments, environment and streams to.
pub fn spawn(program: &Path, at_our_end: AtOurEnd, prepare: impl Fn(&mut Command)) -> io::Result<Child> {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", at_our_end.signal(), "--"]).arg(program);
    prepare(&mut bound);
    match spawn_on_lasting_thread(bound) {
        // No setpriv here: the child is still ended on drop, only not when this process is killed itself.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut plain = Command::new(program);
            prepare(&mut plain);
            spawn_on_lasting_thread(plain)
        }
        result => result,
    }
}

fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Spawn>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Spawn>();
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                // A caller that went away leaves a child nobody would reap; it dies with this process.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (reply, answer) = mpsc::channel();
    spawner
        .lock()
        .map_err(|_| gone())?
        .send((command, reply))
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
