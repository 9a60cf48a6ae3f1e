//! `foil demo`: digits that fool a network, and networks that resist.

mod attacks;
mod picture;
mod reading;
mod shipped;

use super::Exit;
use super::as_typed::as_typed;
use super::eval::{Last, table};
use super::report;
use super::signals::on_interrupt;
use super::train::{EpochBars, Place, train};
use crate::report::Style;
use foil::atomic;
use foil::distributed::World;
use foil::{AtPath, Error, Result};
use foil_runs::pipeline::load;
use foil_runs::record::EvalRecord;
use foil_runs::train::{Ended, Folder};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Train an undefended network and AT on real digits, and attack them beside AT, TRADES and CAT,
/// whose weights of a longer training come with foil. Takes a minute and a half.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil demo
  foil demo --dir runs/mine         another folder; a second call resumes where the first one stopped")]
pub(super) struct Args {
    /// The folder for the runs, the table, the picture and the page.
    #[arg(long, default_value = "runs/demo")]
    dir: PathBuf,
    /// Overrides for the two networks that are trained, such as `train.epochs=3`; those of the
    /// evaluation, such as `images.test_limit=1000`, count for all.
    overrides: Vec<String>,
}

/// The pipelines, as files of the repository and as they are written into the demo's folder.
const CONFIGS: [(&str, &str); 9] = [
    ("base.yaml", include_str!("../../../../configs/demo/base.yaml")),
    ("undefended.yaml", include_str!("../../../../configs/demo/undefended.yaml")),
    ("at.yaml", include_str!("../../../../configs/demo/at.yaml")),
    ("at_one_epoch.yaml", include_str!("../../../../configs/demo/at_one_epoch.yaml")),
    ("trades.yaml", include_str!("../../../../configs/demo/trades.yaml")),
    ("cat_cw.yaml", include_str!("../../../../configs/demo/cat_cw.yaml")),
    ("weights/at.yaml", include_str!("../../../../configs/demo/weights/at.yaml")),
    ("weights/trades.yaml", include_str!("../../../../configs/demo/weights/trades.yaml")),
    ("weights/cat_cw.yaml", include_str!("../../../../configs/demo/weights/cat_cw.yaml")),
];

/// Those that are trained while the user watches.
const TRAINED: [&str; 2] = ["undefended", "at_one_epoch"];

/// How all of them are evaluated. AutoAttack takes most of the demo's time.
const EVALUATION: [&str; 2] = ["images.test_limit=100", "evaluate=[natural, pgd20, autoattack]"];
/// Keys that say how a network is evaluated.
const OF_EVALUATION: [&str; 6] = ["images.test_limit=", "evaluate=", "attacks=", "attacks.", "device=", "train.eval_"];

pub(super) fn run(args: &Args) -> Exit {
    let started = Instant::now();
    let configs = args.dir.join("configs");
    let weights = configs.join("weights");
    std::fs::create_dir_all(&weights).at("making", &weights)?;
    for (name, text) in CONFIGS {
        atomic::write(configs.join(name), text).at("writing", &configs.join(name))?;
    }
    eprintln!("1 of 3: two small networks are trained for an epoch on 10,000 real digits.\n");
    let Some(mut runs) = trained(args, &configs)? else {
        eprintln!("{}", as_typed("stopped and saved; resume with `foil demo`"));
        return Ok(ExitCode::from(130));
    };
    for network in &shipped::NETWORKS {
        runs.push(network.unpack(&args.dir, &configs)?);
    }
    eprintln!(
        "\n2 of 3: they are attacked on 100 digits, and with them three that were trained for longer: about a minute.\n"
    );
    let asked = args.overrides.iter().filter(|o| OF_EVALUATION.iter().any(|key| o.starts_with(key))).cloned();
    let overrides: Vec<String> = EVALUATION.map(String::from).into_iter().chain(asked).collect();
    let records = attacks::all(&runs, &overrides)?;
    eprintln!("\n3 of 3: the picture and the page.\n");
    let files = Files::of(&args.dir);
    picture::draw(&runs)?.write(&files.picture).map_err(Error::of)?;
    let table = table(&records, Last::WorstCase);
    atomic::write(&files.table, table.markdown()).at("writing", &files.table)?;
    report::write(runs, files.page.clone(), "foil demo")?;
    println!("\n{}", table.terminal(Style::stdout()));
    println!("{}\n", reading::text(&records));
    println!("{}\n", trusted(&records));
    println!("{}", files.shown(&args.dir, started));
    println!("{}", next(&configs));
    Ok(ExitCode::SUCCESS)
}

/// The networks that are trained here; `None` if that was stopped.
fn trained(args: &Args, configs: &Path) -> Result<Option<Vec<PathBuf>>> {
    let stop = on_interrupt()?;
    let mut runs = Vec::new();
    for name in TRAINED {
        let run = args.dir.join(name);
        let (loaded, place) = match Folder::open(&run) {
            Ok(folder) => (load(&folder.resolved(), &[])?, Place::Old(folder)),
            Err(_) => (load(&configs.join(name).with_extension("yaml"), &args.overrides)?, Place::New(run.clone())),
        };
        if train(&loaded, place, &mut EpochBars::default(), &stop, World::alone())?.1 == Ended::Stopped {
            return Ok(None);
        }
        runs.push(run);
    }
    Ok(Some(runs))
}

/// What the demo writes beside the runs.
struct Files {
    page: PathBuf,
    table: PathBuf,
    picture: PathBuf,
}

impl Files {
    fn of(dir: &Path) -> Self {
        let [page, table, picture] = ["report.html", "table.md", "digits.png"].map(|name| dir.join(name));
        Self { page, table, picture }
    }

    fn shown(&self, dir: &Path, started: Instant) -> String {
        let page = std::path::absolute(&self.page).unwrap_or_else(|_| self.page.clone());
        format!(
            "Written in {:.0} s:\n  {}  curves, tables, images and checks; open it in a browser: file://{}\n  {}  each \
             network under its own attack\n  {}  the table\n  {}  the runs: weights, metrics, TensorBoard events, records",
            started.elapsed().as_secs_f64(),
            self.page.display(),
            page.display(),
            self.picture.display(),
            self.table.display(),
            dir.display(),
        )
    }
}

/// The verdict of the trust checks, in a line.
fn trusted(records: &[EvalRecord]) -> String {
    let red = |record: &EvalRecord| {
        let failed = record.trust.iter().filter(|check| check.passed == Some(false));
        failed.map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let bad: Vec<String> = records
        .iter()
        .filter(|record| !red(record).is_empty())
        .map(|record| format!("{} fails {}", record.model, red(record)))
        .collect();
    match bad.as_slice() {
        [] => format!("Trust checks: no sign of masked gradients in any of the {} networks.", records.len()),
        bad => format!("Trust checks: {}; do not quote these accuracies.", bad.join("; ")),
    }
}

/// What to type next, with this program and the demo's own files.
fn next(configs: &Path) -> String {
    let (foil, at) = (foil::program::typed(), configs.join("at.yaml"));
    format!(
        "
Try next:
  {foil} explain calibrated                 what CAT does, and every key it takes
  {foil} train {at} train.epochs=3          change anything from the command line
  {foil} new-plugin loss my_loss            start a loss of your own",
        at = at.display()
    )
}
