//! `foil report`: what runs came to, on one page.

use super::{Exit, note, words};
use crate::report::gallery::gallery;
use crate::report::gather::named;
use crate::report::page::{Report, View};
use crate::report::picture::Grid;
use crate::report::{Progress, Run, Unit};
use foil::atomic;
use foil::attack::Batch;
use foil::data::Resident;
use foil::nn::{Noise, key_of};
use foil::scheduler::Clock;
use foil::{AtPath, Error, Result};
use foil_runs::pipeline::{assemble, look};
use foil_runs::record::EvalRecord;
use foil_runs::train::Folder;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind, Tensor};

mod strength;

/// Put runs side by side on one HTML page: curves, tables, charts, images, checks and configs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil report runs/at runs/cat_cw                  writes report.html
  foil report runs/demo --out demo.html            every run below a folder
  foil report runs/demo --figures figures          each chart also as SVG and PNG
  foil report runs/demo --curves 200               measure accuracy by radius and by steps on 200 test images first

The page is one file and needs no network, so you can send it. Runs that differ only in their seed are grouped.")]
pub(super) struct Args {
    /// Run folders, or folders that contain them.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The HTML file to write.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Also write each chart as SVG and PNG into this folder.
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
    /// How many test images to show under each method's attack; 0 shows none and reads no weights.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=64))]
    images: u16,
    /// Measure accuracy by radius and by steps on the first N test images, and store it in each
    /// run's curves.json.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    curves: Option<u32>,
    /// The page's heading.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

/// Writes the page of these runs, with some images of each, to `out`.
pub(super) fn write(runs: Vec<PathBuf>, out: PathBuf, title: &str) -> Exit {
    run(&Args { runs, out, figures: None, images: 8, curves: None, title: Some(title.into()) })
}

pub(super) fn run(args: &Args) -> Exit {
    let mut report = read(&args.runs)?;
    if let Some(title) = &args.title {
        report.title.clone_from(title);
    }
    for view in &mut report.views {
        match curves(view, args.curves) {
            Ok(record) => view.curves = record,
            Err(error) => {
                report.problems.push(format!("{}: no curves by radius and steps: {}", view.label, words(&error)))
            }
        }
    }
    let mut progress = Progress::new("images", report.views.len() as u64, Unit::METHODS);
    for view in report.views.iter_mut().filter(|_| args.images > 0) {
        progress.tick(1, String::new);
        let Some(run) = view.group.runs.first().filter(|run| run.path.join("best.safetensors").exists()) else {
            continue;
        };
        match pictures(&run.path, i64::from(args.images)) {
            Ok(grid) => view.gallery = Some(grid),
            Err(error) => report.problems.push(format!("{}: no images: {}", view.label, words(&error))),
        }
    }
    drop(progress);

    if let Some(parent) = args.out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).at("making", parent)?;
    }
    let page = report.html();
    atomic::write(&args.out, &page).at("writing", &args.out)?;
    if let Some(folder) = &args.figures {
        std::fs::create_dir_all(folder).at("making", folder)?;
        let figures = report.figures();
        figures.iter().try_for_each(|figure| figure.write(folder))?;
        println!("{} figures, each as SVG and PNG: {}", figures.len(), folder.display());
    }
    report.problems.iter().for_each(note);
    let methods = if report.views.len() == 1 { "1 method".into() } else { format!("{} methods", report.views.len()) };
    println!("{methods}, {} KB: {}", page.len() / 1024, args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// The runs in and below these folders. A folder without a run, or a run that cannot be read, is a
/// problem on the page; no run at all is an error.
pub(super) fn read(folders: &[PathBuf]) -> Result<Report> {
    let (paths, mut problems) = named(folders)?;
    let (runs, errors) = Run::load_all(&paths);
    if runs.is_empty() {
        let unread: Vec<String> = errors.iter().map(words).collect();
        return Err(Error::new("none of these runs can be read").help(unread.join("\n        ")));
    }
    problems.extend(errors.iter().map(words));
    Ok(Report::new(runs, problems))
}

/// The curves of a view's first run: measured now on `n` images, or read from its folder.
fn curves(view: &View, n: Option<u32>) -> Result<Option<EvalRecord>> {
    let Some(run) = view.group.runs.first() else { return Ok(None) };
    let path = run.path.join("curves.json");
    match n {
        Some(n) if run.path.join("best.safetensors").exists() => {
            strength::measure(&run.path, i64::from(n), &path).map(Some)
        }
        _ if path.exists() => {
            let record = EvalRecord::load(&path).map_err(Error::of)?;
            match record.outdated(&run.path.join("best.safetensors"))? {
                Some(why) => Err(Error::new(format!("{} is {why}; --curves N measures again", path.display()))),
                None => Ok(Some(record)),
            }
        }
        _ => Ok(None),
    }
}

/// What a run's attack does to the first `n` test images, at the end of its schedule.
pub(super) fn pictures(run: &Path, n: i64) -> Result<Grid> {
    pictures_of(run, |images| (0..n.min(images)).collect())
}

/// As [`pictures`] for the test images that `pick` chooses from their number.
pub(super) fn pictures_of(run: &Path, pick: impl FnOnce(i64) -> Vec<i64>) -> Result<Grid> {
    let folder = Folder::open(run)?;
    let loaded = look(&folder.resolved(), &[])?;
    let mut parts = loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, false))?;
    let network = parts.step.model.network();
    network.read(&folder.best())?;
    if let Some(mask) = parts.step.attack.learner() {
        mask.network().read(&folder.best_mask())?;
    }
    let data = foil_runs::data::read(&loaded.pipeline)?;
    let images = Resident::new(&data.test, Device::Cpu)?;
    let [x, y, index] = images.batch(&Tensor::from_slice(&pick(images.len())), Kind::Float, None)?;
    let noise = Noise::new(&Tensor::from(key_of(&[loaded.pipeline.seed])), &index);
    let epochs = loaded.pipeline.train.epochs;
    let clock = Clock::new(epochs, 1, Device::Cpu);
    clock.set(epochs, 0);
    let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
    gallery(network, parts.step.attack.as_mut(), &batch, &data.facts.class_names)
}
