//! `foil train`: starts or resumes a run.

use super::{Exit, doctor, eval, open_run, run_log};
use crate::report::{Progress, Unit, thousands};
use foil::distributed::{Agreement, Launch, World};
use foil::engine::{choose_for, devices, shown};
use foil::{AtPath, Error, Result};
use foil_runs::data::Labelled;
use foil_runs::pipeline::{BatchNorm, Loaded, Pipeline, load, load_across, look};
use foil_runs::train::{Ended, Folder, Lock, Observer, Trainer};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Train a pipeline and evaluate its best checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil train configs/demo/cat_cw.yaml
  foil train configs/demo/cat_cw.yaml attack.beta1=0.1 seed=1 --run-dir runs/mine
  foil train --resume runs/mine          resumes after Ctrl-C or a crash, with the same result
  torchrun --no-python --nproc-per-node 8 foil train configs/cifar10/at.yaml          one process per GPU
  srun foil train configs/cifar10/at.yaml          or mpirun -n 4; see docs/distributed.md
  torchrun --no-python --nproc-per-node 8 --max-restarts 3 foil train configs/cifar10/at.yaml --run-dir runs/at")]
pub(super) struct Args {
    /// The pipeline file.
    #[arg(required_unless_present = "resume")]
    file: Option<PathBuf>,
    /// Overrides, such as `attack.steps=7` or `optimizer.lr=0.05`.
    overrides: Vec<String>,
    /// The run's folder (default: runs/NAME, with a number added if that is taken). If torchrun or
    /// Slurm restarts the command, the run in it is resumed.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Resume the run in this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "run_dir")]
    resume: Option<PathBuf>,
    /// Train only; leave the final evaluation to `foil eval`.
    #[arg(long)]
    no_eval: bool,
    /// Save and stop when standard input ends, so that a comparison that is killed leaves no
    /// orphaned runs.
    #[arg(long, hide = true)]
    attended: bool,
}

pub(super) fn run(args: &Args, world: World) -> Exit {
    if let Some(first) = args.file.as_deref().filter(|file| !file.exists()).and_then(Path::to_str)
        && first.contains('=')
        && args.resume.is_none()
    {
        return Err(Error::new(format!("expected a pipeline file, found `{first}`"))
            .help("overrides come after it: foil train FILE KEY=VALUE…"));
    }
    let (loaded, folder) = match (&args.resume, &args.file) {
        (Some(run), Some(given)) => {
            let (run, given) = (run.display(), given.display());
            return Err(Error::new(format!("a resumed run keeps its pipeline; `{given}` cannot be given"))
                .help(format!("start another run from its weights: foil train {run}/resolved.yaml init={run}/last.safetensors KEY=VALUE…")));
        }
        (Some(run), None) => {
            let folder = if world.is_first() { open_run(run)? } else { Folder::named(run) };
            if world.is_first() {
                refuse_imported(&folder)?;
            }
            (load_across(world, &folder.resolved(), &[])?, Some(folder))
        }
        (None, Some(file)) => {
            let loaded = one_run(file, load(file, &args.overrides)?)?;
            match begun(&loaded.pipeline, args.run_dir.as_deref(), world)? {
                Some(folder) => (load_across(world, &folder.resolved(), &[])?, Some(folder)),
                None => (loaded, None),
            }
        }
        (None, None) => return Err(Error::new("no file given").help("foil train FILE, or foil train --resume RUN")),
    };
    let place = match folder {
        Some(folder) => Place::Old(folder),
        None => args.run_dir.clone().map_or(Place::Free, Place::New),
    };
    let stop = super::signals::on_interrupt()?;
    let trained = Arc::new(AtomicBool::new(false));
    if args.attended {
        end_with_input(&stop, &trained);
    }
    let (folder, ended) = train(&loaded, place, &mut EpochBars::default(), &stop, world)?;
    if ended == Ended::Stopped {
        say(world, &format!("stopped and saved; resume with: foil train --resume {}", folder.path().display()));
        return Ok(ExitCode::from(130));
    }
    trained.store(true, Ordering::SeqCst);
    // From here on the evaluation saves its own state, and the first Ctrl-C ends the program.
    if stop.load(Ordering::SeqCst) {
        say(world, &format!("trained, but not evaluated; evaluate with: foil eval {}", folder.path().display()));
        return Ok(ExitCode::from(130));
    }
    if args.no_eval {
        return Ok(ExitCode::SUCCESS);
    }
    // So that a comparison waits for this evaluation too. Failing to get the lock does no harm.
    let _lock = world.is_first().then(|| folder.lock().ok());
    eval::show(folder.path(), &eval::Options::default(), world)
}

