//! The command line. A program with plugins of its own is `fn main() -> ExitCode { foil::cli::main() }`.

mod bench;
mod check;
mod demo;
mod eval;
mod train;

use crate::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Train image classifiers that hold under attack.
#[derive(Debug, Parser)]
#[command(name = "foil", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  foil train configs/mnist/trades.yaml                    train, and evaluate the best checkpoint
  foil train configs/mnist/trades.yaml loss.beta=1        any key can be overridden
  foil eval runs/trades                                   evaluate again
  foil list                                               what there is to compose
  foil explain trades                                     a plugin's paper, formula and keys";

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Eval(eval::Args),
    Check(check::Args),
    Bench(bench::Args),
    Demo(demo::Args),
}

/// Runs the command line and returns the program's exit code: 0, 1 for an error, 2 for wrong usage, 130 when interrupted.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    crate::engine::devices();
    let done = match cli.command {
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// What a command ends with.
type Exit = Result<ExitCode>;
