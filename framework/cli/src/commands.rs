//! The commands.

mod as_typed;
mod bench;
pub mod called;
mod check;
mod compare;
mod data;
mod demo;
mod doctor;
mod eval;
mod explain;
mod export;
mod figure;
mod help;
mod import;
mod in_python;
mod list;
pub mod looked;
mod new_plugin;
mod plugins;
mod probe;
mod profile;
mod ranks;
mod report;
mod robustbench;
mod run_log;
mod schema;
mod shell;
mod signals;
mod steps;
mod sweep;
mod table;
mod text;
mod theory;
mod train;
mod watch;

use crate::report::gather::find;
use as_typed::as_typed;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use foil::guard;
use foil::{Error, Result};
use foil_runs::train::Folder;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// Train robust image classifiers with adversarial training.
#[derive(Debug, Parser)]
#[command(name = "foil", version = VERSION.as_str(), arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Load plugins from this library, or from every library in this folder; may be repeated.
    /// They are native code: load only what you trust.
    #[arg(long, global = true, value_name = "FILE|DIR")]
    plugins: Vec<PathBuf>,
}

static VERSION: LazyLock<String> = LazyLock::new(|| format!("{} (libtorch {})", foil::VERSION, foil::LIBTORCH));

const EXAMPLES: &str = "Examples:
  foil train configs/demo/trades.yaml                    train, and evaluate the best checkpoint
  foil train configs/demo/trades.yaml loss.beta=1        any key can be overridden
  foil compare configs/demo/*.yaml --seeds 3              train what is not trained yet, and compare
  foil sweep configs/sweeps/table8_beta.yaml              train and compare all values that a file lists
  foil eval runs/trades                                   evaluate again
  foil report runs/trades runs/at                         one page with everything
  foil table 2                                            your runs beside the CAT paper's Table 2
  foil watch                                              runs while they train, from another terminal
  foil list                                               what you can combine
  foil explain trades                                     a plugin's paper, formula and keys
  foil new-plugin loss my_loss                            start a plugin of your own
  foil doctor                                             what this machine has, and how to fix the rest";

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Compare(compare::Args),
    Sweep(sweep::Args),
    Eval(eval::Args),
    Report(report::Args),
    Table(table::Args),
    Import(import::Args),
    Export(export::Args),
    Robustbench(robustbench::Args),
    Watch(watch::Args),
    Check(check::Args),
    Bench(bench::Args),
    Profile(profile::Args),
    Demo(demo::Args),
    List(list::Args),
    Explain(explain::Args),
    Schema(schema::Args),
    Data(data::Args),
    Doctor(doctor::Args),
    Probe(probe::Args),
    Figure(figure::Args),
    Theory(theory::Args),
    NewPlugin(new_plugin::Args),
    Plugins(plugins::Args),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Runs the command line and returns the program's exit code: 0, 1 for an error, 2 for wrong usage,
/// 130 when interrupted.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// As [`main`], with these words, the program's name first.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let asked = help::fitted(Cli::command()).get_matches_from(words);
    let cli = Cli::from_arg_matches(&asked).unwrap_or_else(|error| error.exit());
    let trains = matches!(cli.command, Command::Train(_) | Command::Demo(_));
    let works_long = trains || matches!(cli.command, Command::Compare(_) | Command::Sweep(_) | Command::Figure(_));
    if !works_long {
        end_when_nobody_reads();
    }
    if !trains {
        // Training also writes its own log.
        let _ = tracing_subscriber::registry().with(warnings()).try_init();
    }
    signals::report_full_files();
    foil_runs::data::watched_by(crate::report::reading);
    foil::engine::memory::keep();
    foil::engine::devices();
    foil::engine::cores::limit_threads();
    let only_looked_at = matches!(&cli.command, Command::Plugins(args) if plugins::only_looks(args));
    let plugins = if only_looked_at { Ok(()) } else { load_plugins(&cli.plugins) };
    // A plugin may panic in any callback, not only in a step.
    let run = |command: Command| match command {
        // A rank's panic is reported to the others like its errors.
        Command::Train(args) => ranks::together(|world| guard(|| train::run(&args, world))),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Eval(args) => ranks::together(|world| guard(|| eval::run(&args, world))),
        Command::Report(args) => report::run(&args),
        Command::Table(args) => table::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Robustbench(args) => robustbench::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => ranks::together(|world| guard(|| bench::run(&args, world))),
        Command::Profile(args) => ranks::one_process("profile").and_then(|()| profile::run(&args)),
        Command::Demo(args) => ranks::one_process("demo").and_then(|()| demo::run(&args)),
        Command::List(args) => list::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Figure(args) => figure::run(&args),
        Command::Theory(args) => theory::run(&args),
        Command::NewPlugin(args) => new_plugin::run(&args),
        Command::Plugins(args) => plugins::run(&args, &cli.plugins),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    let done = plugins.and_then(|()| guard(|| run(cli.command)));
    done.unwrap_or_else(|error| {
        tell(&error.to_string());
        ExitCode::FAILURE
    })
}

/// Prints a note to standard error. Names in it may come from a stranger's files.
fn note(text: impl AsRef<str>) {
    eprintln!("note: {}", as_typed(&foil::error::shown(text.as_ref())));
}

/// Prints lines to the terminal in one write, since other ranks may write at the same time. A
/// closed terminal does not stop the program.
fn tell(text: &str) {
    let _ = std::io::stderr().write_all(format!("{}\n", as_typed(&foil::error::shown(text))).as_bytes());
}

/// Loads what `FOIL_PLUGINS` and `--plugins` name; a `plugins.lock` in the current folder applies
/// to both.
fn load_plugins(named: &[PathBuf]) -> Result<()> {
    let variable = std::env::var_os("FOIL_PLUGINS").unwrap_or_default();
    let always = std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
    always.chain(named.iter().cloned()).try_for_each(|path| foil::plugin::load(&path))
}

/// Shows warnings at the terminal as `warning: …`. Errors are printed where the program ends.
fn warnings<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl tracing_subscriber::Layer<S> {
    let shown = filter_fn(|event| *event.level() == Level::WARN);
    fmt::layer().with_ansi(false).with_writer(std::io::stderr).event_format(Warning).with_filter(shown)
}

struct Warning;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Warning {
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut fields = String::new();
        cx.format_fields(Writer::new(&mut fields), event)?;
        writeln!(to, "warning: {}", foil::error::shown(&fields))
    }
}

/// A command's result.
type Exit = Result<ExitCode>;

/// `foil list | head` ends as `cat | head` does. Rust ignores SIGPIPE at start, and then printing
/// panics.
fn end_when_nobody_reads() {
    #[cfg(unix)]
    {
        // If this fails, a panic reports the same less clearly, so the program continues.
        let _ = signal_hook::flag::register_conditional_default(
            signal_hook::consts::SIGPIPE,
            Arc::new(AtomicBool::new(true)),
        );
    }
}

/// Opens the run folder the user named.
///
/// # Errors
/// When it is not a run; the error lists runs below it.
fn open_run(path: &Path) -> Result<Folder> {
    Folder::open(path).map_err(|error| {
        let below = find(&[path.to_path_buf()]);
        let names: Vec<String> = below.iter().take(5).map(|run| run.display().to_string()).collect();
        match names.len() {
            0 => error,
            n => error.help(format!("runs in it: {}{}", names.join(", "), if below.len() > n { ", …" } else { "" })),
        }
    })
}

/// An error in one line. Config problems keep lines of their own for their places; of other
/// messages the first line says what happened.
fn words(error: &Error) -> String {
    let (text, help) = (error.to_string(), error.suggestion().map(|help| format!("help: {help}")).unwrap_or_default());
    let lines: Vec<&str> = match error.problems() {
        Some(_) => {
            let reported = |line: &&str| ["error:", "-->", "help:"].iter().any(|start| line.starts_with(start));
            text.lines().map(str::trim).filter(reported).collect()
        }
        None => text.lines().take(1).chain(help.lines().map(str::trim)).collect(),
    };
    lines.join(" ").trim_start_matches("error: ").to_string()
}

/// The value as indented JSON.
fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::new(format!("cannot be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        help::fitted(Cli::command()).debug_assert();
    }
}
