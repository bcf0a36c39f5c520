//! Loads anybody's shop by HTTP and reports. All of it is in `shopwright-load`.

use anyhow::Result;
use shopwright_load::cli::{self, Arguments};

/// Prints the report; an error when the shop broke a promise.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    cli::run(arguments)
}
