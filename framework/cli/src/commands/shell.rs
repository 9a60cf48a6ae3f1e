//! `foil completions` and `foil man`: what a shell and `man` know about foil.

use super::{Cli, Exit};
use clap::CommandFactory;
use clap_complete::Shell;
use foil::{AtPath, atomic};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil completions bash > ~/.local/share/bash-completion/completions/foil
  foil completions zsh > ~/.zfunc/_foil            with `fpath+=~/.zfunc` in ~/.zshrc, before compinit
  foil completions fish > ~/.config/fish/completions/foil.fish

`cargo xtask install` writes all three.")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print the manual page, or write one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil man | man -l -
  foil man --dir ~/.local/share/man/man1")]
pub(super) struct Man {
    /// A folder for foil.1, foil-train.1 and so on.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Writes to standard output; a closed pipe ends the command, not the program.
fn print(text: &[u8]) -> Exit {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(foil::Error::of(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

pub(super) fn completions(args: &Completions) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "foil", &mut text);
    print(&text)
}

pub(super) fn man(args: &Man) -> Exit {
    let page = |command: clap::Command| {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text).map(|()| text).map_err(foil::Error::of)
    };
    let Some(dir) = &args.dir else { return print(&page(Cli::command())?) };
    std::fs::create_dir_all(dir).at("making", dir)?;
    let write = |name: &str, command| {
        let path = dir.join(format!("{name}.1"));
        atomic::write(&path, page(command)?).at("writing", &path)
    };
    write("foil", Cli::command())?;
    let mut all = Cli::command();
    all.build(); // names the commands `foil-train` and so on
    for command in all.get_subcommands().filter(|command| command.get_name() != "help") {
        write(command.get_display_name().unwrap_or(command.get_name()), command.clone())?;
    }
    println!("{}", dir.display());
    Ok(ExitCode::SUCCESS)
}
