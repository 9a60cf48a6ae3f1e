//! `cargo foil` and `cargo demo`: build the program if it is not up to date, then become it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::failure::{OrFail, Result};
use crate::job::{BUILD, BUILD_FUZZ, Job};
use crate::libtorch::installed::Installed;
use crate::workspace::Workspace;
use crate::{cuda, libtorch, setup};

/// Builds faster than this are not announced.
const PATIENCE: Duration = Duration::from_secs(3);

/// `cargo foil ARGS...`: the program, in the user's current folder, with its exit code passed on.
pub fn foil(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let libtorch = setup::ensure(workspace)?;
    build(workspace)?;
    with_cuda(workspace, &libtorch);
    let error = workspace.foil().env("FOIL_TYPED", "cargo foil").args(arguments).exec(); // returns only if it could not start
    Err(error).or_fail(|| format!("start {}", workspace.foil_path().display()))
}

/// `cargo demo [ARGS]`: the same for `foil demo`, at the root of the repository.
pub fn demo(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let libtorch = setup::ensure(workspace)?;
    if libtorch::gpu::present() && !libtorch.cuda {
        eprintln!(
            "note: there is an NVIDIA GPU here, but this libtorch has no CUDA; `cargo xtask setup --cuda` fetches one"
        );
    }
    build(workspace)?;
    with_cuda(workspace, &libtorch);
    let error = workspace
        .foil()
        .env("FOIL_TYPED", "cargo foil")
        .current_dir(&workspace.root)
        .arg("demo")
        .args(arguments)
        .exec();
    Err(error).or_fail(|| format!("start {}", workspace.foil_path().display()))
}

/// `cargo xtask fuzz [ARGS]`: the fuzzer, whose exit code it returns.
pub fn fuzz(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    setup::ensure(workspace)?;
    Job::cargo(BUILD_FUZZ).run(workspace)?;
    Err(workspace.fuzz().args(arguments).exec()).or_fail(|| "start foil-fuzz".into())
}

/// CUDA's half of the shim, where libtorch has CUDA. Without it everything works, but slower, which
/// `foil doctor` says.
fn with_cuda(workspace: &Workspace, libtorch: &Installed) {
    if libtorch.cuda
        && let Err(failure) = cuda::build(workspace, libtorch)
    {
        eprintln!("note: steps are not captured on the GPU, because {failure}");
    }
}

/// The first build shows cargo's own progress; later ones are silent unless they take long.
fn build(workspace: &Workspace) -> Result<()> {
    if !workspace.foil_path().exists() {
        eprintln!("Building foil. The first build compiles the bindings to libtorch: about 5 to 8 minutes on 2 cores.");
        return Job::cargo(BUILD).run(workspace);
    }
    let job = Job::cargo(BUILD);
    let (done, waiting) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("Building foil again, because its sources have changed.");
        }
    });
    let status = job.command(workspace).arg("--quiet").status().or_fail(|| format!("start `{job}`"));
    drop(done);
    let _ = watch.join();
    job.check(status?)
}
