//! The program that this library is part of: its file, and how it is started.
//!
//! The command of cargo is one file. In a Python process the program is Python, and foil is a
//! module that it loads; that module calls [`set`] first.

use crate::{AtPath, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file that foil is in. `libfoil_cuda.so` is looked for beside it.
    pub file: PathBuf,
    /// The words that start it again; a command's arguments follow them.
    pub start: Vec<OsString>,
    /// What people type to start it, as messages show it.
    pub typed: &'static str,
}

static SET: OnceLock<Program> = OnceLock::new();

/// Says what the program is, where it is not the running executable. The first call counts.
pub fn set(program: Program) {
    let _ = SET.set(program);
}

/// The file that foil is in.
///
/// # Errors
/// When the system does not say.
pub fn file() -> Result<PathBuf> {
    match SET.get() {
        Some(program) => Ok(program.file.clone()),
        None => std::env::current_exe().at("finding", Path::new("this program")),
    }
}

/// The words that start the program again.
///
/// # Errors
/// When the system does not say.
pub fn start() -> Result<Vec<OsString>> {
    match SET.get() {
        Some(program) => Ok(program.start.clone()),
        None => Ok(vec![file()?.into()]),
    }
}

/// A command that starts the program again, without arguments.
///
/// # Errors
/// When the system does not say where the program is.
pub fn command() -> Result<Command> {
    let words = start()?;
    let (first, rest) = words.split_first().map_or((OsString::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    let mut command = Command::new(first);
    command.args(rest);
    Ok(command)
}

/// What people type to start it.
pub fn typed() -> &'static str {
    SET.get().map_or("cargo foil", |program| program.typed)
}
