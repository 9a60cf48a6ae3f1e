//! `foil eval`: a checkpoint under a suite of attacks, as in the papers' tables.

use super::Exit;
use super::check::split;
use crate::data::Resident;
use crate::engine::choose;
use crate::eval::{NATURAL, Trial, percent};
use crate::pipeline::{assemble, load};
use crate::record::{Entry, EvalRecord, stamp};
use crate::report::{Cell, Column, Progress, Style, Table};
use crate::train::Folder;
use crate::{AtPath, Error, Result, tensors};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tch::Kind;

/// Evaluate a run's best checkpoint under its `evaluate` attacks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil eval runs/cat_cw
  foil eval runs/cat_cw attacks.pgd20.steps=50 evaluate=[natural,pgd20]
  foil eval runs/cat_cw/last.safetensors")]
pub(super) struct Args {
    /// A run folder, or a checkpoint in one.
    run: PathBuf,
    /// Overrides of the run's pipeline, such as `attacks.pgd20.steps=50`.
    overrides: Vec<String>,
    /// Where the record goes; by default eval.json in the run's folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `foil eval` can be told.
#[derive(Debug, Default)]
pub(super) struct Options {
    overrides: Vec<String>,
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let (files, overrides) = split(&args.overrides);
    if let Some(file) = files.first() {
        return Err(Error::new(format!("`{}` is not an override", file.display())).help("write key=value"));
    }
    show(&args.run, &Options { overrides, out: args.out.clone() })
}

/// The run folder and checkpoint that `path` names.
pub(super) fn checkpoint(path: &Path) -> Result<(Folder, PathBuf)> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok((Folder::open(parent)?, path.to_path_buf()));
    }
    let folder = Folder::open(path)?;
    let best = folder.best();
    if !best.exists() {
        return Err(Error::new(format!("{} has no checkpoint yet", path.display()))
            .help("no epoch has been finished and measured"));
    }
    Ok((folder, best))
}

/// Evaluates, prints the table, and says where the record is.
pub(super) fn show(path: &Path, options: &Options) -> Exit {
    let (record, out) = evaluate(path, options)?;
    println!("{}", table(std::slice::from_ref(&record)).terminal(Style::stdout()));
    println!("{} test images, {}, record: {}", record.n, record.threat, out.display());
    Ok(ExitCode::SUCCESS)
}

/// Evaluates the checkpoint at `path`, and writes and returns its record.
pub(super) fn evaluate(path: &Path, options: &Options) -> Result<(EvalRecord, PathBuf)> {
    let (folder, weights) = checkpoint(path)?;
    let loaded = load(&folder.resolved(), &options.overrides)?;
    let pipeline = &loaded.pipeline;
    let device = choose(&pipeline.device)?;
    let mut parts = loaded.built(assemble(pipeline, Kind::Float, device, false))?;
    let network = parts.step.model.network();
    network.params().load(&tensors::read(&weights)?.0).map_err(|e| e.context(weights.display()))?;
    let limit = pipeline.data.test_limit.map_or(i64::MAX, |limit| limit as i64);
    let test = Resident::new(&crate::data::read(pipeline)?.test, device).first(limit);

    let mut entries = Vec::new();
    for name in &pipeline.evaluate {
        let started = Instant::now();
        let attack = parts.attacks.get_mut(name);
        let settings =
            pipeline.attacks.get(name).map_or(serde_json::Value::Null, |a| serde_json::to_value(a).unwrap_or_default());
        let mut progress = Progress::new(name.clone(), test.len() as u64);
        let mut trial = Trial {
            name,
            attack: attack.map(|attack| attack.as_mut() as _),
            data: &test,
            batch_size: pipeline.train.eval_batch_size as i64,
            seed: pipeline.seed,
        };
        let accuracy = percent(&trial.run(network, &mut |n| progress.tick(n, String::new))?);
        progress.done(&format!("{accuracy:.2} %"));
        entries.push(Entry {
            name: name.clone(),
            attack: settings,
            accuracy,
            seconds: started.elapsed().as_secs_f64(),
            stages: Vec::new(),
        });
    }
    let mut record = EvalRecord {
        model: pipeline.name.clone().unwrap_or_default(),
        dataset: pipeline.data.name.clone(),
        threat: pipeline.judged_threat(),
        precision: pipeline.train.eval_precision.name().into(),
        device: format!("{device:?}").to_lowercase(),
        seed: pipeline.seed,
        n: test.len() as u64,
        entries,
        worst_case: None,
        trust: Vec::new(),
        avg: None,
        foil_version: crate::VERSION.into(),
        libtorch: crate::LIBTORCH.into(),
        date: stamp::now(),
        config_hash: stamp::config_hash(&pipeline.to_yaml()?),
    };
    let out = options.out.clone().unwrap_or_else(|| folder.path().join("eval.json"));
    record.write(&out).at("writing", &out)?;
    Ok((record, out))
}

/// Models as rows and attacks as columns, with the mean of a row as `Avg`, as in the CAT paper's Tables 2 and 3.
pub(super) fn table(records: &[EvalRecord]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    for entry in records.iter().flat_map(|record| &record.entries) {
        if !names.contains(&entry.name.as_str()) {
            names.push(&entry.name);
        }
    }
    let mut columns = vec![Column::text("model")];
    columns.extend(names.iter().map(|name| Column::accuracy(heading(name))));
    columns.push(Column::accuracy("Avg"));
    let rows = records.iter().map(|record| {
        let mut row = vec![Cell::Text(record.model.clone())];
        row.extend(
            names.iter().map(|name| record.entry(name).map_or(Cell::Missing, |entry| Cell::Percent(entry.accuracy))),
        );
        row.push(record.avg.map_or(Cell::Missing, Cell::Percent));
        row
    });
    Table { title: "Accuracy under attack, percent".into(), columns, rows: rows.collect() }
}

/// `pgd20` as papers print it.
fn heading(name: &str) -> String {
    if name == NATURAL {
        return "Natural".into();
    }
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[letters.len()..];
    if number.is_empty() { letters.to_uppercase() } else { format!("{}-{number}", letters.to_uppercase()) }
}
