//! `foil eval`: a checkpoint under a suite of attacks, as in the papers' tables.

use super::Exit;
use super::check::split;
use super::ranks::load_run;
use crate::attack::Batch;
use crate::data::Resident;
use crate::distributed::World;
use crate::engine::choose_for;
use crate::eval::trust::{Depth, Subject};
use crate::eval::{Saved, Standing, Tick, Trial};
use crate::nn::{Noise, key_of, name_key};
use crate::pipeline::{Assembled, assemble, assemble_across, load};
use crate::record::{EvalRecord, ImageRecord, TrustCheck, stamp};
use crate::registry::DataFacts;
use crate::report::table::heading;
use crate::report::{Cell, Column, Progress, Style, Table};
use crate::scheduler::Clock;
use crate::train::Folder;
use crate::{Error, Result, tensors};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind, Tensor};

/// Evaluate a run's best checkpoint under its `evaluate` attacks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil eval runs/cat_cw
  foil eval runs/cat_cw evaluate=[natural,pgd20,autoattack]
  foil eval runs/cat_cw attacks.pgd20.steps=50 data.test_limit=1000 --out pgd50.json
  foil eval runs/cat_cw/last.safetensors
  foil eval runs/cat_cw --trust full --transfer runs/at

Beside the record, eval.json, goes a table of the images, eval.images.csv: which attack broke which, and by what margin.
An evaluation that was stopped goes on with the same command.")]
pub(super) struct Args {
    /// A run folder, or a checkpoint in one.
    run: PathBuf,
    /// Overrides of the run's pipeline, such as `attacks.pgd20.steps=50`.
    overrides: Vec<String>,
    /// Where the record goes; by default eval.json in the run's folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Checks of whether the figures can be believed: `quick` looks at a tenth of the images, 64 at most, `full` at 512.
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t)]
    trust: Depth,
    /// Another run, whose adversarial images the checks try on this one.
    #[arg(long, value_name = "RUN")]
    transfer: Option<PathBuf>,
}

/// What `foil eval` can be told.
#[derive(Debug, Default)]
pub(super) struct Options {
    overrides: Vec<String>,
    out: Option<PathBuf>,
    trust: Depth,
    transfer: Option<PathBuf>,
}

