//! The program's side: from a path to plugins in the registry.

use super::export::{Brought, Hello, tracing_id};
use super::library::{Found, Library};
use super::lock::{LOCK, Lock, Pin};
use super::record::{PLAIN, Record};
use super::shared::shared;
use crate::registry::{self, Plugin};
use crate::{AtPath, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tracing::{Dispatch, dispatcher};

/// A library whose plugins are registered. It stays loaded until the program ends.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Where it is.
    pub path: PathBuf,
    /// Its package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Kind and name of what it registered.
    pub plugins: Vec<(&'static str, &'static str)>,
    listen: Option<fn(&Dispatch)>,
}

impl Loaded {
    /// How a lock writes it down.
    pub fn pin(&self) -> (String, Pin) {
        Pin::of(&self.path, &self.package, &self.version, &self.sha256)
    }
}

static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// The libraries that were loaded, in that order.
pub fn loaded() -> Vec<Loaded> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Loads a library, or every plugin library in a folder, and registers what it brings. One that is
/// loaded already is left as it is.
///
/// The user names it, on the command line: a `plugins.lock` in the current folder must hold it.
///
/// # Errors
/// What is wrong with it. Nothing of a library runs before its record was found equal to this
/// program's.
pub fn load(path: &Path) -> Result<()> {
    under_lock(path, Path::new("."), &format!("foil plugins lock --plugins {}", path.display()))
}

/// As [`load`], for a library that the pipeline in `file` lists; the lock is beside that. A run's
/// folder may come from anybody, so what it lists needs a lock there, or is loaded already because
/// the user named it.
///
/// # Errors
/// As [`load`], or that the folder has no lock.
pub fn load_listed(path: &Path, file: &Path) -> Result<()> {
    let from = file.parent().filter(|from| !from.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_run = from.join("resolved.yaml").exists();
    // A run by its folder, which `foil plugins lock` takes as well.
    let command = format!("foil plugins lock {}", if is_run { from } else { file }.display());
    if !is_run || Lock::beside(from).map_or(true, |lock| lock.is_some()) {
        return under_lock(path, from, &command);
    }
    let known = path.canonicalize().ok();
    if loaded().iter().any(|library| Some(&library.path) == known.as_ref()) {
        return Ok(());
    }
    let (library, run) = (path.display(), from.display());
    Err(Error::new(format!("{run} has no {LOCK} that holds {library}; it was not loaded"))
        .help(format!("if you trust the library: --plugins {library}, or `{command}`")))
}

/// Loads what the lock in `from` allows, if there is one; `command` writes that lock.
fn under_lock(path: &Path, from: &Path, command: &str) -> Result<()> {
    let lock = Lock::beside(from).map_err(|error| error.help(format!("write it again: {command}")))?;
    look(path)?.iter().try_for_each(|library| one(library, lock.as_ref(), command))
}

/// Looks at a library, or at every plugin library in a folder, without running anything of it.
///
/// # Errors
/// What is wrong with the file; a library that was built otherwise than this program is no error
/// here.
pub fn look(path: &Path) -> Result<Vec<Library>> {
    if !path.is_dir() {
        return match Library::inspect(path)? {
            Found::Plugin(library) => Ok(vec![*library]),
            Found::Other(error) => Err(error),
        };
    }
    let mut found = Vec::new();
    for file in libraries(path)? {
        // What is sound but no plugin may lie beside them: cargo's folder has macros.
        if let Found::Plugin(library) = Library::inspect(&file)? {
            found.push(*library);
        }
    }
    if found.is_empty() {
        return Err(Error::new(format!("there is no plugin library in {}", path.display()))
            .help("name a folder with lib….so files of plugin crates; cargo's is target/release"));
    }
    Ok(found)
}

/// The shared libraries in a folder, sorted.
fn libraries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).at("reading", folder)?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|plugin| plugin.path()).collect();
    files.retain(|file| file.is_file() && file.extension().is_some_and(|end| end == std::env::consts::DLL_EXTENSION));
    files.sort();
    Ok(files)
}

