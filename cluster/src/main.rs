//! `shopwright-cluster`: the cluster alone, for its own tests and for whoever works on it. `cargo xtask` is the usual way in.

use shopwright_cluster::{Cluster, Kubernetes, Options, StateDir, down, preflight, residue};
use std::{env, path::PathBuf, process::ExitCode};

const USAGE: &str = "shopwright-cluster preflight | build | up [DIR] | images DIR | redis-image INSTALLATION DIR | example-worker-image DIR | import DIR ARCHIVE... | forward DIR TARGET | restart-kubelet DIR | down [DIR]";

fn main() -> ExitCode {
    if let Some(code) = shopwright_cluster::run_if_asked() {
        return code;
    }
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut say = |step: &str| println!("{step}");
    match words.as_slice() {
        ["preflight"] => preflight::check().iter().for_each(|problem| println!("{problem}")),
        ["build"] => println!("{}", Kubernetes::build(&mut say)?.bin_dir().display()),
        ["up", folder @ ..] if folder.len() < 2 => {
            let options = Options {
                state_dir: folder.first().map(PathBuf::from),
                ..Options::default()
            };
            println!(
                "export KUBECONFIG={}",
                Cluster::up(&options, &mut say)?.kubeconfig().display()
            );
        }
        ["import", folder, archives @ ..] => {
            let archives: Vec<PathBuf> = archives.iter().map(PathBuf::from).collect();
            let cluster = Cluster::open(folder.as_ref())?;
            cluster.import_images(&archives)?;
            cluster.images()?.iter().for_each(|image| println!("{image}"));
        }
        ["redis-image", root, folder] => println!(
            "{:?}",
            shopwright_cluster::images::redis(root.as_ref(), folder.as_ref())?
        ),
        ["images", folder] => println!(
            "{:#?}",
            shopwright_cluster::images::build(&shopwright_cluster::images::Program::ALL, folder.as_ref())?
        ),
        ["example-worker-image", folder] => {
            println!("{:?}", shopwright_cluster::images::example_worker(folder.as_ref())?);
        }
        ["forward", folder, target] => println!("{}", Cluster::open(folder.as_ref())?.forward(target)?),
        ["restart-kubelet", folder] => Cluster::open(folder.as_ref())?.restart_kubelet()?,
        ["down", folder @ ..] if folder.len() < 2 => {
            let folder = folder
                .first()
                .map_or_else(StateDir::default_path, |path| Ok(path.into()))?;
            down(&folder)?;
            residue(&folder)?.iter().for_each(|left| println!("left: {left}"));
        }
        _ => anyhow::bail!("usage: {USAGE}"),
    }
    Ok(())
}
