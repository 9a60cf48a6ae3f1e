//! From a fresh clone to a running `foil`: set-up, build, demo and verification.
//!
//! It links no libtorch and has no dependency, so it is built in seconds, before anything that
//! takes minutes. `cargo demo`, `cargo verify`, `cargo foil` and `cargo xtask` are aliases for it
//! (`.cargo/config.toml`).

mod bundle;
mod cuda;
mod failure;
mod install;
mod job;
mod libtorch;
mod program;
mod setup;
mod verify;
mod wheel;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use failure::{Failure, Result};
use workspace::Workspace;

/// One word after `cargo xtask`.
struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&Workspace, &[OsString]) -> Result<()>,
}

const COMMANDS: [Command; 9] = [
    Command {
        name: "demo",
        usage: "cargo demo [ARGS]",
        about: "set up, build and run `foil demo`",
        run: program::demo,
    },
    Command {
        name: "foil",
        usage: "cargo foil ARGS...",
        about: "run `foil ARGS...`, set up and built if needed",
        run: program::foil,
    },
    Command {
        name: "verify",
        usage: "cargo verify [--quick | --all]",
        about: "everything CI checks; --quick leaves out fuzzing, the smoke runs and the documentation; --all adds the Python package",
        run: verify::command,
    },
    Command {
        name: "setup",
        usage: "cargo xtask setup [--cuda | --cpu] [--force]",
        about: "make libtorch available (the other commands do this themselves)",
        run: setup::command,
    },
    Command {
        name: "cuda",
        usage: "cargo xtask cuda",
        about: "compile CUDA's half of the shim; needs no GPU",
        run: cuda::command,
    },
    Command {
        name: "fuzz",
        usage: "cargo xtask fuzz [ARGS]",
        about: "feed foil damaged and hostile files (docs/reliability.md)",
        run: program::fuzz,
    },
    Command {
        name: "bundle",
        usage: "cargo xtask bundle DIR",
        about: "make a folder that trains on a machine with only Python's torch",
        run: bundle::command,
    },
    Command {
        name: "install",
        usage: "cargo xtask install [DIR]",
        about: "put `foil` on the PATH (~/.cargo/bin), with completions and manual pages",
        run: install::command,
    },
    Command {
        name: "wheel",
        usage: "cargo xtask wheel [--test] [DIR]",
        about: "build the Python package foil-train; --test also tests it in a fresh environment",
        run: wheel::command,
    },
];

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[OsString]) -> Result<()> {
    let Some((name, arguments)) = words.split_first() else {
        print!("{}", help());
        return Ok(());
    };
    if name == "--help" || name == "-h" || name == "help" {
        print!("{}", help());
        return Ok(());
    }
    let Some(command) = COMMANDS.iter().find(|command| name == command.name) else {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        return Err(Failure::new(
            format!("xtask has no command `{}`", name.display()),
            format!("it has: {}; `cargo foil` takes the program's own commands", names.join(", ")),
        ));
    };
    (command.run)(&Workspace::find()?, arguments)
}

fn help() -> String {
    let mut text = String::new();
    for command in &COMMANDS {
        text += &format!("{:<46}{}\n", command.usage, command.about);
    }
    text + "\nEnvironment, all optional:\n\
        \x20 LIBTORCH     a libtorch 2.11.0 to use instead of a fetched one\n\
        \x20 PYTHON       the Python that fetches it (python3), any from 3.8 on, with pip\n\
        \x20 FOIL_CACHE   a folder that several clones and worktrees share for it\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_lists_the_known_ones() {
        let failure = dispatch(&["train".into()]).unwrap_err().to_string();
        assert_eq!(
            failure,
            "error: xtask has no command `train`\n  \
             help: it has: demo, foil, verify, setup, cuda, fuzz, bundle, install, wheel; `cargo foil` takes the program's own commands"
        );
    }

    #[test]
    fn the_help_names_every_command() {
        let help = help();
        assert!(COMMANDS.iter().all(|command| help.contains(command.usage)), "{help}");
    }
}
