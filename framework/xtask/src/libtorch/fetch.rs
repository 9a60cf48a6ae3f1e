//! Fetches a pinned set of wheels and unpacks it, so that it is there whole or not at all.
//!
//! In the store, which is `.libtorch` or `FOIL_CACHE`:
//! ```text
//! lock                  held by who is fetching; others wait
//! downloads/            finished wheels; kept until the set is complete, to resume an interrupted run
//! partial/              being unpacked; never reused
//! libtorch-2.11.0-cpu/  the set, with torch/, nvidia/ and foil-stamp; comes by renaming partial/
//! ```

use std::env::consts::{ARCH, OS};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::installed::VERSION;
use super::pins::{Pin, Set, pins};
use super::python::Python;
use crate::failure::{Failure, OrFail, Result};

/// The folder of the set in the store, fetched if it is not there or `force` is given.
pub fn fetch(set: Set, store: &Path, python: &Python, force: bool) -> Result<PathBuf> {
    let home = store.join(set.folder());
    if !force && set.is_in(&home) {
        return Ok(home);
    }
    require_platform(OS, ARCH, cfg!(target_env = "gnu"))?;
    python.require_pip()?;

    make_folder(store)?;
    let _lock = lock(&store.join("lock"))?;
    if !force && set.is_in(&home) {
        return Ok(home); // someone else fetched it while we waited
    }
    eprintln!("Fetching {} into {}: {}.", set.what(), home.display(), set.cost());
    let wheels = download(set, &store.join("downloads"), python)?;
    let partial = store.join("partial");
    remove(&partial)?;
    make_folder(&partial)?;
    python.unpack(&wheels, &partial, set.members())?;
    if set == Set::Cpu {
        // torch-sys links with -ltorch. The wheel's libtorch.so would pull in CUDA;
        // this one is a linker script.
        let script = partial.join("torch/lib/libtorch.so");
        fs::write(&script, "INPUT(-ltorch_cpu)\n").or_fail(|| format!("write {}", script.display()))?;
    }
    set.write_stamp(&partial).or_fail(|| format!("write into {}", partial.display()))?;
    remove(&home)?;
    fs::rename(&partial, &home).or_fail(|| format!("rename {} to {}", partial.display(), home.display()))?;
    remove(&store.join("downloads"))?;
    Ok(home)
}

/// The wheels of the set, in `folder`, which may hold others too.
fn download(set: Set, folder: &Path, python: &Python) -> Result<Vec<PathBuf>> {
    make_folder(folder)?;
    for path in list(folder)? {
        if path.is_dir() {
            remove(&path)?; // what an interrupted pip left
        }
    }
    let pins: Vec<Pin> = pins(set.requirements()).collect();
    for (index, pin) in pins.iter().enumerate() {
        eprintln!("[{}/{}] {}", index + 1, pins.len(), pin.what);
        python.download(pin, folder)?;
    }
    Ok(list(folder)?.into_iter().filter(|path| pins.iter().any(|pin| pin.is_in_wheel(path))).collect())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    paths().or_fail(|| format!("read the folder {}", folder.display()))
}

/// Waits for the process that holds the lock. The lock ends with that process, however it ends.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).or_fail(|| format!("write {}", path.display()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        eprintln!("Waiting for another set-up, which holds {} …", path.display());
        file.lock().or_fail(|| format!("lock {}", path.display()))?;
    }
    Ok(file) // A file system without locks: two at once would spoil each other's work, and say so.
}

/// The pinned wheels are for one platform.
fn require_platform(os: &str, arch: &str, glibc: bool) -> Result<()> {
    if (os, arch, glibc) == ("linux", "x86_64", true) {
        return Ok(());
    }
    let libc = if os == "linux" && !glibc { " without glibc" } else { "" };
    Err(Failure::new(
        format!("libtorch is fetched for Linux x86_64 only, and this is {os} {arch}{libc}"),
        format!("install libtorch {VERSION} (`pip install torch=={VERSION}` has it) and set LIBTORCH to its folder"),
    ))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).or_fail(|| format!("make the folder {}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).or_fail(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_platforms_are_told_what_to_do() {
        assert!(require_platform("linux", "x86_64", true).is_ok());
        for (os, arch, glibc, said) in
            [("macos", "aarch64", false, "macos aarch64"), ("linux", "x86_64", false, "linux x86_64 without glibc")]
        {
            let failure = require_platform(os, arch, glibc).unwrap_err().to_string();
            assert!(failure.contains(&format!("this is {said}\n")) && failure.contains("LIBTORCH"), "{failure}");
        }
    }
}
