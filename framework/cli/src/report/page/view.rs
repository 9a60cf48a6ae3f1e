//! The page's content: methods, with what is known about each.

use crate::report::gather::{Group, Spread, group};
use crate::report::picture::Grid;
use crate::report::{Run, chart};
use foil::distinct;
use foil_runs::record::{EvalRecord, ImageRecord, Threat};
use maud::{Markup, html};

/// Everything that the page shows.
#[derive(Debug, Default)]
pub struct Report {
    /// The heading.
    pub title: String,
    /// The methods, in the order in which they were named.
    pub views: Vec<View>,
    /// Problems while reading the runs, one sentence each.
    pub problems: Vec<String>,
    /// When the page was made: UTC, RFC 3339.
    pub created: String,
}

/// One method: the runs that differ only in their seed.
#[derive(Debug)]
pub struct View {
    /// Its unique name on the page.
    pub label: String,
    /// The runs.
    pub group: Group,
    /// The image record of the first evaluated run, if there is one.
    pub images: Option<ImageRecord>,
    /// Accuracy under attacks that differ in one number only, if that was measured.
    pub curves: Option<EvalRecord>,
    /// Images, attacked, masked and calibrated, if they were made.
    pub gallery: Option<Grid>,
}

/// What figures must have in common to be in one table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub dataset: String,
    pub threat: Threat,
    pub n: u64,
}

impl Report {
    /// A page about these runs; those that differ only in their seed are grouped.
    pub fn new(runs: Vec<Run>, problems: Vec<String>) -> Self {
        let (groups, repeated) = group(runs);
        let taken: Vec<String> = groups.iter().map(|group| group.label.clone()).collect();
        let label = |group: &Group, n: usize| {
            let alone = taken.iter().filter(|name| **name == group.label).count() == 1;
            let folder = group.runs.first().and_then(|run| run.path.file_name()).map(|name| name.to_string_lossy());
            match folder {
                _ if alone => group.label.clone(),
                Some(folder) if folder != group.label.as_str() => format!("{} ({folder})", group.label),
                _ => format!("{} ({})", group.label, n + 1),
            }
        };
        let labels: Vec<String> = groups.iter().enumerate().map(|(n, group)| label(group, n)).collect();
        let mut problems = [problems, repeated].concat();
        let views = groups.into_iter().zip(labels).map(|(group, label)| {
            let evaluated = group.runs.iter().find(|run| run.eval().is_some());
            let images = evaluated.map_or(Ok(None), Run::images).unwrap_or_else(|error| {
                problems.push(format!("{label}: no figures for each class: {}", error.message()));
                None
            });
            View { label, group, images, curves: None, gallery: None }
        });
        let views: Vec<View> = views.collect();
        Report { title: "Robustness report".into(), views, problems, created: foil_runs::record::stamp::now() }
    }

    /// The distinct settings of the evaluations, in order.
    pub(super) fn settings(&self) -> Vec<Setting> {
        distinct(self.views.iter().flat_map(|view| view.group.evals()).map(Setting::of))
    }

    /// The methods with an evaluation in this setting, with their index on the page.
    pub(super) fn within(&self, setting: &Setting) -> Vec<(usize, &View)> {
        let inside = |view: &View| view.group.evals().any(|eval| Setting::of(eval) == *setting);
        self.views.iter().enumerate().filter(|(_, view)| inside(view)).collect()
    }

    /// The page's heading: what, on what, and the best in a sentence.
    pub(super) fn head(&self) -> Markup {
        let runs: usize = self.views.iter().map(|view| view.group.runs.len()).sum();
        let count = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
        let settings = self.settings();
        html! {
            h1 { (self.title) }
            p class="lead" {
                (count(self.views.len(), "method")) ", " (count(runs, "run"))
                @for setting in &settings { " · " (setting.to_string()) }
            }
            ul class="key" aria-label="Methods" {
                @for (n, view) in self.views.iter().enumerate() {
                    li { span class="swatch" style=(format!("background:{}", chart::series(n))) {} (view.label) }
                }
            }
        }
    }
}

/// Epochs done, from its state or its rows.
pub(super) fn done(run: &Run) -> u64 {
    run.metrics.last().map_or(0, |row| row.epoch).max(run.epochs)
}

impl View {
    /// The accuracy under `entry` of the runs evaluated in `setting`, in percent.
    pub(super) fn accuracy(&self, setting: &Setting, entry: &str) -> Option<Spread> {
        let evals = self.group.evals().filter(|eval| Setting::of(eval) == *setting);
        let values: Vec<f64> = evals.filter_map(|eval| Some(eval.entry(entry)?.accuracy)).collect();
        Spread::of(&values)
    }

    /// The share of images classified correctly under every attack of the evaluation, in percent.
    pub(super) fn worst_case(&self, setting: &Setting) -> Option<Spread> {
        let evals = self.group.evals().filter(|eval| Setting::of(eval) == *setting);
        Spread::of(&evals.map(|eval| eval.worst_case).collect::<Option<Vec<f64>>>()?)
    }
}

impl Setting {
    pub fn of(eval: &EvalRecord) -> Self {
        Setting { dataset: eval.dataset.clone(), threat: eval.threat, n: eval.n }
    }

    /// A suffix for file names; empty if there is only one setting.
    pub fn suffix(&self, all: &[Setting]) -> String {
        let place = all.iter().position(|setting| setting == self).unwrap_or(0);
        if all.len() > 1 { format!("_{}", place + 1) } else { String::new() }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let images = if self.n == 1 { "image" } else { "images" };
        write!(f, "{}, {}, {} {images}", self.dataset, self.threat, crate::report::thousands(self.n))
    }
}
