//! `foil theory`: the CAT paper's theory on two-dimensional problems.

use super::Exit;
use crate::report::{Progress, Style, Table, Unit};
use crate::theory::{
    Networks, Objective, Problem, Row, Task, Trained, figure_1, figure_7, figure_8, figure_9, of_network, of_oracle,
    of_patchwork, of_problem, tables, train,
};
use foil::atomic;
use foil::{AtPath, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// Train on points in the plane with a known oracle by Eq. 1, 17 and 7 of the CAT paper, measure
/// both sides of its two theorems, and draw its Figures 1, 7, 8 and 9. Takes a minute on one core.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil theory                                         writes theory/: the figures as SVG and PNG, and table.md
  foil theory --problem islands --epochs 10 --out t   one problem, its figure and its rows; faster, and less sharp")]
pub(super) struct Args {
    /// The folder for the figures and the tables.
    #[arg(long, value_name = "DIR", default_value = "theory")]
    out: PathBuf,
    /// Do only this problem (waves, islands, apart or shore), without the paper's figures.
    #[arg(long, value_name = "NAME", value_parser = Problem::ALL.map(Problem::name))]
    problem: Option<String>,
    /// Passes over the 3,000 training points.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    epochs: u64,
    /// The random seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

const POINTS: i64 = 3000;
/// Figure 9's few points are one batch, so its networks take this many times more epochs.
const STEPS: u64 = 12;

pub(super) fn run(args: &Args) -> Exit {
    std::fs::create_dir_all(&args.out).at("making", &args.out)?;
    let asked = |problem: &Problem| args.problem.as_ref().is_none_or(|name| name == problem.name());
    let problems: Vec<Problem> = Problem::ALL.into_iter().filter(asked).collect();
    let mut progress = Progress::new("training", 3 * problems.len() as u64, Unit::NETWORKS);
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for problem in problems {
        rows.extend(by_hand(problem, args.seed));
        let mut networks = Networks { problem, trained: Vec::new() };
        for objective in Objective::ALL {
            let trained = trained(problem, objective, args)?;
            let sides = of_network(problem, &trained, args.seed);
            rows.push(Row { problem: problem.name(), network: objective.name(), sides });
            networks.trained.push((objective, trained));
            progress.tick(1, String::new);
        }
        of_problem(&mut networks)?.write(&args.out)?;
        all.push(networks);
    }
    progress.done("");
    if let [waves, islands, _, shore] = &mut all[..] {
        figure_1(waves)?.write(&args.out)?;
        let [cliff, turn] = [Problem::Cliff, Problem::Turn].map(|problem| trained(problem, Objective::Eq1, args));
        let (cliff, turn) = (cliff?, turn?);
        let [shore, of_waves] = [&shore.trained[0].1, &waves.trained[0].1];
        let four =
            [(Problem::Shore, shore), (Problem::Cliff, &cliff), (Problem::Turn, &turn), (Problem::Waves, of_waves)];
        figure_7(&four).write(&args.out)?;
        figure_8(waves, islands).write(&args.out)?;
        figure_9(STEPS * args.epochs, args.seed)?.write(&args.out)?;
    }
    let tables = tables(&rows);
    let file = args.out.join("table.md");
    let markdown: Vec<String> = tables.iter().map(Table::markdown).collect();
    atomic::write(&file, markdown.join("\n")).at("writing", &file)?;
    tables.iter().for_each(|table| println!("{}", table.terminal(Style::stdout())));
    println!("{READING}\nWritten: {} and the figures beside it", file.display());
    Ok(ExitCode::SUCCESS)
}

fn trained(problem: Problem, objective: Objective, args: &Args) -> Result<Trained> {
    train(Task::of(problem, POINTS, args.seed), objective, args.epochs, args.seed)
}

/// The rows that need no training.
fn by_hand(problem: Problem, seed: u64) -> Vec<Row> {
    let row = |network, sides| Row { problem: problem.name(), network, sides };
    let mut rows = vec![row("the oracle itself", of_oracle(problem, seed))];
    if problem == Problem::Waves {
        rows.push(row("half the oracle, half flat", of_patchwork(problem, seed)));
    }
    rows
}

const READING: &str = "Shares of 2,000 test points, and losses in bits. NO: the inequality fails.
Theorem 1 asks that the boundaries differ. Its proof needs that in each ball concerned: Eq. 16 contradicts nothing where they are the same in one.
Theorem 2's last step sets f_oracle(X′) = Y in the maximum, and so drops the X′ of the other class, which R_cali counts.
R_cali counts every ball that the oracle's boundary crosses, whatever a continuous f does there; the wrong part of a ball shows how much of it is wrong.";
