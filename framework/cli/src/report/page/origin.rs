//! Versions, devices, dates, seeds: what is needed to reproduce the figures.

use super::Report;
use super::view::done;
use crate::report::{Cell, Column, Run, Table};
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Markup {
    let columns = [
        "method",
        "folder",
        "seed",
        "epochs",
        "selected",
        "evaluated on",
        "precision",
        "device",
        "foil",
        "libtorch",
        "date",
        "config",
    ];
    let columns = columns.map(|name| {
        if ["seed", "epochs", "selected"].contains(&name) {
            Column { decimals: 0, ..Column::number(name) }
        } else {
            Column::text(name)
        }
    });
    let rows = report.views.iter().flat_map(|view| view.group.runs.iter().map(|run| row(&view.label, run)));
    let table = Table { title: String::new(), columns: columns.into(), rows: rows.collect() };
    html! {
        (table.html())
        p class="soft" { "“config” is the start of the SHA-256 of the run's pipeline: runs that share it had the same settings. To repeat a run: " code { "foil train FOLDER/resolved.yaml" } "." }
    }
}

fn row(label: &str, run: &Run) -> Vec<Cell> {
    let text = |text: &str| Cell::Text(text.into());
    let (eval, epochs) = (run.eval(), run.pipeline.train.epochs);
    let of =
        |pick: fn(&foil_runs::record::EvalRecord) -> String| eval.map_or(Cell::Missing, |eval| Cell::Text(pick(eval)));
    vec![
        text(label),
        text(&run.path.display().to_string()),
        Cell::Number(run.pipeline.seed as f64),
        text(&if done(run) == epochs { epochs.to_string() } else { format!("{} of {epochs}", done(run)) }),
        run.best.as_ref().map_or(Cell::Missing, |best| Cell::Number(best.epoch as f64)),
        of(|eval| format!("{} {} images, {}", eval.n, eval.dataset, eval.threat)),
        of(|eval| eval.precision.clone()),
        of(|eval| eval.device.clone()),
        of(|eval| eval.foil_version.clone()),
        of(|eval| eval.libtorch.clone()),
        of(|eval| eval.date.replace('T', " ").trim_end_matches('Z').to_string()),
        text(&run.hash.chars().take(8).collect::<String>()),
    ]
}
