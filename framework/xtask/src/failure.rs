//! What is printed when something cannot be done: what is wrong, then what to do.

use std::fmt;
use std::io;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Failure>;

/// An `error:` line and the `help:` lines under it.
#[derive(Debug)]
pub struct Failure {
    error: String,
    help: String,
}

impl Failure {
    /// `help` may have several lines.
    pub fn new(error: impl Into<String>, help: impl Into<String>) -> Self {
        Failure { error: error.into(), help: help.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        let mut mark = "  help: ";
        for line in self.help.lines() {
            write!(f, "\n{mark}{line}")?;
            mark = "        ";
        }
        Ok(())
    }
}

/// Turns an error of the operating system into a [`Failure`].
pub trait OrFail<T> {
    /// `what` completes "could not …" and names the file.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> OrFail<T> for io::Result<T> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let help = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and run this again",
                io::ErrorKind::PermissionDenied => "see who owns it, and run this as a user who may write there",
                io::ErrorKind::ReadOnlyFilesystem => "use a folder that can be written to",
                _ => "fix that and run this again",
            };
            Failure::new(format!("could not {}: {error}", what()), help)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_of_several_lines_is_indented() {
        let failure = Failure::new("no", "first\nsecond").to_string();
        assert_eq!(failure, "error: no\n  help: first\n        second");
    }
}