fn one(library: &Library, lock: Option<&(PathBuf, Lock)>, command: &str) -> Result<()> {
    if let Some((path, lock)) = lock {
        lock.check(path, library, command)?;
    }
    let path = library.path.canonicalize().at("reading", &library.path)?;
    let mut all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if all.iter().any(|known| known.path == path) {
        return Ok(());
    }
    if let Some(table) = library.seen.difference() {
        let (file, package) = (library.file_name(), library.seen.package());
        let message =
            format!("plugin library {file} was built differently from this program; it was not loaded\n{table}");
        return Err(Error::new(message).help(format!(
            "rebuild {package} in its folder, with what built this program: cargo build --release\n        \
             or, if this program is the older one: cargo build --release --workspace --bin foil"
        )));
    }
    warn_if_others_may_change(&path);

    let named = |error: Error| error.context(library.path.display());
    let brought = open(&path, library).map_err(named)?;
    let file: &'static str = Box::leak(library.file_name().into_boxed_str());
    let entries: Vec<Plugin> = brought.entries.iter().map(|plugin| plugin.of_library(file)).collect();
    if entries.is_empty() {
        return Err(named(Error::new("it registers nothing")).help("write a `register!` line for each plugin"));
    }
    let plugins = entries.iter().map(|plugin| (plugin.kind(), plugin.name())).collect();
    registry::add(entries).map_err(named)?;
    let listen = (brought.tracing == tracing_id()).then_some(brought.listen);
    if listen.is_none() {
        let why = "it was built with another version of the crate `tracing`; copy this program's Cargo.lock to fix it";
        warn(&format!("the log of {file} is not shown: {why}"));
    }
    let (package, version) = (library.seen.package().to_string(), library.seen.version.clone());
    let now = Loaded { path, package, version, sha256: library.sha256.clone(), plugins, listen };
    hand_over_log(&now);
    all.push(now);
    Ok(())
}

/// The file that was looked at: by its descriptor, where the system has names for those.
fn named(path: &Path, library: &Library) -> PathBuf {
    use std::os::fd::IntoRawFd;
    // Never closed: the loader takes two libraries of one name for one.
    let number = library.file.try_clone().map(IntoRawFd::into_raw_fd);
    let open = number.map(|number| PathBuf::from(format!("/proc/self/fd/{number}")));
    open.ok().filter(|open| open.exists()).unwrap_or_else(|| path.to_path_buf())
}

#[allow(unsafe_code)]
fn open(path: &Path, library: &Library) -> Result<Brought> {
    use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: Opening runs the library's initialisers: native code that the user named, checked as
    // far as a file can be. It is never closed, so what it registers is there for good.
    let opened = unsafe { Opened::open(Some(named(path, library)), RTLD_NOW | RTLD_LOCAL) };
    let opened = opened.map_err(|error| {
        Error::new(format!("it cannot be opened: {error}")).help("rebuild it; `ldd` shows which library is missing")
    })?;
    // SAFETY: The symbol was found in the file as the address of a record.
    let record = unsafe { opened.get::<*const Record>(library.symbol.as_bytes()) };
    let record = *record.map_err(Error::of)?;
    std::mem::forget(opened);
    // SAFETY: A record begins with this many plain bytes. Only if they are those of the file, in
    // which everything was found right, is it one.
    let plain = unsafe { std::slice::from_raw_parts(record.cast::<u8>(), PLAIN) };
    if plain != library.plain {
        return Err(Error::new("it was changed while it was being loaded").help("try again"));
    }
    let hello = Hello { shared: shared(), crates: library.seen.crates.clone() };
    // SAFETY: Compiler, source and layout are the same on both sides, so `Hello` is what `start`
    // expects, and the answer is what it promises.
    let answer = unsafe { ((*record).start)((&raw const hello).cast()) };
    // SAFETY: As above; both sides allocate with the C library's allocator.
    *unsafe { Box::from_raw(answer.cast::<Result<Brought>>()) }
}

/// Lets every loaded library log where this program logs; to be called when the program has set up
/// its log.
pub fn log_started() {
    for library in loaded() {
        hand_over_log(&library);
        let Loaded { path, package, version, sha256, .. } = &library;
        tracing::info!(package, version, sha256, path = %path.display(), "Plugin library loaded.");
    }
}

fn hand_over_log(library: &Loaded) {
    if let (Some(listen), true) = (library.listen, dispatcher::has_been_set()) {
        dispatcher::get_default(listen);
    }
}

/// Into the log if there is one yet.
fn warn(text: &str) {
    match dispatcher::has_been_set() {
        true => tracing::warn!("{text}"),
        false => eprintln!("warning: {text}"),
    }
}

#[cfg(unix)]
fn warn_if_others_may_change(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000; // only the owner may replace a file in it
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.permissions().mode());
    if mode(path) & OTHERS_WRITE != 0 {
        warn(&format!("every user of this machine may change {}; fix it: chmod o-w", path.display()));
    }
    if let Some(folder) = path.parent()
        && mode(folder) & (OTHERS_WRITE | STICKY) == OTHERS_WRITE
    {
        warn(&format!("every user of this machine may replace files in {}; fix it: chmod o-w", folder.display()));
    }
}
