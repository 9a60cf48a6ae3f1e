//! The user's Python: a torch that it may have, and its pip.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::pins::Pin;
use super::pip;
use crate::failure::{Failure, OrFail, Result};

/// Prints the folder of an installed torch, without importing it; a `torch` in the current folder
/// does not count.
const FIND_TORCH: &str = "\
import importlib.util, sys
sys.path[:] = filter(None, sys.path)
spec = importlib.util.find_spec('torch')
print(spec.submodule_search_locations[0])";

const UNPACK: &str = include_str!("unpack.py");

/// `PYTHON`, or `python3`.
pub struct Python {
    program: OsString,
    chosen: bool,
}

impl Python {
    /// The one that the user's environment names.
    pub fn from_environment() -> Self {
        let chosen = env::var_os("PYTHON").filter(|program| !program.is_empty());
        Python { chosen: chosen.is_some(), program: chosen.unwrap_or_else(|| "python3".into()) }
    }

    /// A given one, as if by `PYTHON`.
    pub fn at(program: &Path) -> Self {
        Python { program: program.into(), chosen: true }
    }

    /// What starts it.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Makes a virtual environment in `folder`.
    pub fn venv(&self, folder: &Path) -> Result<()> {
        let output = self.run(self.command().args(["-m", "venv"]).arg(folder))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let error = format!("`{}` could not make a virtual environment in {}", self.name(), folder.display());
        Err(Failure::new(error, format!("{}\nDebian and Ubuntu: apt install python3-venv", words.trim())))
    }

    /// The folder of what is installed in it.
    pub fn site(&self) -> Result<PathBuf> {
        let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let output = self.run(self.command().args(["-c", ask]))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().into())
    }

    /// The folder of its torch, if it has one; `None` if there is no Python.
    pub fn torch(&self) -> Option<PathBuf> {
        let output = self.command().args(["-c", FIND_TORCH]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.trim().is_empty()).then(|| text.trim().into())
    }

    /// Fails, saying what to install, unless there is a pip that can do what [`Python::download`]
    /// asks of it.
    pub fn require_pip(&self) -> Result<()> {
        let output = self.run(self.command().args(["-m", "pip", "--version"]))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(pip::missing(&self.name(), &words));
        }
        pip::require_version(&self.name(), &String::from_utf8_lossy(&output.stdout))
    }

    /// Lets pip download the pinned wheel into `folder`; an existing one is kept. pip checks the
    /// hash.
    pub fn download(&self, pin: &Pin, folder: &Path) -> Result<()> {
        let requirement = folder.join("requirement.txt");
        std::fs::write(&requirement, pin.line).or_fail(|| format!("write {}", requirement.display()))?;
        let mut command = self.command();
        command.args(["-m", "pip"]).args(pip::DOWNLOAD).arg("--requirement").arg(&requirement);
        command.arg("--dest").arg(folder).env("PIP_REQUIRE_VIRTUALENV", "0");
        command.env("TMPDIR", folder); // the system's may be too small
        // Its progress goes to the terminal, by way of standard error: standard output is the
        // program's.
        let mut child =
            command.stdout(io::stderr()).stderr(Stdio::piped()).spawn().map_err(|error| self.lost(error))?;
        let words = child.stderr.take().map(hand_on).unwrap_or_default();
        let status = child.wait().or_fail(|| "wait for pip".to_owned())?;
        if status.success() { Ok(()) } else { Err(pip::explain(pin.what, &words)) }
    }

    /// Extracts the members with these prefixes from the wheels.
    pub fn unpack(&self, wheels: &[PathBuf], into: &Path, members: &[&str]) -> Result<()> {
        let mut command = self.command();
        command.args(["-c", UNPACK]).arg(into).arg(members.join(":")).args(wheels);
        let output = self.run(command.stdout(io::stderr()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(pip::unpacking_failed(into, &String::from_utf8_lossy(&output.stderr)))
    }

    fn command(&self) -> Command {
        Command::new(&self.program)
    }

    fn run(&self, command: &mut Command) -> Result<Output> {
        command.output().map_err(|error| self.lost(error))
    }

    fn name(&self) -> String {
        self.program.display().to_string()
    }

    fn lost(&self, error: io::Error) -> Failure {
        let name = self.name();
        let error = match (error.kind(), self.chosen) {
            (ErrorKind::NotFound, false) => format!("`{name}` was not found, and it is needed to fetch libtorch"),
            (_, false) => format!("`{name}` could not be started: {error}"),
            (_, true) => format!("PYTHON is `{name}`, which could not be started: {error}"),
        };
        Failure::new(
            error,
            format!("{}\nor set PYTHON to another Python, or LIBTORCH to a libtorch 2.11.0", pip::INSTALL),
        )
    }
}

/// Reads pip's messages to the end; its warnings ("Retrying …") are shown at once, errors are for
/// [`pip::explain`].
fn hand_on(messages: impl Read) -> String {
    let mut all = String::new();
    let mut messages = BufReader::new(messages);
    let mut line = Vec::new();
    while messages.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        if text.starts_with("WARNING") {
            eprint!("{text}");
        }
        all += &text;
        line.clear();
    }
    all
}
