//! Which file Redis appends to, and how long it is. Reads its folder; `cut` shortens that one file.

use std::fs::{File, read_to_string};
use std::io;
use std::path::{Path, PathBuf};

/// The file that Redis appends to at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppendFile {
    pub(super) path: PathBuf,
    pub(super) length: u64,
}

/// The newest file of the manifest in a server's folder; `None` while there is none.
pub(super) fn newest(directory: &Path) -> io::Result<Option<AppendFile>> {
    let folder = directory.join("appendonlydir");
    let manifest = match read_to_string(folder.join("appendonly.aof.manifest")) {
        Ok(manifest) => manifest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(name) = newest_name(&manifest) else {
        return Ok(None);
    };
    let path = folder.join(name);
    let length = std::fs::metadata(&path)?.len();
    Ok(Some(AppendFile { path, length }))
}

/// Lines are `file NAME seq N type b|h|i`: base, history, incremental. Written in order, so the last incremental is the newest.
fn newest_name(manifest: &str) -> Option<&str> {
    manifest
        .lines()
        .filter(|line| line.ends_with(" type i"))
        .filter_map(|line| line.split(' ').nth(1))
        .next_back()
}

/// Cuts the file to `length`; returns how many bytes that took.
pub(super) fn cut(path: &Path, length: u64) -> io::Result<u64> {
    let file = File::options().write(true).open(path)?;
    let lost = file.metadata()?.len().saturating_sub(length);
    if lost > 0 {
        file.set_len(length)?;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_incremental_file_is_the_newest() {
        let manifest = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                        file appendonly.aof.2.incr.aof seq 2 type i\n\
                        file appendonly.aof.3.incr.aof seq 3 type i\n\
                        file appendonly.aof.1.incr.aof seq 1 type h\n";
        assert_eq!(newest_name(manifest), Some("appendonly.aof.3.incr.aof"));
        assert_eq!(newest_name("file appendonly.aof.1.base.rdb seq 1 type b\n"), None);
    }
}
