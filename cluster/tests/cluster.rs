//! Boots real clusters. Needs root, the built binaries and `SHOPWRIGHT_CLUSTER_TESTS=1`, which `cargo xtask test` sets.

#![expect(clippy::unwrap_used, reason = "a step that fails is the test that fails")]

use shopwright_cluster::{Cluster, Kubernetes, Options, Snapshot, down, images, residue};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

const HELPER: &str = env!("CARGO_BIN_EXE_shopwright-cluster");

/// Two boots at once are part of one test; more would only make each slower.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The folder of a test's clusters, which are ended however the test ends. `None`, with the reason said, where none can run.
struct Ground {
    folder: tempfile::TempDir,
    before: Snapshot,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    fn new() -> Option<Self> {
        let reason = if std::env::var_os("SHOPWRIGHT_CLUSTER_TESTS").is_none() {
            "SHOPWRIGHT_CLUSTER_TESTS is not set"
        } else if !rustix::process::geteuid().is_root() {
            "it needs root"
        } else if Kubernetes::cached().unwrap().is_none() {
            "Kubernetes is not built yet"
        } else {
            let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            return Some(Self {
                folder: new_folder(),
                before: Snapshot::take().unwrap(),
                _turn: turn,
            });
        };
        // Unlike println!, this is shown of a test that passes.
        let _ = writeln!(std::io::stdout(), "left out: {reason}");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn up(&self, name: &str) -> Cluster {
        let options = Options {
            state_dir: Some(self.path(name)),
            helper: Some(HELPER.into()),
            ..Options::default()
        };
        Cluster::up(&options, &mut |step| println!("{name}: {step}")).unwrap()
    }

    fn assert_nothing_left(&self, name: &str) {
        assert_eq!(residue(&self.path(name)).unwrap(), Vec::<String>::new());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            let _ = down(&entry.path());
        }
    }
}

/// Where `cargo xtask test` can find the clusters of a run that was interrupted, and end them.
fn new_folder() -> tempfile::TempDir {
    match std::env::var_os("SHOPWRIGHT_CLUSTER_FOLDER") {
        Some(parent) => {
            fs::create_dir_all(&parent).unwrap();
            tempfile::tempdir_in(parent).unwrap()
        }
        None => tempfile::tempdir().unwrap(),
    }
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn apply(cluster: &Cluster, manifest: &str) {
    let mut child = cluster
        .kubectl()
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// A pod that finds the API by its DNS name, with its own token, and writes to a claimed volume as a user that is not root.
fn manifest(image: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{name: probe, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: probe, namespace: probe}}
data:
  kubeconfig: |
    apiVersion: v1
    kind: Config
    clusters: [{{name: c, cluster: {{server: "https://kubernetes.default.svc", certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}}}}]
    users: [{{name: u, user: {{tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}}}}]
    contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
    current-context: c
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: probe, namespace: probe}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: probe, namespace: probe}}
spec:
  restartPolicy: OnFailure
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: probe
    image: {image}
    args: [--kubeconfig=/config/kubeconfig, --cache-dir=/data/cache, api-versions]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: config, mountPath: /config}}, {{name: data, mountPath: /data}}]
  volumes:
  - {{name: config, configMap: {{name: probe}}}}
  - {{name: data, persistentVolumeClaim: {{claimName: probe}}}}
"#
    )
}

#[test]
fn a_cluster_runs_pods_and_leaves_nothing_behind() {
    let Some(ground) = Ground::new() else { return };
    let cluster = ground.up("one");
    let program = images::Program {
        name: "kubectl",
        title: "kubectl",
    };
    let binary = cluster.kubernetes().program("kubectl");
    let archives = ground.folder.path().join("archives");
    let image = images::single(program, "1", &binary, &archives).unwrap();
    cluster.import_images(std::slice::from_ref(&image.archive)).unwrap();
    assert!(cluster.images().unwrap().contains(&image.reference));

    apply(&cluster, &manifest(&image.reference));
    let phase = || {
        run(cluster
            .kubectl()
            .args(["get", "pod", "probe", "-n=probe", "-o=jsonpath={.status.phase}"]))
    };
    eventually("the pod to reach the API", || phase() == "Succeeded");
    let said = run(cluster.kubectl().args(["logs", "probe", "--namespace=probe"]));
    assert!(said.contains("apps/v1"), "{said}");

    // What follows needs one that works.
    cluster.restart_kubelet().unwrap();
    claimed_volume_is_offered_again(&cluster);
    service_is_reached_from_loopback(&cluster);
    assert!(
        fs::read_to_string(cluster.audit_log())
            .unwrap()
            .contains("system:serviceaccount:probe:default")
    );
    // Started again, it is the same cluster.
    assert_eq!(ground.up("one").kubeconfig(), cluster.kubeconfig());
    run(cluster.kubectl().args(["get", "namespace", "probe"]));

    assert!(
        !residue(&ground.path("one")).unwrap().is_empty(),
        "a running cluster counts as residue"
    );
    down(&ground.path("one")).unwrap();
    ground.assert_nothing_left("one");
    assert_eq!(ground.before.changes(&Snapshot::take().unwrap()), Vec::<String>::new());
    down(&ground.path("one")).unwrap();
}

