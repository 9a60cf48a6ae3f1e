//! `foil check`: resolve, validate, run each plugin once, print.

use super::Exit;
use foil::{Error, Result};
use foil_runs::pipeline::{Assembled, Loaded, Pipeline, Rehearsal, assemble, load, look};
use foil_runs::record::stamp;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind};

/// Check pipelines: resolve includes and overrides, report every problem at once, and run each
/// plugin once on a few made-up images.
///
/// The run finds what settings do not show: a loss that is detached, logits of the wrong shape,
/// numbers that are not finite, inputs that are changed in place, random numbers that do not follow
/// from the seed. It is on the CPU, in fp32, and needs no data.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil check configs/mnist/*.yaml                 a file that others extend is checked as part of them
  foil check my.yaml attack.eps=8/255 --print
  foil check configs/sweeps/table8_beta.yaml      every combination of a sweep")]
pub(super) struct Args {
    /// Pipeline files, and `key=value` overrides for all of them.
    #[arg(required = true)]
    inputs: Vec<String>,
    /// Print the resolved pipelines, including defaults.
    #[arg(long)]
    print: bool,
    /// Check the settings only; run no plugin.
    #[arg(long)]
    no_run: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let (files, overrides) = split(&args.inputs);
    if files.is_empty() {
        return Err(Error::new("no file given").help("foil check FILE… [key=value…]"));
    }
    let no_override = files.iter().find(|file| !file.exists() && file.extension().is_none());
    if let Some(word) = no_override {
        let message = format!("`{}` is neither a file nor an override", word.display());
        return Err(Error::new(message).help("write an override as key=value"));
    }
    // Two images leave threads little to do, and on a busy machine they wait for each other.
    tch::set_num_threads(1);
    let mut rehearsal = (!args.no_run).then(Rehearsal::default);
    let checked: Vec<_> = files.iter().map(|file| (file, check(file, &overrides, rehearsal.as_mut()))).collect();
    let bases: HashSet<PathBuf> =
        checked.iter().filter_map(|(_, good)| good.as_ref().ok()).flat_map(|good| good.bases.clone()).collect();
    let mut failed = 0;
    for (file, result) in checked {
        match result {
            Ok(good) => {
                let yaml = good.pipeline.to_yaml()?;
                let runs = if good.runs > 0 { format!("  ({} runs)", good.runs) } else { String::new() };
                println!("ok  {}  {}{runs}", &stamp::config_hash(&yaml)[..12], file.display());
                if args.print {
                    println!("\n{yaml}");
                }
            }
            // Alone it lacks keys that the files extending it add; together with them it is valid.
            Err(_) if file.canonicalize().is_ok_and(|file| bases.contains(&file)) => {
                println!("ok  (no run)      {}", file.display());
            }
            Err(message) => {
                failed += 1;
                eprintln!("{message}");
            }
        }
    }
    if failed > 0 && files.len() > 1 {
        eprintln!("{failed} of {} files have problems", files.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Splits files from overrides by the `=` of an override.
pub(super) fn split(inputs: &[String]) -> (Vec<PathBuf>, Vec<String>) {
    let is_override = |input: &&String| input.contains('=') && !Path::new(input).exists();
    (
        inputs.iter().filter(|i| !is_override(i)).map(PathBuf::from).collect(),
        inputs.iter().filter(is_override).cloned().collect(),
    )
}

/// A file without problems.
struct Good {
    pipeline: Pipeline,
    /// The number of combinations, if it is a sweep.
    runs: usize,
    /// The files it extends.
    bases: Vec<PathBuf>,
}

/// Loads a pipeline, builds its parts and rehearses them; for a sweep, those of every combination.
///
/// # Errors
/// All messages; those that only some combinations have are followed by their names.
fn check(file: &Path, overrides: &[String], mut rehearsal: Option<&mut Rehearsal>) -> Result<Good, String> {
    let text = |error: Error| error.to_string();
    if is_foreign(file) {
        // Parts from libraries are checked only where these are trusted.
        return look(file, overrides)
            .map(|loaded| Good { pipeline: loaded.pipeline, runs: 0, bases: Vec::new() })
            .map_err(text);
    }
    let mut rehearsed = |loaded: Result<Loaded>| -> Result<Loaded> {
        let loaded = built(loaded)?;
        // What has trained need not be rehearsed.
        if let Some(rehearsal) = rehearsal.as_deref_mut().filter(|_| !is_resolved(file)) {
            loaded.built(rehearsal.of(&loaded.pipeline))?;
        }
        Ok(loaded)
    };
    let sweep = rehearsed(load(file, overrides)).map_err(text)?;
    let runs = sweep.built(sweep.pipeline.combinations(overrides)).map_err(text)?;
    let mut messages: Vec<(String, Vec<&str>)> = Vec::new();
    for run in &runs {
        if let Err(error) = rehearsed(run.load(file, overrides)) {
            let message = error.to_string();
            match messages.iter_mut().find(|(known, _)| *known == message) {
                Some((_, labels)) => labels.push(&run.label),
                None => messages.push((message, vec![&run.label])),
            }
        }
    }
    if messages.is_empty() {
        let bases = sweep.checked.sources.iter().skip(1).filter_map(|base| Path::new(base).canonicalize().ok());
        return Ok(Good { bases: bases.collect(), runs: runs.len(), pipeline: sweep.pipeline });
    }
    let shown = messages.iter().map(|(message, labels)| {
        let lines = labels.iter().map(|label| format!("\n  in the run {label} of the sweep"));
        format!("{message}{}", lines.collect::<String>())
    });
    Err(shown.collect::<Vec<_>>().join("\n"))
}

/// Whether it is a run's pipeline with libraries that are not loaded or plugins in Python: the run
/// may be from anyone, and checking must not load them.
fn is_foreign(file: &Path) -> bool {
    let loaded: Vec<PathBuf> = foil::plugin::loaded().into_iter().map(|library| library.path).collect();
    let listed = || foil_config::libraries(file).unwrap_or_default();
    is_resolved(file)
        && (foil_runs::pipeline::has_python(file)
            || listed().iter().any(|library| !library.path.canonicalize().is_ok_and(|path| loaded.contains(&path))))
}

/// Whether it is a run's pipeline.
fn is_resolved(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "resolved.yaml")
}

/// Builds the parts of a loaded pipeline, without weights.
fn built(loaded: Result<Loaded>) -> Result<Loaded> {
    let loaded = loaded?;
    loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, true).and_then(Assembled::trainable))?;
    Ok(loaded)
}
