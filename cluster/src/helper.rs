//! The processes of a cluster that are this crate's own. Whichever program starts a cluster also plays these parts: it calls
//! [`run_if_asked`] first thing in `main`, and is started again with the part as its arguments.
//!
//! supervisor (host) -> unshare (util-linux) -> init (number 1 inside) -> manager -> components, and the storage keeper.

use crate::{init, manager, paths::StateDir, storage, supervisor, toolchain::Kubernetes};
use anyhow::Context as _;
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// First argument of every helper process; what follows is the part, the state folder and the binaries.
pub(crate) const HELPER: &str = "cluster-helper";

/// What a helper process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Supervisor,
    Init,
    Manager,
    Storage,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Supervisor, Self::Init, Self::Manager, Self::Storage];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Init => "init",
            Self::Manager => "manager",
            Self::Storage => "storage",
        }
    }
}

/// Everything a helper process has to know.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) program: PathBuf,
    pub(crate) state: StateDir,
    pub(crate) kubernetes: Kubernetes,
}

impl Context {
    /// The arguments that make `program` play `part`.
    pub(crate) fn arguments(&self, part: Part) -> [OsString; 4] {
        [
            HELPER.into(),
            part.name().into(),
            self.state.root().into(),
            self.kubernetes.bin_dir().into(),
        ]
    }

    pub(crate) fn command(&self, part: Part) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments(part));
        command
    }

    /// kubectl with the administrator's rights, from inside the cluster's network.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.kubernetes.program("kubectl"));
        command.env("KUBECONFIG", self.state.join("config/admin.kubeconfig"));
        // Its cache of the API would otherwise go to the home folder, where it outlives the cluster.
        command.env("KUBECACHEDIR", self.state.join("tmp/kubectl"));
        command
    }
}

/// Plays a part of a running cluster if this process was started for one, and says how it ended. Call it first in `main`.
pub fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != HELPER {
        return None;
    }
    let part = arguments.next().unwrap_or_default();
    let state = arguments.next().unwrap_or_default();
    let bin = arguments.next().unwrap_or_default();
    Some(match play(&part, Path::new(&state), bin.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", part.display());
            ExitCode::FAILURE
        }
    })
}

fn play(part: &OsString, state: &Path, bin: PathBuf) -> anyhow::Result<()> {
    let part = Part::ALL
        .into_iter()
        .find(|known| part == known.name())
        .context("no such part")?;
    let context = Context {
        program: env::current_exe().context("own program")?,
        state: StateDir::new(state)?,
        kubernetes: Kubernetes::at(bin),
    };
    match part {
        Part::Supervisor => supervisor::run(&context),
        Part::Init => init::run(&context),
        Part::Manager => manager::run(&context),
        Part::Storage => storage::run(&context),
    }
}
