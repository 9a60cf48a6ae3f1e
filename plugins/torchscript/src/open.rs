//! Checks of a file before libtorch loads it.

use foil::{AtPath, Error, Result};
use std::io::Read;
use std::path::Path;

/// Checks that `path` is a TorchScript file with this SHA-256; the error says what it is instead.
pub(crate) fn check(path: &Path, sha256: Option<&str>) -> Result<()> {
    let shown = path.display();
    let mut head = Vec::new();
    foil::regular::open(path).and_then(|file| file.take(2).read_to_end(&mut head)).at("reading", path)?;
    if let Some(expected) = sha256 {
        let found = foil::hash::file_hash(path).at("reading", path)?;
        if found != expected.to_lowercase() {
            return Err(Error::new(format!("{shown} has the SHA-256 {found}, not {expected}"))
                .help("it is not the file that the pipeline was written for; restore that one, or change `sha256`"));
        }
    }
    // A file that foil can read as weights is not a program.
    let weights = foil_runs::interop::Checkpoint::open(path);
    if weights.is_ok() {
        return Err(Error::new(format!("{shown} holds weights, not a TorchScript program")).help(
            "in Python: torch.jit.save(torch.jit.script(net), FILE) with the network itself; or `foil import` for a network foil knows",
        ));
    }
    if head != b"PK" {
        return Err(not_one(path, "it is not a zip archive"));
    }
    Ok(())
}

/// The error for a file that libtorch does not load.
pub(crate) fn not_one(path: &Path, why: &str) -> Error {
    let why = why.lines().next().unwrap_or_default();
    Error::new(format!("{} is not a TorchScript program: {why}", path.display()))
        .help("in Python: torch.jit.save(torch.jit.script(net), FILE)")
}

/// Makes libtorch interpret a program unoptimised in this thread. Its optimiser rewrites a program
/// after the first runs, which changes rounding, so a resumed run would no longer equal an
/// uninterrupted one.
pub(crate) fn interpret() -> Result<()> {
    Ok(tch::jit::f_set_graph_executor_optimize(false)?)
}
