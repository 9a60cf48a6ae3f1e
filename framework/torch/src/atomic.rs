//! Files that are either the old ones or the new ones, never half of each.
//!
//! The bytes go to a new file beside the target, are synced to disk, and take the target's name by
//! a rename, which POSIX makes atomic; then the folder is synced, so that the new name survives a
//! power cut too. A writer killed half-way leaves the target as it was, and beside it a file
//! `.NAME.PID-N.tmp` that nothing reads.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces the file at `path` by `bytes`, or creates it.
///
/// # Errors
/// As [`write_with`].
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes.as_ref()))
}

/// Replaces the file at `path` by what `fill` writes, or creates it. A symbolic link at `path` is
/// replaced, not followed. What is not a regular file (`/dev/null`, `/dev/stdout`, a pipe) is
/// written to, and kept.
///
/// # Errors
/// What `fill` returns, or the system's error with the path in its text: no such folder, no
/// permission, no space. `InvalidInput` when `path` does not end in a file name. The file at `path`
/// is then what it was, and nothing is left beside it.
pub fn write_with(path: impl AsRef<Path>, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let path = path.as_ref();
    let written = if is_stream(path) {
        OpenOptions::new().append(true).open(path).and_then(|mut stream| fill(&mut stream))
    } else {
        replace(path, fill)
    };
    written.map_err(|error| at(path, error))
}

/// Removes what killed writers of the file at `path` left beside it; the file of a running writer
/// stays.
pub fn sweep(path: impl AsRef<Path>) {
    sweep_beside(path.as_ref(), |name| is_unfinished(name, path.as_ref()));
}

/// The same for every file in a run's folder.
pub fn sweep_folder(folder: &Path) {
    sweep_beside(&folder.join("any"), |name| name.to_str().is_some_and(|name| writer(name).is_some()));
}

fn sweep_beside(path: &Path, is_ours: impl Fn(&OsStr) -> bool) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_ours(&entry.file_name()) && !is_being_written(&entry.path()) {
            let _ = fs::remove_file(entry.path()); // A leftover file does no harm.
        }
    }
}

/// The process id in a name of the form `.NAME.PID-N.tmp`.
fn writer(name: &str) -> Option<u32> {
    let (_, numbers) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (pid, count) = numbers.split_once('-')?;
    count.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// Whether its writer is still running: on this machine by its process id, on another one by its
/// lock.
fn is_being_written(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let here = writer(&name).is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let locked =
        || crate::regular::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    here || locked()
}

/// Whether the file at `path` could be written now.
///
/// # Errors
/// The system's, with the path.
pub fn probe(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_beside(folder, path.file_name().unwrap_or_default().to_os_string())
        .map(drop)
        .map_err(|error| at(path, error))
}

/// Options to open a file in a run's folder for writing: the folder's author may have put a link
/// or a pipe there, and neither is followed.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Whether a file called `name` is what a writer of the file at `path` had not finished.
pub fn is_unfinished(name: &OsStr, path: &Path) -> bool {
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".tmp"))
}

/// The same error, prefixed with the path.
pub fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether `path` is a device, a pipe, or a name for an open one. A rename would replace it with a
/// file, for all programs of the machine if done by root.
pub fn is_stream(path: &Path) -> bool {
    let is_open = fs::read_link(path).is_ok_and(|to| to.starts_with("/proc"));
    // A link in someone else's folder could lead to any device.
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let of_system = path.starts_with("/dev") || path.starts_with("/proc");
    (is_open && of_system)
        || (!is_link || of_system) && fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));

    let (mut file, unfinished) = create_beside(folder, name.to_os_string())?;
    fill(&mut file)?;
    file.sync_all()?;
    drop(file); // Windows does not rename an open file.
    fs::rename(&unfinished.0, path)?;
    sync_folder(folder)
}

/// Removes the file when dropped. After the rename there is nothing left to remove, which is not
/// an error.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn create_beside(folder: &Path, name: OsString) -> io::Result<(File, Unfinished)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(&name);
        temporary.push(format!(".{}-{}.tmp", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let path = folder.join(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                let _ = file.try_lock(); // shows other machines that the file is being written, if the file system has locks
                return Ok((file, Unfinished(path)));
            }
            // Left by a killed process with our process id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file, and the system syncs names itself.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn creates_then_replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&path, "a longer first text").unwrap();
        write(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn a_writer_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&path, "old").unwrap();
        let error = write_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::other("out of words"))
        })
        .unwrap_err();
        assert!(error.to_string().ends_with("state: out of words"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path().join("missing/state"), "").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/state"), "{error}");
        assert_eq!(write("/", "").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let inner = folder.path().join("a_folder");
        fs::create_dir(&inner).unwrap();
        write(&inner, "").unwrap_err();
        assert_eq!(names(folder.path()), ["a_folder"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_or_a_pipe_is_written_to_and_stays() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write(&pipe, "through").unwrap();
        assert_eq!(read.join().unwrap(), "through");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(names(folder.path()), ["pipe"]);
        assert!(is_stream(Path::new("/dev/null")) && is_stream(Path::new("/dev/stdout")));
        assert!(!is_stream(folder.path()) && !is_stream(&folder.path().join("new")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_killed_writers_left_is_swept_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut ended = process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let left = |name: &str, pid: u32| {
            let path = folder.path().join(format!(".{name}.{pid}-0.tmp"));
            fs::write(&path, "half").unwrap();
            path
        };
        let (state, eval) = (left("state", ended.id()), left("eval.json", ended.id()));
        let ours = left("state", process::id());
        let elsewhere = left("eval.json", ended.id() ^ 0x4000_0000);
        let held = File::open(&elsewhere).unwrap();
        held.try_lock().unwrap();
        fs::write(folder.path().join(".hidden.tmp"), "somebody's own").unwrap();
        sweep(folder.path().join("state"));
        assert!(!state.exists() && ours.exists() && eval.exists());
        sweep_folder(folder.path());
        assert!(!eval.exists() && ours.exists() && elsewhere.exists());
        assert!(folder.path().join(".hidden.tmp").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("record"), folder.path().join("target"));
        for to in [target.as_path(), Path::new("/dev/null")] {
            std::os::unix::fs::symlink(to, &link).unwrap();
            assert!(options().append(true).open(&link).is_err());
            write(&link, "new").unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_file() && !target.exists());
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn two_writers_at_once_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::thread::scope(|scope| {
            for letter in ["a", "b"] {
                let path = &path;
                scope.spawn(move || (0..50).for_each(|_| write(path, letter.repeat(10_000)).unwrap()));
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert!(text == "a".repeat(10_000) || text == "b".repeat(10_000));
    }
}
