//! An image of one static binary and nothing else.

use super::oci::{Built, Image, write};
use anyhow::Context as _;
use std::{collections::BTreeMap, fs, path::Path};

/// What an image of one program is called and says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The image, and the file in its root that it starts.
    pub name: &'static str,
    /// One line for the image's label.
    pub title: &'static str,
}

/// Writes the image of the static `binary` to `folder`; older images of the same name there are removed.
pub fn single(program: Program, version: &str, binary: &Path, folder: &Path) -> anyhow::Result<Built> {
    let content = fs::read(binary).with_context(|| binary.display().to_string())?;
    let inside = format!("/{}", program.name);
    let image = Image {
        name: program.name.into(),
        version: version.into(),
        title: program.title.into(),
        license: "Apache-2.0".into(),
        user: super::NON_ROOT.into(),
        entrypoint: vec![inside.clone()],
        environment: Vec::new(),
        files: BTreeMap::from([(inside, content)]),
    };
    write(&image, folder)
}