pub(super) fn run(args: &Args, world: World) -> Exit {
    let (files, overrides) = split(&args.overrides);
    if let Some(file) = files.first() {
        return Err(Error::new(format!("`{}` is not an override", file.display())).help("write key=value"));
    }
    let options = Options { overrides, out: args.out.clone(), trust: args.trust, transfer: args.transfer.clone() };
    show(&args.run, &options, world)
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
pub(super) fn show(path: &Path, options: &Options, world: World) -> Exit {
    let (record, out) = evaluate(path, options, world)?;
    if !world.is_first() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", table(std::slice::from_ref(&record)).terminal(Style::stdout()));
    for entry in record.entries.iter().filter(|entry| !entry.stages.is_empty()) {
        let stages: Vec<String> = entry.stages.iter().map(|s| format!("{} {:.2}", s.name, s.accuracy)).collect();
        println!("{}: {}", entry.name, stages.join(", "));
    }
    if let Some(worst) = record.worst_case.filter(|_| record.entries.len() > 1) {
        println!("right under all of them: {worst:.2} %");
    }
    for check in &record.trust {
        println!("{}", line(check, Style::stdout().color));
    }
    println!("{} test images, {}, record: {}", record.n, record.threat, out.display());
    Ok(ExitCode::SUCCESS)
}

/// Evaluates the checkpoint at `path`, and writes and returns its record. Several ranks share the images; the first one reads and writes.
pub(super) fn evaluate(path: &Path, options: &Options, world: World) -> Result<(EvalRecord, PathBuf)> {
    let _ends = Interrupt::new(path)?;
    let (folder, weights) =
        if world.is_first() { checkpoint(path)? } else { (Folder::named(path), path.to_path_buf()) };
    let loaded = load_run(&folder, &options.overrides, world)?;
    let pipeline = &loaded.pipeline;
    let device = choose_for(&pipeline.device, world)?;
    let mut parts = loaded.built(assemble_across(world, pipeline, Kind::Float, device, false))?;
    let network = parts.step.model.network();
    if world.is_first() {
        network.params().load(&tensors::read(&weights)?.0).map_err(|e| e.context(weights.display()))?;
    }
    network.params().storage().iter().try_for_each(|(_, tensor)| world.broadcast(tensor))?;
    let limit = pipeline.data.test_limit.map_or(i64::MAX, |limit| limit as i64);
    let test = Resident::new(&crate::data::read(pipeline)?.test, device).first(limit);
    let config = pipeline.to_yaml()?;
    let out = options.out.clone().unwrap_or_else(|| folder.path().join("eval.json"));

    let mut saved = Saved::open_across(world, &out, &config, &weights)?;
    let (mut entries, mut images) = (Vec::new(), ImageRecord::new(test.index(), test.labels()));
    for name in &pipeline.evaluate {
        let attack = parts.attacks.get_mut(name);
        let mut trial = Trial {
            name,
            attack: attack.map(|attack| attack.as_mut() as _),
            data: &test,
            batch_size: pipeline.train.eval_batch_size as i64,
            seed: pipeline.seed,
        };
        let mut bars = Bars::new(name, world);
        let standing = saved.run(&mut trial, network, &mut |tick| bars.tick(tick))?;
        bars.done(&standing);
        let settings = pipeline.attacks.get(name).map(serde_json::to_value);
        entries.push(standing.entry(name, settings.and_then(Result::ok).unwrap_or_default()));
        images.push(name, standing.right().to_vec(), standing.margins(), &standing.broken_by());
    }
    let other = options.transfer.as_deref().map(|run| other(run, parts.data, device)).transpose()?;
    let (few, clock) = (test.first(options.trust.images(test.len())), Clock::new(1, 1, device));
    let (x, y, index) = few.slice(0, few.len(), Kind::Float);
    let noise = Noise::new(&Tensor::from(key_of(&[pipeline.seed, name_key("trust")])).to_device(device), &index);
    let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
    let (threat, depth, data) = (pipeline.judged_threat(), options.trust, parts.data);
    let other = other.as_ref().map(|parts| parts.step.model.network());
    let trust = Subject { network, batch: &batch, data, threat, depth, other }.checks()?;

    let mut record = EvalRecord {
        model: pipeline.name.clone().unwrap_or_default(),
        dataset: pipeline.data.name.clone(),
        threat: pipeline.judged_threat(),
        precision: pipeline.train.eval_precision.name().into(),
        device: format!("{device:?}").to_lowercase(),
        seed: pipeline.seed,
        n: test.len() as u64,
        entries,
        worst_case: images.worst_case(),
        trust,
        avg: None,
        foil_version: crate::VERSION.into(),
        libtorch: crate::LIBTORCH.into(),
        date: stamp::now(),
        config_hash: stamp::config_hash(&config),
    };
    if !world.is_first() {
        return Ok((record, out));
    }
    // The table first: who finds a record finds its images.
    let table = ImageRecord::beside(&out);
    images.write(&table).map_err(|e| Error::new(e.to_string()))?;
    record.write(&out).map_err(|e| Error::new(e.to_string()))?;
    saved.finish();
    Ok((record, out))
}

/// Another run's parts, with its weights; it must see the same kind of images.
fn other(run: &Path, data: DataFacts, device: Device) -> Result<Assembled> {
    let (folder, weights) = checkpoint(run)?;
    let loaded = load(&folder.resolved(), &[])?;
    let parts = loaded.built(assemble(&loaded.pipeline, Kind::Float, device, false))?;
    if (DataFacts { train: 0, ..parts.data }) != (DataFacts { train: 0, ..data }) {
        let why = format!("--transfer {}: its images or classes are not those of this run", run.display());
        return Err(Error::new(why).help("give a run on the same data set"));
    }
    let network = parts.step.model.network();
    network.params().load(&tensors::read(&weights)?.0).map_err(|e| e.context(weights.display()))?;
    Ok(parts)
}

/// A trust check in one line, green or red in a terminal.
fn line(check: &TrustCheck, color: bool) -> String {
    let (mark, paint) = match check.passed {
        Some(true) => ("✓", "32"),
        Some(false) => ("✗", "31"),
        None => ("-", "2"),
    };
    let text = format!("{mark} {}: {}", check.name, check.says);
    if color { format!("\x1b[{paint}m{text}\x1b[0m") } else { text }
}

/// One bar for each stage of an attack.
struct Bars<'a> {
    name: &'a str,
    stage: String,
    bar: Option<Progress>,
    world: World,
}

impl<'a> Bars<'a> {
    fn new(name: &'a str, world: World) -> Self {
        Self { name, stage: String::new(), bar: None, world }
    }

    fn tick(&mut self, tick: &Tick) {
        if !self.world.is_first() {
            return;
        }
        if self.bar.is_none() || self.stage != tick.stage {
            let label =
                if tick.stage == self.name { self.name.into() } else { format!("{} {}", self.name, tick.stage) };
            self.bar = Some(Progress::new(label, tick.images + tick.left));
            self.stage = tick.stage.to_string();
        }
        if let Some(bar) = &mut self.bar {
            bar.tick(tick.images, || format!("accuracy {:.2} %", tick.standing.accuracy()));
        }
    }

    /// A line for the attack stays; those of its stages go.
    fn done(self, standing: &Standing) {
        if !self.world.is_first() {
            return;
        }
        let accuracy = format!("{:.2} %", standing.accuracy());
        match self.bar.filter(|_| self.stage == self.name) {
            Some(bar) => bar.done(&accuracy),
            None => eprintln!("{}: {accuracy}", self.name),
        }
    }
}

/// As long as it lives, the first Ctrl-C or SIGTERM ends the program at once, and says how to go on: a batch may take minutes, and
/// what came before it is on disk.
struct Interrupt(signal_hook::iterator::Handle);

impl Interrupt {
    fn new(path: &Path) -> Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .map_err(|e| Error::new(format!("Ctrl-C cannot be handled: {e}")))?;
        let (handle, path) = (signals.handle(), path.display().to_string());
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                eprintln!("\nstopped; the same command goes on from here (this evaluation alone: foil eval {path})");
                signal_hook::low_level::exit(130);
            }
        });
        Ok(Self(handle))
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.close();
    }
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
