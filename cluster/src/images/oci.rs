//! One image of one layer as an OCI archive (image-spec 1.1), which is also what `docker load` reads. Writes one file.

use super::REGISTRY;
use crate::paths::hex;
use anyhow::{Context as _, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What an image is made of.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Repository below the registry, such as `shopwright-inventory`.
    pub(super) name: String,
    /// First part of the tag; the rest is the digest's beginning.
    pub(super) version: String,
    /// One line on what it is.
    pub(super) title: String,
    pub(super) license: String,
    pub(super) user: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) environment: Vec<String>,
    /// Absolute path in the image -> content. All are executable by everybody and belong to root.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// An archive that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Full reference: registry, name, and a tag of version and digest.
    pub reference: String,
    /// The archive.
    pub archive: PathBuf,
    /// `sha256:...` of the manifest.
    pub digest: String,
    /// Bytes of the compressed layer: what a node would fetch.
    pub size: u64,
}

/// A blob and how others name it.
struct Blob {
    bytes: Vec<u8>,
    digest: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: hex(&Sha256::digest(&bytes)),
            bytes,
        }
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes.len()})
    }
}

/// Writes `image` to `folder` and removes older archives of the same name there.
pub(super) fn write(image: &Image, folder: &Path) -> anyhow::Result<Built> {
    let plain_layer = layer(&image.files)?;
    let diff_id = hex(&Sha256::digest(&plain_layer));
    let layer = Blob::new(compress(&plain_layer)?);
    let labels = json!({
        "org.opencontainers.image.title": image.title,
        "org.opencontainers.image.version": image.version,
        "org.opencontainers.image.licenses": image.license,
    });
    let config = Blob::new(serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": image.user, "Entrypoint": image.entrypoint, "Env": image.environment, "WorkingDir": "/", "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    }))?);
    let manifest = Blob::new(serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
        "annotations": labels,
    }))?);
    let tag = format!(
        "{}-{}",
        image.version,
        manifest.digest.get(..12).unwrap_or(&manifest.digest)
    );
    let reference = format!("{REGISTRY}/{}:{tag}", image.name);
    let files = archive_files(&reference, &tag, &[&config, &layer, &manifest])?;
    let archive = put_in_place(folder, &image.name, &tag, &tar_of(&files)?)?;
    Ok(Built {
        reference,
        archive,
        digest: format!("sha256:{}", manifest.digest),
        size: layer.bytes.len() as u64,
    })
}

/// The files of the archive; the last blob is the manifest.
fn archive_files(reference: &str, tag: &str, blobs: &[&Blob; 3]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let [config, layer, manifest] = blobs;
    let mut entry = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    entry["annotations"] = json!({"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag});
    entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]});
    let for_docker = json!([{"Config": config.path(), "RepoTags": [reference], "Layers": [layer.path()]}]);
    let mut files = BTreeMap::from([
        ("index.json".to_owned(), serde_json::to_vec(&index)?),
        ("manifest.json".to_owned(), serde_json::to_vec(&for_docker)?),
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ]);
    files.extend(blobs.iter().map(|blob| (blob.path(), blob.bytes.clone())));
    Ok(files)
}

fn put_in_place(folder: &Path, name: &str, tag: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}_{tag}.tar"));
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    // A temporary file is its maker's alone; an archive is there to be read.
    let readable = fs::Permissions::from_mode(0o644);
    unfinished.as_file().set_permissions(readable)?;
    unfinished.write_all(bytes)?;
    unfinished.persist(&path).with_context(|| path.display().to_string())?;
    let prefix = format!("{name}_");
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path() != path && entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(path)
}

/// A tar of the files and the folders above them, in order of their paths, with nothing of this machine in it.
fn layer(files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let mut relative = BTreeMap::new();
    for (path, content) in files {
        let path = path
            .strip_prefix('/')
            .with_context(|| format!("{path} is not absolute"))?;
        relative.insert(path.to_owned(), content.clone());
    }
    tar_of(&relative)
}

