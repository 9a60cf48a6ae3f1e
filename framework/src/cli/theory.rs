//! `foil theory`: the CAT paper's theory on problems that can be seen.

use super::Exit;
use crate::record::atomic;
use crate::report::{Cell, Column, Progress, Style, Table};
use crate::theory::{Errors, Objective, Problem, errors, figure, of_oracle, train};
use crate::{AtPath, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// Train on points in a plane with a known oracle by Eq. 7 and by Eq. 17 of the CAT paper, draw the decision boundaries, and measure
/// both sides of its two theorems. Takes a minute.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil theory                                         writes theory/: a figure for each problem as SVG and PNG, and table.md
  foil theory --problem islands --epochs 10 --out t   faster, and less sharp")]
pub(super) struct Args {
    /// Where the figures and the table go.
    #[arg(long, value_name = "DIR", default_value = "theory")]
    out: PathBuf,
    /// Only this problem: waves, islands or apart.
    #[arg(long, value_name = "NAME", value_parser = Problem::ALL.map(Problem::name))]
    problem: Option<String>,
    /// Passes over the 4,000 training points.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    epochs: u64,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(args: &Args) -> Exit {
    std::fs::create_dir_all(&args.out).at("making", &args.out)?;
    let asked = |problem: &Problem| args.problem.as_ref().is_none_or(|name| name == problem.name());
    let problems: Vec<Problem> = Problem::ALL.into_iter().filter(asked).collect();
    let mut progress = Progress::new("training", 2 * problems.len() as u64);
    let mut rows = Vec::new();
    for problem in problems {
        rows.push(row(problem, "nothing (the oracle)", of_oracle(problem, args.seed)));
        let trained = [Objective::Eq7, Objective::Eq17].into_iter().map(|objective| {
            let trained = train(problem, objective, args.epochs, args.seed)?;
            progress.tick(1, String::new);
            rows.push(row(problem, objective.name(), errors(problem, &trained, args.seed)));
            Ok((objective, trained))
        });
        let mut trained = trained.collect::<Result<Vec<_>>>()?;
        figure(problem, &mut trained)?.write(&args.out)?;
    }
    progress.done("");
    let accuracy = |name: &str| Column { higher_is_better: None, ..Column::accuracy(name) };
    let columns = vec![
        Column::text("problem"),
        Column::text("trained by"),
        accuracy("natural"),
        accuracy("worst case (Eq. 7)"),
        accuracy("robust"),
        accuracy("calibrated (Eq. 17)"),
        accuracy("within the ball"),
        Column { decimals: 3, ..Column::number("bound") },
    ];
    let table = Table { title: "Errors on 2,000 test points, percent".into(), columns, rows };
    let file = args.out.join("table.md");
    atomic::write(&file, table.markdown()).at("writing", &file)?;
    println!("{}", table.terminal(Style::stdout()));
    println!("{READING}\nWritten: {} and a figure for each problem beside it", file.display());
    Ok(ExitCode::SUCCESS)
}

const READING: &str = "Theorem 1 (as we read it): robust <= calibrated. Theorem 2 (as we read it): calibrated <= bound (1 is 100 %; above 1 it says nothing).
The oracle answers rightly everywhere; where balls reach over its boundary Eq. 7 counts that as an error, and Eq. 17 does not.
A ball counts as calibrated error as soon as the two boundaries differ by a hair in it; “within the ball” is the share of it that is wrong.";

fn row(problem: Problem, by: &str, found: Errors) -> Vec<Cell> {
    let percent = |share: f64| Cell::Percent(100.0 * share);
    vec![
        Cell::Text(problem.name().into()),
        Cell::Text(by.into()),
        percent(found.natural),
        percent(found.worst_case),
        percent(found.robust),
        percent(found.calibrated),
        percent(found.within),
        Cell::Number(found.bound),
    ]
}
