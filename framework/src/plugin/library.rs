//! A plugin library as a file: inspected before it is loaded.

use super::lock::Pin;
use super::record::{PLAIN, Seen};
use crate::{AtPath, Error, Result, regular};
use object::{Architecture, FileKind, Object, ObjectKind, ObjectSegment, ObjectSymbol};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The prefix that `export_plugin!` adds to the crate's name.
const PREFIX: &str = "foil_plugin_";

/// A file with a plugin record. None of its code has run.
#[derive(Debug)]
pub struct Library {
    /// As the user named it.
    pub(super) path: PathBuf,
    /// The record's symbol.
    pub(super) symbol: String,
    /// The record's plain bytes.
    pub(super) plain: Vec<u8>,
    /// The parsed record.
    pub(super) seen: Seen,
    /// SHA-256 of the file, in hex.
    pub(super) sha256: String,
    /// The open file, so that the file that is loaded is the one that was inspected, even if its
    /// name is reused meanwhile.
    pub(super) file: File,
}

/// The kind of a shared library.
pub(super) enum Found {
    /// A plugin library.
    Plugin(Box<Library>),
    /// A sound shared library without a plugin record; the error says so.
    Other(Error),
}

impl Library {
    /// Its entry in a lock.
    pub fn pin(&self) -> (String, Pin) {
        Pin::of(&self.path, self.seen.package(), &self.seen.version, &self.sha256)
    }

    /// A description for the user.
    pub fn describe(&self) -> String {
        let verdict = match self.seen.difference() {
            None => "  built as this program: it can be loaded".to_string(),
            Some(table) => format!("  built differently from this program: it cannot be loaded\n{table}"),
        };
        let (path, package, version) = (self.path.display(), self.seen.package(), &self.seen.version);
        format!("{path}: {package} {version}\n  sha256    {}\n{verdict}", self.sha256)
    }

    /// Inspects the file.
    ///
    /// # Errors
    /// What the file is instead of a shared library, or the problem with its record.
    pub(super) fn inspect(path: &Path) -> Result<Found> {
        let file = match regular::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(format!("there is no plugin library {}", path.display())).help(
                    "cargo puts it into target/release, or where its .cargo/config.toml says: cargo build --release",
                ));
            }
            error => error.at("reading", path)?,
        };
        let opened = file.try_clone().at("reading", path)?;
        let bytes = regular::content(file, regular::LIBRARY).at("reading", path)?;
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let wrong = |what: &str, help: &str| Error::new(format!("{} {what}", path.display())).help(help);
        if bytes.starts_with(b"!<arch>") {
            let help = "name the lib….so beside it; `crate-type = [\"cdylib\", \"rlib\"]` in its Cargo.toml makes one";
            return Err(wrong("is a library for linking, not for loading", help));
        }
        if FileKind::parse(bytes.as_slice()).is_err() {
            return Err(wrong("is not a library", "name the lib….so that cargo built"));
        }
        let file = object::File::parse(bytes.as_slice()).ok().filter(|file| whole(file, bytes.len() as u64));
        let Some(file) = file else {
            return Err(wrong("is damaged: parts of it are missing", "rebuild it, or copy it again"));
        };
        if file.kind() != ObjectKind::Dynamic {
            return Err(wrong("is not a shared library", "name the lib….so that cargo built"));
        }
        if !runs_here(file.architecture()) {
            let what = format!("is for another processor ({:?})", file.architecture());
            return Err(wrong(&what, "build it on this machine"));
        }

        let named = |symbol: &object::Symbol<'_, '_>| Some((symbol.name().ok()?.to_string(), symbol.address()));
        let symbols = file.dynamic_symbols().filter(ObjectSymbol::is_definition).filter_map(|symbol| named(&symbol));
        let records: Vec<(String, u64)> = symbols.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let (symbol, address) = match records.as_slice() {
            [] => return Ok(Found::Other(no_record(path, &bytes))),
            [one] => one.clone(),
            several => own(several, path).ok_or_else(|| {
                let names: Vec<&str> = several.iter().map(|(name, _)| &name[PREFIX.len()..]).collect();
                let what = format!("holds the plugin crates {}, and its name matches none of them", names.join(", "));
                wrong(&what, "call it libNAME.so after the one that is meant")
            })?,
        };
        let plain = file.segments().find_map(|part| part.data_range(address, PLAIN as u64).ok().flatten());
        let plain = plain.unwrap_or_default().to_vec();
        let seen = Seen::read(&plain).map_err(|error| error.context(path.display()))?;
        Ok(Found::Plugin(Box::new(Self { path: path.to_path_buf(), symbol, plain, seen, sha256, file: opened })))
    }

    /// The file's name.
    pub(super) fn file_name(&self) -> String {
        file_name(&self.path)
    }
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).display().to_string()
}

/// A crate that uses other plugin crates exports their records too; the file's name shows which is
/// its own.
fn own(records: &[(String, u64)], path: &Path) -> Option<(String, u64)> {
    let stem = path.file_stem()?.to_str()?;
    let name = stem.strip_prefix("lib").unwrap_or(stem);
    records.iter().find(|(symbol, _)| symbol[PREFIX.len()..] == *name).cloned()
}

/// Whether everything that would be mapped into memory is in the file.
fn whole(file: &object::File<'_>, len: u64) -> bool {
    file.segments().all(|part| {
        let (start, size) = part.file_range();
        start.checked_add(size).is_some_and(|end| end <= len)
    })
}

fn runs_here(architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 => cfg!(target_arch = "x86_64"),
        Architecture::Aarch64 => cfg!(target_arch = "aarch64"),
        _ => false,
    }
}

fn no_record(path: &Path, bytes: &[u8]) -> Error {
    // rustc embeds its name in what it builds.
    let rust = bytes.windows(14).any(|text| text == b"rustc version ");
    let (what, help) = if rust {
        ("it exports no plugin", "write `foil::export_plugin!();` into the crate's lib.rs")
    } else {
        ("it was not built by Rust", "name the lib….so of a plugin crate; `foil new-plugin` makes one")
    };
    Error::new(format!("{} is not a plugin of foil: {what}", path.display())).help(help)
}
