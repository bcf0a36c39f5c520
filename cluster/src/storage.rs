//! Keeps the pool of volumes full: a volume whose claim is gone is emptied and offered again. Local volumes have no
//! provisioner that would do it.

use crate::{config, helper::Context, paths::StateDir};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

#[derive(Debug, Deserialize)]
struct Volume {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// Makes the empty folders of the pool.
pub(crate) fn make_folders(state: &StateDir) -> anyhow::Result<()> {
    for number in 1..=config::VOLUMES {
        fs::create_dir_all(folder(state, &format!("local-{number:02}")))?;
    }
    Ok(())
}

/// Follows the pool until the watch ends; the manager then starts it again.
pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    let mut watch = context
        .kubectl()
        .args([
            "get",
            "persistentvolumes",
            "--selector=shopwright.dev/pool=local",
            "--watch",
            "--output=json",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start kubectl")?;
    let events = watch.stdout.take().context("kubectl's output")?;
    for volume in serde_json::Deserializer::from_reader(events).into_iter::<Volume>() {
        let volume = volume.context("kubectl's output")?;
        if volume.status.phase == "Released" {
            offer_again(context, &volume.metadata.name)?;
            println!("{} is empty and offered again", volume.metadata.name);
        }
    }
    watch.wait()?;
    Ok(())
}

/// The claim is gone, and with it every pod that used it: the API server deletes no claim that is in use.
fn offer_again(context: &Context, name: &str) -> anyhow::Result<()> {
    let deleted = context
        .kubectl()
        .args(["delete", "persistentvolume", name, "--ignore-not-found"])
        .stdin(Stdio::null())
        .status()?;
    if !deleted.success() {
        bail!("delete volume {name}: {deleted}");
    }
    let folder = folder(&context.state, name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context(folder.display().to_string()),
        _ => fs::create_dir(&folder)?,
    }
    feed(
        context.kubectl().args(["create", "--filename=-"]),
        &config::volume(&context.state, name),
    )
}

fn feed(command: &mut Command, text: &str) -> anyhow::Result<()> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(text.as_bytes())?;
    let ended = child.wait()?;
    if !ended.success() {
        bail!("create a volume: {ended}");
    }
    Ok(())
}

fn folder(state: &StateDir, name: &str) -> PathBuf {
    state.join("volumes").join(name)
}
