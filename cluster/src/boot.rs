//! `Cluster`: started, found again, and used from the host.

use crate::{
    config::{self, NODE_ADDRESS},
    control, down,
    forward::Target,
    helper::{Context, Part},
    images, lock,
    paths::StateDir,
    pki, storage,
    toolchain::Kubernetes,
};
use anyhow::{Context as _, bail};
use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longer than the manager's own limit, so that its reason is the one that is told.
const PATIENCE: Duration = Duration::from_secs(200);

/// A component that ends often is started again after some seconds only.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);
const KUBELET: &str = "kubelet";

/// How a cluster is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where everything it writes is kept; `None` is [`StateDir::default_path`].
    pub state_dir: Option<PathBuf>,
    /// OCI archives to import, see [`Cluster::import_images`].
    pub images: Vec<PathBuf>,
    /// The program that plays the helper processes: its `main` calls [`run_if_asked`](crate::run_if_asked) first.
    /// `None` is the running program.
    pub helper: Option<PathBuf>,
}

/// A running Kubernetes. Dropping it leaves the cluster running; [`down`](crate::down) ends it.
#[derive(Clone, Debug)]
pub struct Cluster {
    state: StateDir,
    kubernetes: Kubernetes,
}

impl Cluster {
    /// Starts a cluster, or returns the one that already runs in the same folder. What an interrupted start left is removed first.
    ///
    /// `on_step` hears each step, with the seconds since the start. Fails with the end of the log that says most.
    pub fn up(options: &Options, on_step: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        let path = options.state_dir.clone().map_or_else(StateDir::default_path, Ok)?;
        let state = StateDir::new(&path)?;
        let kubernetes = Kubernetes::build(on_step)?;
        let cluster = {
            let _lock = lock::hold(&state)?;
            match Self::open(state.root()) {
                Ok(running) if running.kubernetes.bin_dir() == kubernetes.bin_dir() => running,
                Ok(_) => {
                    on_step("the running cluster is of another version: it is replaced");
                    Self::start(state, kubernetes, options, on_step)?
                }
                Err(_) => Self::start(state, kubernetes, options, on_step)?,
            }
        };
        cluster.import_images(&options.images)?;
        Ok(cluster)
    }

