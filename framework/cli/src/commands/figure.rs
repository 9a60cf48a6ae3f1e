//! `foil figure`: Figures 2 to 6 of the CAT paper, from the runs that they take.

use super::check::split;
use super::compare::{Job, Options, carry_out};
use super::report::{pictures_of, read};
use super::{Exit, note, ranks};
use crate::compare::plan;
use crate::report::chart::Figure;
use crate::report::{Group, Run, figures, gather};
use foil::{AtPath, Error, Result};
use foil_runs::pipeline::WorkList;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Test images that Figure 2 shows, drawn by the run's seed.
const SHOWN: usize = 10;

/// Draw a figure of the CAT paper: train the runs that it needs and that do not exist yet, and
/// chart them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil figure 2 configs/figures/2_masks.yaml             masks and calibrated images
  foil figure 3 configs/figures/3_*.yaml                 five methods at radii of 8 to 12
  foil figure 4 configs/figures/4_*.yaml                 without the mask (A2), and without the weight too (A1)
  foil figure 5 configs/figures/5_objectives.yaml        what the attack maximises
  foil figure 6 configs/figures/6_beta1.yaml             beta1
  foil figure 6 configs/figures/digits/6_beta1.yaml      a small version, on digits that come with foil
  foil figure 6 runs/mine                                of existing runs

Run the same command again to resume; finished runs are not trained again.")]
pub(super) struct Args {
    /// The figure's number in the paper.
    #[arg(value_parser = clap::value_parser!(u8).range(2..=6))]
    number: u8,
    /// Pipeline files, with `key=value` overrides for all of them; or folders of runs.
    #[arg(required = true)]
    inputs: Vec<String>,
    /// The folder in which runs are looked up and made (default: runs/figureN).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The folder for figureN.svg, figureN.png and the tables (default: the folder of the runs).
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args) -> Exit {
    let (paths, overrides) = split(&args.inputs);
    let folders = paths.iter().any(|path| path.is_dir());
    let pipelines = paths.iter().any(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"));
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(format!("runs/figure{}", args.number)));
    let crew = ranks::crew()?;
    let first = crew.is_first();
    if folders && !first {
        return Ok(ExitCode::SUCCESS);
    }
    let (groups, out) = match folders {
        false => {
            let out = args.out.clone().unwrap_or_else(|| dir.clone());
            let job = Job { command: "compare", files: &paths, overrides: &overrides, dir: &dir, out: &out, crew };
            let done = carry_out(&job, &args.options)?;
            if done == ExitCode::from(130) || args.options.only_plans() || !first {
                return Ok(done);
            }
            (planned(&paths, &overrides, args, &dir)?, out)
        }
        // Other files that a shell's `runs/*` includes are only noted.
        true if !pipelines && overrides.is_empty() => {
            let report = read(&paths)?;
            report.problems.iter().for_each(note);
            let out = args.out.clone().unwrap_or_else(|| PathBuf::from("."));
            (report.views.into_iter().map(|view| view.group).collect(), out)
        }
        _ => {
            return Err(Error::new("pipeline files and folders of runs cannot be mixed")
                .help("name files to train them, or folders to draw finished runs"));
        }
    };
    let figure = draw(args.number, &groups)?;
    std::fs::create_dir_all(&out).at("making", &out)?;
    figure.write(&out)?;
    println!("figure {}: {} and .png", args.number, out.join(format!("{}.svg", figure.name)).display());
    Ok(ExitCode::SUCCESS)
}

/// The finished runs of the work list.
fn planned(files: &[PathBuf], overrides: &[String], args: &Args, dir: &Path) -> Result<Vec<Group>> {
    let list = WorkList::of(files, overrides, args.options.seeds())?;
    let folders: Vec<PathBuf> =
        plan(list.runs, dir)?.0.into_iter().map(|task| task.folder).filter(|path| path.exists()).collect();
    let (runs, errors) = Run::load_all(&folders);
    errors.iter().for_each(|error| note(error.message()));
    let (groups, notes) = gather::group(runs);
    notes.iter().for_each(note);
    Ok(groups)
}

fn draw(number: u8, groups: &[Group]) -> Result<Figure> {
    if number != 2 {
        return figures::draw(number, groups);
    }
    let runs = groups.iter().flat_map(|group| group.runs.first());
    let run = runs.into_iter().find(|run| run.path.join("best_mask.safetensors").exists());
    let run = run.ok_or_else(|| {
        Error::new("none of these runs has a mask network")
            .help("train one with CAT: foil figure 2 configs/figures/2_masks.yaml")
    })?;
    let mut random = fastrand::Rng::with_seed(run.pipeline.seed);
    let grid = pictures_of(&run.path, |images| random.choose_multiple(0..images, SHOWN))?;
    Ok(figures::masks(run, grid))
}
