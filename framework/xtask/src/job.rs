//! A command line: how it is typed, and how it is run.

use std::fmt;
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::{Failure, OrFail, Result};
use crate::workspace::Workspace;

/// Builds the program. All packages are named so that their features are those of `cargo test`, and
/// nothing is built twice.
pub const BUILD: &str = "build --release --workspace --bin foil";
/// Builds the fuzzer, likewise.
pub const BUILD_FUZZ: &str = "build --release --workspace --bin foil-fuzz";

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Cargo,
    Foil,
    Fuzz,
}

impl Program {
    /// As one types it at the root of the repository: the bare binary may be elsewhere or out of
    /// date.
    fn typed(self) -> &'static str {
        match self {
            Program::Cargo => "cargo",
            Program::Foil => "cargo foil",
            Program::Fuzz => "cargo xtask fuzz",
        }
    }
}

/// A program with its arguments, run at the root of the repository.
#[derive(Debug, Clone)]
pub struct Job {
    program: Program,
    arguments: Vec<String>,
    environment: Option<(&'static str, &'static str)>,
}

impl Job {
    /// `cargo WORDS`, the words divided at spaces.
    pub fn cargo(words: &str) -> Self {
        Job { program: Program::Cargo, arguments: split(words), environment: None }
    }

    /// `foil WORDS MORE`, the words divided at spaces, `more` taken as they are.
    pub fn foil(words: &str, more: impl IntoIterator<Item = String>) -> Self {
        let arguments = split(words).into_iter().chain(more).collect();
        Job { program: Program::Foil, arguments, environment: None }
    }

    /// `foil-fuzz WORDS`, the words divided at spaces.
    pub fn fuzz(words: &str) -> Self {
        Job { program: Program::Fuzz, arguments: split(words), environment: None }
    }

    /// The same with a variable set.
    pub fn with(self, name: &'static str, value: &'static str) -> Self {
        Job { environment: Some((name, value)), ..self }
    }

    /// The command, for callers that need more than [`Job::run`].
    pub fn command(&self, workspace: &Workspace) -> Command {
        let mut command = match self.program {
            Program::Cargo => workspace.cargo(),
            Program::Foil => workspace.foil(),
            Program::Fuzz => workspace.fuzz(),
        };
        command.current_dir(&workspace.root).args(&self.arguments).envs(self.environment);
        command
    }

    /// Runs it and waits; it prints to this program's own output.
    pub fn run(&self, workspace: &Workspace) -> Result<()> {
        let status = self.command(workspace).status().or_fail(|| format!("start `{self}`"))?;
        self.check(status)
    }

    /// Runs it, waits, and returns what it wrote to its standard output.
    pub fn stdout(&self, workspace: &Workspace) -> Result<String> {
        let output = self.command(workspace).stderr(Stdio::inherit()).output();
        let output = output.or_fail(|| format!("start `{self}`"))?;
        self.check(output.status)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Fails, with the command to repeat, unless it succeeded.
    pub fn check(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("`{}` failed ({status})", self.short()), format!("to repeat it alone: {self}")))
    }

    /// As it is typed, a long list cut off.
    pub fn brief(&self) -> String {
        let text = self.to_string();
        match text.char_indices().nth(100) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn short(&self) -> String {
        let name = self.program.typed().trim_start_matches("cargo ");
        format!("{name} {}", self.arguments.first().map_or("", String::as_str)).trim_end().to_string()
    }
}

/// As one would type it at the root of the repository.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some((name, value)) = self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(self.program.typed())?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

/// In single quotes where a shell would otherwise see more than one plain word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_written_as_it_is_typed() {
        let docs = Job::cargo("doc --no-deps").with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(docs.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
        let check = Job::foil("check", ["a b.yaml".to_owned(), "it's".to_owned()]);
        assert_eq!(check.to_string(), r"cargo foil check 'a b.yaml' 'it'\''s'");
    }
}