/// The run's folder, where the launcher starts this again and an earlier attempt has begun the run
/// there.
fn begun(pipeline: &Pipeline, path: Option<&Path>, world: World) -> Result<Option<Folder>> {
    let attempt = Launch::restarts()? + 1;
    let Some(path) = path.filter(|_| attempt > 1) else {
        if attempt > 1 {
            say(
                world,
                &format!("attempt {attempt}: without --run-dir the last attempt's run is not known; starting over"),
            );
        }
        return Ok(None);
    };
    let there = world.is_first() && Folder::named(path).resolved().exists();
    let same = || -> Result<bool> {
        let begun = load(&Folder::named(path).resolved(), &[])?.pipeline.training_hash()?;
        Ok(begun == pipeline.clone().pinned()?.training_hash()?)
    };
    if there && !same()? {
        return Err(Error::new(format!("attempt {attempt}: {} holds a run with other settings", path.display()))
            .help("choose another folder with --run-dir"));
    }
    if world.first_says(if there { "there" } else { "" })?.is_empty() {
        return Ok(None);
    }
    say(world, &format!("attempt {attempt}: resuming the run in {}", path.display()));
    Ok(Some(Folder::named(path)))
}

/// When standard input ends, sets `stop`, or ends the program where the run is `trained` and there
/// is nothing to save.
fn end_with_input(stop: &Arc<AtomicBool>, trained: &Arc<AtomicBool>) {
    let (stop, trained) = (Arc::clone(stop), Arc::clone(trained));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.store(true, Ordering::SeqCst);
        if trained.load(Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
}

/// Refuses the folder of an imported model: training would start over and replace its weights.
pub(super) fn refuse_imported(folder: &Folder) -> Result<()> {
    if folder.imported()?.is_none() {
        return Ok(());
    }
    let run = folder.path().display();
    Err(Error::new(format!("{run} was imported, so there is no training to resume")).help(format!(
        "evaluate it: foil eval {run}; or train its pipeline from the start: foil train {run}/resolved.yaml"
    )))
}

/// Refuses a sweep.
pub(super) fn one_run(file: &Path, loaded: Loaded) -> Result<Loaded> {
    let runs = loaded.pipeline.sweep.values().map(Vec::len).fold(1, usize::saturating_mul);
    if loaded.pipeline.sweep.is_empty() {
        return Ok(loaded);
    }
    let file = file.display();
    Err(Error::new(format!("{file} is a sweep of {runs} runs")).help(format!(
        "train them all: foil sweep {file}; or the file without its sweep: foil train {file} sweep=null"
    )))
}

/// The folder for a run's files.
pub(super) enum Place {
    /// `runs/NAME`, or with what changed, or `runs/NAME-2` and so on, if it is taken.
    Free,
    /// A folder that is to be made.
    New(PathBuf),
    /// The folder of a run to resume.
    Old(Folder),
}

/// Trains a pipeline until it is done or `stop` is set.
pub(super) fn train(
    loaded: &Loaded,
    place: Place,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
    world: World,
) -> Result<(Folder, Ended)> {
    let pipeline = &loaded.pipeline;
    let device = choose_for(&pipeline.device, world).map_err(|e| e.context("device"))?;
    // Everything is built and checked before a folder is made.
    let parts = loaded.built(Trainer::assemble(pipeline, device, world))?;
    let data = foil_runs::data::load(pipeline)?;
    let mut pipeline = pipeline.clone();
    let extra = extra(&mut pipeline, &place, device, world)?;
    agree(&pipeline, &data, extra.as_ref(), device, world)?;
    let (folder, lock, pipeline) =
        if world.is_first() { take(&pipeline, place)? } else { (Folder::default(), None, pipeline) };
    let path = world.first_says(&folder.path().display().to_string())?;
    let folder = if world.is_first() { folder } else { Folder::named(Path::new(&path)) };
    if world.is_first() {
        run_log::start(&folder)?;
        foil_runs::data::tell(&data);
        extra.iter().try_for_each(|extra| extra.keep(&folder))?;
    }
    let extra = extra.map(|extra| extra.images);
    let mut trainer = Trainer::new(pipeline.clone(), parts, (data, extra), folder.clone(), lock, device, world)?;
    say(world, &introduction(&pipeline, &trainer, &folder, device, world));
    let ended = trainer.run(observer, stop).inspect_err(|error| tracing::error!("{error}"))?;
    match (ended, trainer.best()) {
        (Ended::Finished, Some((epoch, score))) => say(
            world,
            &format!("best checkpoint: epoch {epoch} ({} = {score:.2}), {}", pipeline.select, folder.best().display()),
        ),
        _ => tracing::info!("{ended:?}."),
    }
    Ok((folder, ended))
}

/// The images that the pipeline mixes in, with their labels; what these are is noted in the
/// pipeline.
fn extra(pipeline: &mut Pipeline, place: &Place, device: tch::Device, world: World) -> Result<Option<Labelled>> {
    let Some(data) = foil_runs::data::load_extra(pipeline)? else { return Ok(None) };
    if world.is_first() {
        foil_runs::data::tell(&data);
    }
    let run = if let Place::Old(folder) = place { Some(folder) } else { None };
    let labelled = foil_runs::data::labelled(pipeline, data, run, device, world)?;
    if let Some(extra) = &mut pipeline.extra {
        extra.labels_content = labelled.content();
    }
    Ok(Some(labelled))
}

/// A progress bar for each epoch.
#[derive(Default)]
pub(super) struct EpochBars(Option<Progress>);

impl Observer for EpochBars {
    fn epoch_started(&mut self, epoch: u64, epochs: u64, steps: u64, done: u64) {
        self.0 = Some(Progress::new(format!("epoch {epoch}/{epochs}"), steps, Unit::STEPS).resumed_after(done));
    }

    fn step_done(&mut self, message: &dyn Fn() -> String) {
        if let Some(bar) = &mut self.0 {
            bar.tick(1, message);
        }
    }

    fn epoch_ended(&mut self, summary: &str) {
        if let Some(bar) = self.0.take() {
            bar.done(summary);
        }
    }
}

/// The run's folder, made and locked by the process that writes in it.
fn take(pipeline: &Pipeline, place: Place) -> Result<(Folder, Option<Lock>, Pipeline)> {
    let (folder, lock, pipeline) = match place {
        Place::Old(folder) => {
            let lock = folder.lock()?;
            (folder, lock, pipeline.clone())
        }
        Place::Free | Place::New(_) => {
            let mut pipeline = pipeline.clone().pinned_to_begin()?;
            let path = if let Place::New(path) = place { path } else { free_folder(&mut pipeline)? };
            let (folder, lock) = Folder::create(&path)?;
            let pipeline = pipeline.carried_into(folder.path())?;
            // Before the pipeline: a run that lists libraries is not used without its lock.
            pipeline.lock_libraries(folder.path())?;
            foil::atomic::write(folder.resolved(), pipeline.to_yaml()?).at("writing", &folder.resolved())?;
            (folder, lock, pipeline)
        }
    };
    Ok((folder, Some(lock), pipeline))
}

/// A short checksum of images and their labels.
fn checksum(sets: &[&foil::data::Images]) -> Result<String> {
    let sums = sets.iter().map(|images| images.sha256().map(|sums| sums.concat()).map_err(Error::of));
    let all: String = sums.collect::<Result<_>>()?;
    Ok(foil::hash::hash(all.as_bytes())[..16].to_string())
}

/// Refuses to train if the ranks do not run the same.
fn agree(
    pipeline: &Pipeline,
    data: &foil::data::Dataset,
    extra: Option<&Labelled>,
    device: tch::Device,
    world: World,
) -> Result<()> {
    if !world.is_joined() {
        return Ok(());
    }
    let extra = extra.map_or(Ok(String::new()), |extra| checksum(&[&extra.images]))?;
    let libtorch = devices().libtorch.as_deref().and_then(doctor::version_of).unwrap_or_default();
    let device = if device.is_cuda() { "cuda" } else { "cpu" };
    Agreement::default()
        .with("pipeline", pipeline.to_yaml()?)
        .with("data", checksum(&[&data.train, &data.test])?)
        .with("extra images", extra)
        .with("foil", foil::VERSION)
        .with_program()
        .with("libtorch", libtorch)
        .with("device", device)
        .reach(world)
}

/// Prints to the terminal and the run's log, on one rank only. A closed terminal does not stop the
/// run.
fn say(world: World, text: &str) {
    if !world.is_first() {
        return;
    }
    tracing::info!("{text}");
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn introduction(pipeline: &Pipeline, trainer: &Trainer, folder: &Folder, device: tch::Device, world: World) -> String {
    let parameters = trainer.parameters();
    let resumed = match (trainer.epochs_done(), trainer.steps_done()) {
        (0, 0) => String::new(),
        (epochs, 0) => format!(", resumed after epoch {epochs}"),
        (epochs, steps) => format!(", resumed after step {steps} of epoch {}", epochs + 1),
    };
    let ranks = match (world.is_joined(), pipeline.train.batch_norm) {
        (false, _) => String::new(),
        (true, BatchNorm::Local) => format!(", {}, batch norm local", world.describe()),
        (true, BatchNorm::Sync) => format!(", {}, batch norm synchronised", world.describe()),
    };
    let selection = match pipeline.images.validation {
        0 => "test images, as the papers do (images.validation: N holds out training images instead)".to_string(),
        held => format!("{held} held-out training images"),
    };
    let device = shown(device);
    let weights = pipeline.begins_with().map_or(String::new(), |from| format!(", initialised from {}", from.display()));
    format!(
        "{}: attack {}, loss {}, model {} ({} parameters{weights}), data {}, on {device}{ranks}{resumed}\nselection: {}, measured on {selection}\nfolder: {}",
        pipeline.name.as_deref().unwrap_or("run"),
        pipeline.attack.name(),
        pipeline.loss.name(),
        pipeline.model.name(),
        thousands(parameters),
        foil_runs::data::described(pipeline),
        pipeline.select,
        folder.path().display(),
    )
}

/// Makes `runs/NAME`. If that is taken, the folder and the run are named by what the run trains
/// otherwise, as in `runs/NAME-beta=2`; or it is `runs/NAME-2` and so on, the first that does not
/// exist, even if several runs start at once.
fn free_folder(pipeline: &mut Pipeline) -> Result<PathBuf> {
    let (runs, name) = (Path::new("runs"), pipeline.name.clone().unwrap_or_else(|| "run".into()));
    std::fs::create_dir_all(runs).at("making", runs)?;
    let made = |folder: &str| {
        let path = runs.join(folder);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
            made => made.at("making", &path).map(|()| Some(path)),
        }
    };
    if let Some(path) = made(&name)? {
        return Ok(path);
    }
    let there =
        look(&runs.join(&name).join("resolved.yaml"), &[]).and_then(|there| pipeline.change_from(&there.pipeline));
    let change = there.unwrap_or_default();
    if let Some(folder) = change.folder(&name)
        && let Some(path) = made(&folder)?
    {
        pipeline.name = change.name(&name).or(Some(name));
        return Ok(path);
    }
    for n in 2..10_000 {
        if let Some(path) = made(&format!("{name}-{n}"))? {
            return Ok(path);
        }
    }
    Err(Error::new("runs/ is full").help("choose a folder with --run-dir"))
}
