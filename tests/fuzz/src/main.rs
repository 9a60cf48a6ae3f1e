//! Fuzzing without a special toolchain: damaged and hostile files for everything that foil reads.
//!
//! Each format is a [`targets::Target`] with seeds. A case is a seed that was changed at random (by
//! `mutate` and `words`); `worker` runs cases in a process of its own, which `driver` watches, ends
//! when it hangs, and starts again where it died. docs/reliability.md has the figures.

mod driver;
mod mutate;
mod targets;
mod verdict;
mod words;
mod worker;

// A plugin crate that nothing names is not linked, and its registrations are lost.
use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_cat as _;
use foil_datasets as _;
use foil_fat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_torchscript as _;
use foil_trades as _;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Feed foil damaged and hostile files.
///
/// A case fails if foil panics, is ended by a signal, takes more than 10 seconds or 512 MiB, prints
/// control characters, or takes damaged figures for good ones. Its input is kept, with the command
/// that repeats it.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "cargo xtask fuzz",
    after_help = "Examples:
  cargo xtask fuzz                                    every target, as `cargo verify` does
  cargo xtask fuzz pipelines locks --cases 100000     two of them, for longer
  cargo xtask fuzz --seconds 600 --seed 7             each for ten minutes, other cases
  cargo xtask fuzz records --replay target/fuzz/records-1-4711
                                                      one input again
  cargo xtask fuzz png jpg webp --cases 100000        three of the formats of pictures
  cargo xtask fuzz --list                             what there is"
)]
struct Args {
    /// Targets; by default all of them.
    targets: Vec<String>,
    /// Cases of each target; by default as many as `cargo verify` tries.
    #[arg(long)]
    cases: Option<u64>,
    /// Try each target for this many seconds instead.
    #[arg(long, conflicts_with = "cases")]
    seconds: Option<u64>,
    /// Which cases: the same number makes the same ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this file alone.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Where inputs that fail are kept.
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    keep: PathBuf,
    /// Say what each target is.
    #[arg(long)]
    list: bool,
    /// The folder to work in; a worker's.
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
    /// The first case; a worker's.
    #[arg(long, hide = true, default_value_t = 0)]
    from: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let known = targets::every();
    if args.list {
        let show = |targets: Vec<Box<dyn targets::Target>>| {
            targets.iter().for_each(|target| println!("{:<20}{}", target.name(), target.about()));
        };
        show(targets::all());
        println!("\nformats of data and images, each by itself:");
        show(targets::formats());
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = known.iter().map(|target| target.name()).collect();
    if let Some(unknown) = args.targets.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("error: there is no target `{unknown}`\n  help: there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |name: &str| args.targets.iter().any(|other| other == name);
    let chosen: Vec<_> = match args.targets.as_slice() {
        [] => targets::all(),
        _ => known.into_iter().filter(|target| wanted(target.name())).collect(),
    };
    match (&args.worker, &args.replay, chosen.as_slice()) {
        (Some(folder), _, [target]) => worker::run(target.as_ref(), folder, &args),
        (None, Some(file), [target]) => worker::replay(target.as_ref(), file),
        (None, Some(_), _) => {
            eprintln!("error: --replay takes one target\n  help: name the one that the file is for");
            ExitCode::from(2)
        }
        _ => driver::run(&chosen, &args),
    }
}
