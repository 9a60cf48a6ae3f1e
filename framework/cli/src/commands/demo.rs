//! `foil demo`: four small runs on real digits, side by side.

use super::Exit;
use super::eval::{self, Last, table};
use super::report::{self, pictures};
use super::signals::on_interrupt;
use super::train::{EpochBars, Place, train};
use crate::report::Style;
use foil::atomic;
use foil::distributed::World;
use foil::{AtPath, Error};
use foil_runs::pipeline::load;
use foil_runs::record::EvalRecord;
use foil_runs::train::{Ended, Folder};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Train AT, TRADES, CAT and an undefended network on real digits, and compare them under attack.
/// Takes a few minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil demo
  foil demo --dir runs/mine         another folder; a second call resumes where the first one stopped")]
pub(super) struct Args {
    /// The folder for the runs, the table and the picture.
    #[arg(long, default_value = "runs/demo")]
    dir: PathBuf,
    /// Overrides for all four runs, such as `train.epochs=1`.
    overrides: Vec<String>,
}

/// The pipelines, as files of the repository and as they are written into the demo's folder.
const CONFIGS: [(&str, &str); 5] = [
    ("base.yaml", include_str!("../../../../configs/demo/base.yaml")),
    ("undefended.yaml", include_str!("../../../../configs/demo/undefended.yaml")),
    ("at.yaml", include_str!("../../../../configs/demo/at.yaml")),
    ("trades.yaml", include_str!("../../../../configs/demo/trades.yaml")),
    ("cat_cw.yaml", include_str!("../../../../configs/demo/cat_cw.yaml")),
];

/// Digits in the picture.
const SHOWN: i64 = 10;

pub(super) fn run(args: &Args) -> Exit {
    let started = Instant::now();
    let configs = args.dir.join("configs");
    std::fs::create_dir_all(&configs).at("making", &configs)?;
    for (name, text) in CONFIGS {
        atomic::write(configs.join(name), text).at("writing", &configs.join(name))?;
    }
    eprintln!("foil demo: four small networks on 10,000 real digits, then the same attacks on all of them.\n");
    let stop = on_interrupt()?;
    let mut records = Vec::new();
    for (name, _) in CONFIGS.iter().skip(1) {
        let run = args.dir.join(name.trim_end_matches(".yaml"));
        let (loaded, place) = match Folder::open(&run) {
            Ok(folder) => (load(&folder.resolved(), &[])?, Place::Old(folder)),
            Err(_) => (load(&configs.join(name), &args.overrides)?, Place::New(run.clone())),
        };
        if train(&loaded, place, &mut EpochBars::default(), &stop, World::alone())?.1 == Ended::Stopped {
            eprintln!("stopped and saved; resume with `foil demo`");
            return Ok(ExitCode::from(130));
        }
        records.push(eval::evaluate(&run, &eval::Options::default(), World::alone())?.0);
        eprintln!();
    }

    let table = table(&records, Last::WorstCase);
    let (table_file, picture) = (args.dir.join("table.md"), args.dir.join("digits.png"));
    atomic::write(&table_file, table.markdown()).at("writing", &table_file)?;
    pictures(&args.dir.join("cat_cw"), SHOWN)?.write(&picture).map_err(Error::of)?;
    println!("{}", table.terminal(Style::stdout()));
    println!("{}\n{}", trusted(&records), READING);
    let page = args.dir.join("report.html");
    report::write(args.dir_of_runs(), page.clone(), "foil demo")?;
    println!(
        "Written in {:.0} s:\n  {}  open it in a browser: curves, tables, images, trust checks\n  {}  the table\n  {}  digits, attacked digits, masks and calibrated digits\n  {}  four runs: weights, metrics, TensorBoard events, records",
        started.elapsed().as_secs_f64(),
        page.display(),
        table_file.display(),
        picture.display(),
        args.dir.display(),
    );
    println!("{}", next(&configs));
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn dir_of_runs(&self) -> Vec<PathBuf> {
        CONFIGS.iter().skip(1).map(|(name, _)| self.dir.join(name.trim_end_matches(".yaml"))).collect()
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
    let good: Vec<&str> =
        records.iter().filter(|record| red(record).is_empty()).map(|record| record.model.as_str()).collect();
    let good = if good.is_empty() { "none passed".into() } else { format!("passed for {}", good.join(", ")) };
    format!("Trust checks: {}.\n", std::iter::once(good).chain(bad).collect::<Vec<_>>().join("; "))
}

const READING: &str =
    "Rows are networks, columns are attacks with eps 0.3; a cell is the percentage of test digits classified correctly,
the last one under all of these attacks. The undefended network reads clean digits and loses nearly all of them under
PGD-20; the other three were trained on attacked digits. CAT_cw trains at half the learning rate of the others, which
keeps its mask open, so two epochs are too few for it; with one learning rate for all it is level with TRADES
(docs/results/digits.md).
";

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
