//! The processes of a shop, each replaced at once when it has died, as Deployments would. Touches processes it started and
//! their logs.

use std::convert::Infallible;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use shopwright_processes::{AtOurEnd, Signal, signal, spawn};

use crate::database::locked;
use crate::death::{Deaths, judge, panics};
use crate::dice::{Arm, Dice};
use crate::role::Role;

/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// A process that ended by itself so soon is started again only after a while, lest this machine does nothing else.
const TOO_SOON: Duration = Duration::from_secs(1);
const BACK_OFF: Duration = Duration::from_millis(500);

/// How to start a process.
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its one argument.
    pub command: &'static str,
    /// Its environment, secrets included.
    pub environment: Vec<(&'static str, String)>,
}

/// How to start a process of a role in a pod of a name.
pub type Launcher = Box<dyn Fn(Role, &str) -> Launch + Send + Sync>;

/// All processes of a shop; dropping it kills them.
pub struct Fleet {
    launcher: Launcher,
    logs: PathBuf,
    slots: Vec<Mutex<Slot>>,
    dice: Mutex<Dice>,
    deaths: Mutex<Deaths>,
}

/// One place of a Deployment, and who is in it.
struct Slot {
    role: Role,
    replica: usize,
    generation: u64,
    process: Option<Running>,
    start_at: Instant,
}

struct Running {
    child: Child,
    pod: String,
    log: PathBuf,
    started: Instant,
    arm: Option<Arm>,
    killed: bool,
}

impl Fleet {
    /// Starts every process, with logs in `logs`, one file a pod.
    pub fn start(launcher: Launcher, logs: &Path, dice: Dice) -> Result<Self> {
        std::fs::create_dir_all(logs)?;
        let slots = Role::ALL
            .iter()
            .flat_map(|role| (0..role.replicas()).map(|replica| (*role, replica)));
        let fleet = Self {
            launcher,
            logs: logs.to_owned(),
            slots: slots
                .map(|(role, replica)| Mutex::new(Slot::new(role, replica)))
                .collect(),
            dice: Mutex::new(dice),
            deaths: Mutex::default(),
        };
        for slot in &fleet.slots {
            fleet.launch(&mut locked(slot), None)?;
        }
        Ok(fleet)
    }

    /// Replaces the dead for ever; returns only when a process cannot be started.
    pub async fn supervise(&self) -> Result<Infallible> {
        loop {
            for slot in &self.slots {
                self.look_at(&mut locked(slot))?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn look_at(&self, slot: &mut Slot) -> Result<()> {
        if let Some(running) = &mut slot.process {
            let Some(status) = running.child.try_wait()? else {
                return Ok(());
            };
            let log = std::fs::read(&running.log).unwrap_or_default();
            let death = judge(running.killed, status, &String::from_utf8_lossy(&log));
            let wait = if running.started.elapsed() < TOO_SOON {
                BACK_OFF
            } else {
                Duration::ZERO
            };
            slot.start_at = Instant::now() + wait;
            slot.process = None;
            locked(&self.deaths).count(slot.role, death);
        }
        if Instant::now() >= slot.start_at {
            let arm = locked(&self.dice).arm(slot.role);
            self.launch(slot, arm)?;
        }
        Ok(())
    }

    fn launch(&self, slot: &mut Slot, arm: Option<Arm>) -> Result<()> {
        slot.generation += 1;
        let pod = locked(&self.dice).pod(slot.role, slot.generation);
        let launch = (self.launcher)(slot.role, &pod);
        let log = self.logs.join(format!("{pod}.log"));
        let output = File::create(&log)?;
        let child = spawn(&launch.program, AtOurEnd::Kill, |command| {
            let handle = || output.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
            command.arg(launch.command).stdin(Stdio::null());
            command.stdout(handle()).stderr(handle());
            command.envs(launch.environment.iter().map(|(name, value)| (*name, value)));
            if let Some(arm) = &arm {
                command.env("CRASH_AT", arm.variable());
            }
        })
        .with_context(|| format!("cannot start {pod}"))?;
        slot.process = Some(Running {
            child,
            pod,
            log,
            started: Instant::now(),
            arm,
            killed: false,
        });
        Ok(())
    }

    /// SIGKILL. A new one comes at the next look.
    pub fn kill(&self, role: Role, replica: usize) -> Result<()> {
        if let Some(mut slot) = self.slot(role, replica)
            && let Some(running) = &mut slot.process
            && running.child.try_wait()?.is_none()
        {
            running.killed = true;
            running.child.kill()?;
        }
        Ok(())
    }

    /// SIGSTOP; returns the name of the pod that stands still.
    pub fn freeze(&self, role: Role, replica: usize) -> Result<Option<String>> {
        let Some(mut slot) = self.slot(role, replica) else {
            return Ok(None);
        };
        let Some(running) = &mut slot.process else {
            return Ok(None);
        };
        signal(&mut running.child, Signal::STOP)?;
        Ok(Some(running.pod.clone()))
    }

    /// SIGCONT, for all: whoever runs is none the wiser.
    pub fn thaw(&self) -> Result<()> {
        for slot in &self.slots {
            if let Some(running) = &mut locked(slot).process {
                signal(&mut running.child, Signal::CONT)?;
            }
        }
        Ok(())
    }

    /// From now on new processes are armed with crash points.
    pub fn arm_newcomers(&self) {
        locked(&self.dice).arming(true);
    }

    /// Nobody is armed any more: those who are give way to others.
    pub fn disarm(&self) -> Result<()> {
        locked(&self.dice).arming(false);
        for slot in &self.slots {
            let mut slot = locked(slot);
            if slot.process.as_ref().is_some_and(|running| running.arm.is_some()) {
                let (role, replica) = (slot.role, slot.replica);
                drop(slot);
                self.kill(role, replica)?;
            } else {
                slot.start_at = Instant::now();
            }
        }
        Ok(())
    }

    /// Replaces every process of the crash point's role by one that is to end there at its first pass. Counted as no death.
    pub fn arm(&self, point: &'static str) -> Result<()> {
        for slot in &self.slots {
            let mut slot = locked(slot);
            if Role::of_crash_point(point) != Some(slot.role) {
                continue;
            }
            if let Some(running) = &mut slot.process {
                running.child.kill()?;
                running.child.wait()?;
            }
            self.launch(&mut slot, Some(Arm { point, nth: 1 }))?;
        }
        Ok(())
    }

    /// The deaths so far.
    pub fn deaths(&self) -> Deaths {
        locked(&self.deaths).clone()
    }

    /// Every line of every log that tells of a panic, after the name of its file.
    pub fn panics(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.logs)? {
            let entry = entry?;
            let log = std::fs::read(entry.path())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            found.extend(panics(&String::from_utf8_lossy(&log)).map(|line| format!("{name}: {line}")));
        }
        Ok(found)
    }

    fn slot(&self, role: Role, replica: usize) -> Option<std::sync::MutexGuard<'_, Slot>> {
        self.slots
            .iter()
            .map(|slot| locked(slot))
            .find(|slot| (slot.role, slot.replica) == (role, replica))
    }
}

impl Slot {
    fn new(role: Role, replica: usize) -> Self {
        Self {
            role,
            replica,
            generation: 0,
            process: None,
            start_at: Instant::now(),
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for slot in &self.slots {
            if let Some(running) = &mut locked(slot).process {
                // One that has ended is as dead as asked for.
                let _ = running.child.kill();
                let _ = running.child.wait();
            }
        }
    }
}