    /// The cluster that runs in `state_dir`. Fails when none does, or when it is not ready.
    pub fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let state = StateDir::new(state_dir)?;
        if !state.ready().exists() {
            bail!("no cluster is ready in {}", state.root().display());
        }
        control::ask(&state, "init")?;
        let bin = fs::read_to_string(state.marker()).context("the folder names no binaries")?;
        Ok(Self {
            state,
            kubernetes: Kubernetes::at(bin.into()),
        })
    }

    fn start(
        state: StateDir,
        kubernetes: Kubernetes,
        options: &Options,
        on_step: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Self> {
        down::clear(&state)?;
        let program = options.helper.clone().map_or_else(env::current_exe, Ok)?;
        let context = Context {
            program,
            state,
            kubernetes,
        };
        prepare(&context)?;
        let mut supervisor = start_supervisor(&context)?;
        let waited = wait_until_ready(&context.state, &mut supervisor, on_step);
        // Somebody has to take note of its end, or it stays in the process table as long as this program runs.
        thread::spawn(move || supervisor.wait());
        waited.with_context(|| log_tails(&context.state))?;

        let cluster = Self {
            state: context.state,
            kubernetes: context.kubernetes,
        };
        let server = cluster.forward(&format!("{NODE_ADDRESS}:6443"))?;
        let text = config::kubeconfig(&cluster.state, "admin", &format!("https://{server}"));
        pki::write_secret(&cluster.state.kubeconfig(), &text)?;
        Ok(cluster)
    }

    /// The state folder.
    pub fn state_dir(&self) -> &StateDir {
        &self.state
    }

    /// A kubeconfig with an administrator's rights, for programs on the host.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.kubeconfig()
    }

    /// The API server's audit log: one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.state.audit_log()
    }

    /// The binaries it runs on.
    pub fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    /// kubectl of the cluster's version, on this cluster.
    pub fn kubectl(&self) -> Command {
        self.tool("kubectl")
    }

    /// helm, on this cluster. Its own files are kept in the state folder.
    pub fn helm(&self) -> Command {
        let mut helm = self.tool("helm");
        for (variable, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            helm.env(variable, self.state.join("helm").join(folder));
        }
        helm
    }

    /// The address on loopback that leads to `service.namespace:port` or `address:port` of the cluster's network.
    ///
    /// It lives as long as the cluster, also while the Service does not, and is the same when asked for again.
    pub fn forward(&self, target: &str) -> anyhow::Result<SocketAddr> {
        let target: Target = target.parse()?;
        Ok(control::ask(&self.state, &format!("forward {target}"))?.parse()?)
    }

    /// Kills the kubelet and waits until its successor is started. Pods run on; what the successor makes of them is another matter.
    pub fn restart_kubelet(&self) -> anyhow::Result<()> {
        let number = || fs::read_to_string(self.state.process(KUBELET)).unwrap_or_default();
        let before = number();
        control::ask(&self.state, &format!("{}{KUBELET}", control::KILL))?;
        let deadline = Instant::now() + RESTART_PATIENCE;
        while number() == before {
            if Instant::now() > deadline {
                bail!(
                    "the kubelet was not started again within {} s",
                    RESTART_PATIENCE.as_secs()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Imports OCI archives into the node. An archive whose image is there already is passed over.
    pub fn import_images(&self, archives: &[PathBuf]) -> anyhow::Result<()> {
        if archives.is_empty() {
            return Ok(());
        }
        let present = self.images()?;
        for archive in archives {
            let reference = images::reference_of(archive)?;
            if present.contains(&reference) {
                continue;
            }
            let output = self
                .ctr(&["images", "import", "-"])?
                .stdin(fs::File::open(archive)?)
                .output()?;
            if !output.status.success() {
                bail!(
                    "import {}: {}",
                    archive.display(),
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
        Ok(())
    }

    /// References of the images on the node.
    pub fn images(&self) -> anyhow::Result<Vec<String>> {
        let output = self
            .ctr(&["images", "list", "--quiet"])?
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("list images: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// The last lines of a component's log (`kubelet`, `kube-apiserver`, `containerd`, ...).
    pub fn logs_tail(&self, component: &str) -> String {
        tail(&self.state.log(component), 20)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.kubernetes.program(name));
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.state.join("kubectl"));
        command
    }

    fn ctr(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let init = control::ask(&self.state, "init")?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &init, "--mount", "--net", "--"])
            .arg(self.kubernetes.program("ctr"));
        command
            .args(["--address", config::CONTAINERD_SOCKET, "--namespace", "k8s.io"])
            .args(arguments);
        Ok(command)
    }
}

/// Writes all that the components read.
fn prepare(context: &Context) -> anyhow::Result<()> {
    let state = &context.state;
    if let Some(parent) = state.root().parent() {
        fs::create_dir_all(parent)?;
    }
    // Keys and the control socket are in it.
    fs::DirBuilder::new()
        .mode(0o700)
        .create(state.root())
        .with_context(|| state.root().display().to_string())?;
    fs::write(state.marker(), context.kubernetes.bin_dir().display().to_string())?;
    let pause = images::pause(&context.kubernetes)?;
    pki::write(state)?;
    config::write_all(state, &context.kubernetes, &pause.reference)?;
    fs::copy(&pause.archive, state.join("config/pause.tar"))?;
    storage::make_folders(state)
}

fn start_supervisor(context: &Context) -> anyhow::Result<Child> {
    let log = fs::File::create(context.state.log("supervisor"))?;
    let mut command = context.command(Part::Supervisor);
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command
        .spawn()
        .with_context(|| format!("start {}", context.program.display()))
}

fn wait_until_ready(state: &StateDir, supervisor: &mut Child, on_step: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = 0;
    loop {
        let steps = fs::read_to_string(state.steps()).unwrap_or_default();
        for line in steps.lines().skip(told) {
            on_step(line);
            told += 1;
        }
        if state.ready().exists() {
            return Ok(());
        }
        if let Ok(reason) = fs::read_to_string(state.failed()) {
            bail!("the cluster did not start: {reason}");
        }
        if let Some(ended) = supervisor.try_wait()? {
            bail!("the cluster's supervisor ended: {ended}");
        }
        if Instant::now() > deadline {
            bail!("the cluster was not ready after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn log_tails(state: &StateDir) -> String {
    let logs = ["supervisor", "init", "kube-apiserver", "containerd", "kubelet"];
    let tails = logs.map(|name| format!("--- {name}\n{}", tail(&state.log(name), 8)));
    format!(
        "last lines of the logs in {}:\n{}",
        state.join("logs").display(),
        tails.join("\n")
    )
}

fn tail(path: &Path, count: usize) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .join("\n")
}
