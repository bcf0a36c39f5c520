//! Redis Stack for the local cluster, laid out as in the official image, with only the files that are used. Never published.

use super::{
    NON_ROOT,
    oci::{Built, Image, write},
};
use anyhow::{Context as _, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const HOME: &str = "/opt/redis-stack";
const VERSION: &str = "7.4.1";
/// Where the programs look for the loader: this path is written in them.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const FILES: [&str; 6] = [
    "bin/redis-server",
    "bin/redis-cli",
    "lib/rejson.so",
    "lib/redisearch.so",
    "lib/libssl.so.1.1",
    "lib/libcrypto.so.1.1",
];

/// Writes the image of the installation at `root` (which holds `bin` and `lib`) to `folder`.
///
/// The C library and what else the files need come from this machine. There is no shell in it.
pub fn redis(root: &Path, folder: &Path) -> anyhow::Result<Built> {
    let mut files = BTreeMap::new();
    for name in FILES {
        let path = root.join(name);
        files.insert(format!("{HOME}/{name}"), read(&path)?);
        for library in libraries(&path, &root.join("lib"))? {
            let inside = match library.file_name().and_then(|name| name.to_str()) {
                Some(name) if LOADER.ends_with(name) => LOADER.to_owned(),
                Some(name) => format!("{HOME}/lib/{name}"),
                None => bail!("{} has no name", library.display()),
            };
            files.insert(inside, read(&library)?);
        }
    }
    let image = Image {
        name: "redis-stack".into(),
        version: VERSION.into(),
        title: "Redis Stack server for a local cluster".into(),
        license: "RSALv2 OR SSPL-1.0".into(),
        user: NON_ROOT.into(),
        entrypoint: vec![format!("{HOME}/bin/redis-server")],
        environment: vec![format!("PATH={HOME}/bin"), format!("LD_LIBRARY_PATH={HOME}/lib")],
        files,
    };
    write(&image, folder)
}

/// The shared libraries that the loader would take for `file`, as full paths.
fn libraries(file: &Path, own: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .env("LD_LIBRARY_PATH", own)
        .arg(file)
        .output()
        .context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "ldd {}: {text}{}",
            file.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&text)
}

/// Lines of ldd: `name => /path (0x...)`, `/path (0x...)`, or one without a path for what the kernel brings.
fn parse(text: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("not found") {
            bail!("a library is missing: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        if let Some(path) = path.split(' ').next().filter(|path| path.starts_with('/')) {
            found.push(path.into());
        }
    }
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_ldd_are_found() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let paths: Vec<PathBuf> = vec![
            "/lib/x86_64-linux-gnu/libc.so.6".into(),
            "/lib64/ld-linux-x86-64.so.2".into(),
        ];
        assert_eq!(parse(text).unwrap(), paths);
        assert!(parse("\tlibssl.so.1.1 => not found\n").is_err());
    }
}
