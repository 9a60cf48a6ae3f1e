//! Notes that a reader needs before trusting the rest.

use super::view::done;
use super::{Report, View, trust};
use crate::report::Run;
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Markup {
    let notes = notes(report);
    let failed: Vec<&View> = report.views.iter().filter(|view| trust::failures(view).0 > 0).collect();
    html! {
        @for view in failed {
            @let (n, seeds) = trust::failures(view);
            p class="note bad" {
                strong { (view.label) } ": " (n) @if n == 1 { " trust check" } @else { " trust checks" } " failed"
                @if view.group.runs.len() > 1 { " (" (seeds) " of " (view.group.runs.len()) " seeds)" } ". " a href="#trust" { "What that means" }
            }
        }
        @if !notes.is_empty() { div class="note" { ul { @for note in &notes { li { (note) } } } } }
    }
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = report.problems.clone();
    for view in &report.views {
        notes.extend(
            view.group.runs.iter().flat_map(|run| run.notes.iter().map(|note| format!("{}: {note}", view.label))),
        );
    }
    let settings = report.settings();
    if settings.len() > 1 {
        let all: Vec<String> = settings.iter().map(ToString::to_string).collect();
        notes.push(format!(
            "These runs were not evaluated in the same way, so each way has its own table: {}. Figures from different tables are not comparable.",
            all.join("; ")
        ));
    }
    let names = |runs: &dyn Fn(&Run) -> bool| -> Vec<String> {
        let found = report.views.iter().filter(|view| view.group.runs.iter().any(runs));
        found.map(|view| view.label.clone()).collect()
    };
    let mut say = |which: Vec<String>, what: &str| {
        if !which.is_empty() {
            notes.push(format!("{}: {what}", which.join(", ")));
        }
    };
    let partial = |run: &Run| done(run) < run.pipeline.train.epochs;
    say(names(&partial), "not trained to the end; the page shows its progress so far.");
    say(names(&|run| run.eval().is_none() && !run.outdated && !partial(run)), "not evaluated yet: foil eval RUN.");
    say(names(&|run| run.metrics.is_empty()), "no epoch is recorded.");
    let models: Vec<&str> =
        report.views.iter().filter_map(|view| Some(view.group.runs.first()?.pipeline.model.name())).collect();
    if models.windows(2).any(|pair| pair[0] != pair[1]) {
        let mut kinds = models.clone();
        kinds.sort_unstable();
        kinds.dedup();
        notes.push(format!("The methods use different networks: {}.", kinds.join(", ")));
    }
    notes
}
