//! Inside the namespaces: starts the components in order, restarts those that end, and says when the cluster is ready. Reads
//! its input: each line names a component to kill, as a machine's fault would, and the end of the input ends the cluster.

use crate::{
    config::{self, Component, DNS_ADDRESS, NODE_NAME},
    control::KILL,
    helper::{Context, Part},
    resolve,
};
use anyhow::{Context as _, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::fd::OwnedFd,
    process::{self, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long the whole boot may take on a busy machine before it counts as failed.
const BOOT_DEADLINE: Duration = Duration::from_mins(3);
/// A component that ends so often during the boot will not come up by trying again.
const HOPELESS: u32 = 4;

pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    let manager = Arc::new(Manager {
        context: context.clone(),
        deadline: Instant::now() + BOOT_DEADLINE,
        hopeless: Mutex::default(),
        running: Mutex::default(),
    });
    // The supervisor holds the other end. However it ends, this cluster ends too.
    let obeying = Arc::clone(&manager);
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix(KILL) {
                let outcome = obeying.kill(name);
                eprintln!("asked to kill {name}: {outcome:?}");
            }
        }
        process::exit(0);
    });
    if let Err(error) = manager.boot() {
        fs::write(context.state.failed(), format!("{error:#}"))?;
        return Err(error);
    }
    loop {
        thread::park();
    }
}

struct Manager {
    context: Context,
    deadline: Instant,
    /// The first component that was given up.
    hopeless: Mutex<Option<&'static str>>,
    /// The processes that run, by component. A handle is of this very process, also when its number is given to another.
    running: Mutex<HashMap<String, OwnedFd>>,
}

impl Manager {
    fn boot(self: &Arc<Self>) -> anyhow::Result<()> {
        let state = &self.context.state;
        let started = Instant::now();
        let mut steps = OpenOptions::new().create(true).append(true).open(state.steps())?;
        let mut step = |text: &str| writeln!(steps, "{text} ({:.1} s)", started.elapsed().as_secs_f32());

        for component in config::foundation(state) {
            self.keep_running(component);
        }
        let pause = self.in_background("containerd to import the sandbox image", |manager| {
            let archive = manager.context.state.join("config/pause.tar");
            let mut ctr = Command::new(manager.context.kubernetes.program("ctr"));
            ctr.args(["--address", config::CONTAINERD_SOCKET, "--namespace", "k8s.io"]);
            succeeds(ctr.args(["images", "import"]).arg(archive))
        });
        self.until("the API server", |manager| {
            manager.kubectl(&["get", "--raw", "/readyz"])
        })?;
        step("API server answers")?;

        for component in config::upper_floor(state) {
            self.keep_running(component);
        }
        self.until("the objects of cluster DNS", |manager| manager.apply("names.yaml"))?;
        self.keep_running(config::name_server(state));
        let volumes = self.in_background("the pool of volumes", |manager| manager.apply("volumes.yaml"));
        self.until("cluster DNS", |_| dns_answers())?;
        step("DNS answers")?;
        for job in [pause, volumes] {
            job.join()
                .map_err(|_| anyhow::anyhow!("a job of the boot broke off"))??;
        }
        self.keep_storage();
        self.until("the node", |manager| {
            let node = format!("node/{NODE_NAME}");
            manager.kubectl(&["wait", "--for=condition=Ready", "--timeout=10s", &node])
        })?;
        self.until("the default service account", |manager| {
            manager.kubectl(&["get", "serviceaccount", "default", "--namespace=default"])
        })?;
        step("node is ready")?;
        fs::write(state.ready(), "")?;
        Ok(())
    }

    /// Starts a component and starts it again whenever it ends, a little later each time it does so soon.
    fn keep_running(self: &Arc<Self>, component: Component) {
        let manager = Arc::clone(self);
        thread::spawn(move || {
            let (mut ends, mut pause) = (0, Duration::from_millis(200));
            loop {
                let started = Instant::now();
                let mut command = Command::new(manager.context.kubernetes.program(component.program));
                command
                    .args(&component.arguments)
                    .env("PATH", manager.search_path())
                    .env("TMPDIR", manager.context.state.join("tmp"));
                let ended = manager.run_logged(component.name, &mut command);
                eprintln!("{} ended: {ended:?}", component.name);
                ends += 1;
                if ends >= HOPELESS {
                    let mut hopeless = manager.hopeless.lock().unwrap_or_else(PoisonError::into_inner);
                    hopeless.get_or_insert(component.name);
                }
                let lasted = started.elapsed() > Duration::from_secs(30);
                pause = if lasted { Duration::from_millis(200) } else { pause * 2 };
                thread::sleep(pause.min(Duration::from_secs(5)));
            }
        });
    }

    fn keep_storage(self: &Arc<Self>) {
        let manager = Arc::clone(self);
        thread::spawn(move || {
            loop {
                let ended = manager.run_logged("storage", &mut manager.context.command(Part::Storage));
                eprintln!("storage ended: {ended:?}");
                thread::sleep(Duration::from_secs(1));
            }
        });
    }

    fn run_logged(&self, name: &str, command: &mut Command) -> anyhow::Result<ExitStatus> {
        let path = self.context.state.log(name);
        let log = OpenOptions::new().create(true).append(true).open(path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn()?;
        let number = Pid::from_child(&child);
        // Without them it cannot be killed on request, and runs all the same.
        if let Ok(handle) = pidfd_open(number, PidfdFlags::empty()) {
            self.running().insert(name.to_owned(), handle);
        }
        let _ = fs::write(self.context.state.process(name), number.to_string());
        let ended = child.wait();
        self.running().remove(name);
        Ok(ended?)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, OwnedFd>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a component's process at once; whoever keeps it running starts it again.
    fn kill(&self, name: &str) -> anyhow::Result<()> {
        let running = self.running();
        let handle = running.get(name).context("it does not run")?;
        Ok(pidfd_send_signal(handle, Signal::KILL)?)
    }

    /// containerd finds its shim, and the shim finds runc, by PATH; the host's own PATH may lack the folders of root's tools.
    fn search_path(&self) -> String {
        let own = self.context.kubernetes.bin_dir().display();
        format!("{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    }

    fn kubectl(&self, arguments: &[&str]) -> bool {
        succeeds(self.context.kubectl().args(arguments))
    }

    /// Idempotent, so that a first try that was cut short does no harm.
    fn apply(&self, file: &str) -> bool {
        let file = self.context.state.join("config").join(file).display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file])
    }

    fn in_background(
        self: &Arc<Self>,
        what: &'static str,
        done: impl Fn(&Self) -> bool + Send + 'static,
    ) -> thread::JoinHandle<anyhow::Result<()>> {
        let manager = Arc::clone(self);
        thread::spawn(move || manager.until(what, done))
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        while !done(self) {
            if let Some(name) = *self.hopeless.lock().unwrap_or_else(PoisonError::into_inner) {
                bail!("{name} ended {HOPELESS} times: see its log");
            }
            if Instant::now() > self.deadline {
                bail!("waited {} s in all, last for {what}", BOOT_DEADLINE.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn dns_answers() -> bool {
    let server = format!("{DNS_ADDRESS}:53").parse();
    server.is_ok_and(|server| resolve::address(server, "kubernetes.default.svc.cluster.local").is_ok())
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