fn claimed_volume_is_offered_again(cluster: &Cluster) {
    let name = run(cluster
        .kubectl()
        .args(["get", "pvc", "probe", "-n=probe", "-o=jsonpath={.spec.volumeName}"]));
    let folder = cluster.state_dir().root().join("volumes").join(&name);
    assert!(
        fs::read_dir(&folder).unwrap().next().is_some(),
        "the pod wrote to its volume"
    );
    run(cluster
        .kubectl()
        .args(["delete", "pod/probe", "pvc/probe", "--namespace=probe"]));
    eventually("the volume to be empty and available", || {
        let state = cluster
            .kubectl()
            .args(["get", "pv", &name, "-o=jsonpath={.status.phase}"])
            .output()
            .unwrap();
        state.stdout == b"Available" && fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none())
    });
}

/// The API server through a Service with another name: it is deleted and made again while the forwarder stays.
fn service_is_reached_from_loopback(cluster: &Cluster) {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: door, namespace: probe}\nspec: {ports: [{port: 8443, targetPort: 6443}]}\n---\n\
                   apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: door, namespace: probe, labels: {kubernetes.io/service-name: door}}\n\
                   addressType: IPv4\nports: [{port: 6443}]\nendpoints: [{addresses: [10.88.0.1]}]\n";
    let address = cluster.forward("door.probe:8443").unwrap();
    for _ in 0..2 {
        assert!(!speaks_tls(address), "there is no Service yet");
        apply(cluster, service);
        eventually("the Service to be reached", || speaks_tls(address));
        run(cluster
            .kubectl()
            .args(["delete", "service/door", "endpointslice/door", "--namespace=probe"]));
        eventually("the Service to be gone", || !speaks_tls(address));
    }
    assert_eq!(cluster.forward("door.probe:8443").unwrap(), address);
    assert!(cluster.forward("nonsense").is_err());
}

/// Sends what is no TLS, which a TLS server answers with an alert or in plain HTTP; nobody there closes without a word.
fn speaks_tls(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    stream.read(&mut [0; 1]).is_ok_and(|count| count == 1)
}

#[test]
fn two_clusters_live_side_by_side_and_end_apart() {
    let Some(ground) = Ground::new() else { return };
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| ground.up("one"));
        let two = ground.up("two");
        (one.join().unwrap(), two)
    });
    run(one.kubectl().args(["create", "namespace", "mine"]));
    assert!(
        !two.kubectl()
            .args(["get", "namespace", "mine"])
            .output()
            .unwrap()
            .status
            .success()
    );

    // The supervisor is killed as by a crash: its cluster dies whole, the other one lives.
    let supervisor = helper_process("supervisor", &ground.path("one")).unwrap();
    let pid = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("every process of the crashed cluster to end", || {
        let left = residue(&ground.path("one")).unwrap();
        !left.iter().any(|line| line.contains("process"))
    });
    assert!(Cluster::open(&ground.path("one")).is_err());
    run(two.kubectl().args(["get", "--raw", "/readyz"]));

    // What crashed is started again in the same folder; the ports of both are free for others afterwards.
    let again = ground.up("one");
    assert!(
        !again
            .kubectl()
            .args(["get", "namespace", "mine"])
            .output()
            .unwrap()
            .status
            .success()
    );
    let port = again.forward("10.88.0.1:6443").unwrap();
    for name in ["one", "two"] {
        down(&ground.path(name)).unwrap();
        ground.assert_nothing_left(name);
    }
    TcpListener::bind(port).unwrap();
    assert_eq!(ground.before.changes(&Snapshot::take().unwrap()), Vec::<String>::new());
}

#[test]
fn a_boot_that_was_cut_short_is_cleaned_up() {
    let Some(ground) = Ground::new() else { return };
    let state = ground.path("half");
    let mut up = Command::new(HELPER)
        .arg("up")
        .arg(&state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the first process to run", || helper_process("init", &state).is_some());
    up.kill().unwrap();
    up.wait().unwrap();
    down(&state).unwrap();
    ground.assert_nothing_left("half");
    assert_eq!(ground.before.changes(&Snapshot::take().unwrap()), Vec::<String>::new());
}

/// The process that plays `part` for the cluster in `state`.
fn helper_process(part: &str, state: &Path) -> Option<i32> {
    let wanted = format!("cluster-helper\0{part}\0{}\0", state.display());
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let arguments = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        // `unshare` carries the same words, as what it is to start.
        (arguments.contains(&wanted) && !arguments.starts_with("unshare"))
            .then(|| entry.file_name().to_str()?.parse().ok())?
    })
}