fn tar_of(files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let folders: BTreeSet<&Path> = files
        .keys()
        .flat_map(|path| Path::new(path).ancestors().skip(1))
        .collect();
    for folder in folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut header = header(tar::EntryType::Directory, 0)?;
        builder.append_data(&mut header, format!("{}/", folder.display()), [].as_slice())?;
    }
    for (path, content) in files {
        let mut header = header(tar::EntryType::Regular, content.len() as u64)?;
        builder.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

fn header(kind: tar::EntryType, size: u64) -> anyhow::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    Ok(header)
}

fn compress(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// The full reference of the image in an archive written here.
pub fn reference_of(archive: &Path) -> anyhow::Result<String> {
    let index: Value = serde_json::from_slice(&member(archive, "index.json")?)?;
    let name = index["manifests"][0]["annotations"]["io.containerd.image.name"].as_str();
    name.map(str::to_owned)
        .with_context(|| format!("{} names no image", archive.display()))
}

fn member(archive: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let file = fs::File::open(archive).with_context(|| archive.display().to_string())?;
    for entry in tar::Archive::new(file).entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new(name) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    bail!("{} holds no {name}", archive.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    /// Checks what a registry or a node checks: every digest and size in the archive, from the index down to the plain layer.
    fn verify(archive: &Path) -> anyhow::Result<()> {
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"]
                .as_str()
                .and_then(|digest| digest.strip_prefix("sha256:"))
                .context("digest")?;
            let bytes = member(archive, &format!("blobs/sha256/{digest}"))?;
            let same =
                hex(&Sha256::digest(&bytes)) == digest && descriptor["size"].as_u64() == Some(bytes.len() as u64);
            anyhow::ensure!(same, "blob {digest} is not what it says");
            Ok(bytes)
        };
        let index: Value = serde_json::from_slice(&member(archive, "index.json")?)?;
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])?)?;
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])?)?;
        let mut plain = Vec::new();
        GzDecoder::new(blob(&manifest["layers"][0])?.as_slice()).read_to_end(&mut plain)?;
        let diff_id = format!("sha256:{}", hex(&Sha256::digest(&plain)));
        anyhow::ensure!(
            config["rootfs"]["diff_ids"] == json!([diff_id]),
            "the layer is not the configured one"
        );
        Ok(())
    }

    fn image(content: &str) -> Image {
        Image {
            name: "thing".into(),
            version: "0.1.0".into(),
            title: "A thing".into(),
            license: "Apache-2.0".into(),
            user: "65532:65532".into(),
            entrypoint: vec!["/bin/thing".into()],
            environment: Vec::new(),
            files: BTreeMap::from([("/bin/thing".into(), content.into()), ("/etc/a/b".into(), Vec::new())]),
        }
    }

    #[test]
    fn the_same_input_gives_the_same_archive_byte_for_byte() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = write(&image("x"), one.path()).unwrap();
        let second = write(&image("x"), two.path()).unwrap();
        assert_eq!(first.digest, second.digest);
        assert_eq!(fs::read(&first.archive).unwrap(), fs::read(&second.archive).unwrap());
        verify(&first.archive).unwrap();
        assert_eq!(reference_of(&first.archive).unwrap(), first.reference);
        assert_eq!(
            first.reference,
            format!(
                "shopwright.local/thing:0.1.0-{}",
                &first.digest["sha256:".len()..][..12]
            )
        );
    }

    #[test]
    fn another_content_replaces_the_older_archive() {
        let folder = tempfile::tempdir().unwrap();
        let first = write(&image("x"), folder.path()).unwrap();
        let second = write(&image("y"), folder.path()).unwrap();
        assert_ne!(first.reference, second.reference);
        assert!(!first.archive.exists() && second.archive.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_come_before_what_they_hold() {
        let bytes = layer(&image("x").files).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths, ["bin/", "etc/", "etc/a/", "bin/thing", "etc/a/b"]);
    }
}
