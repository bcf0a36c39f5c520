//! `cargo xtask storm`.
