//! Runs that differ only in their seed.

use super::{Run, Spread};
use foil::distinct;
use foil_runs::record::{EvalRecord, Row};
use std::collections::BTreeMap;

/// The runs of one method with one set of settings, by seed.
#[derive(Debug)]
pub struct Group {
    /// The name of the first run.
    pub label: String,
    /// At least one, by seed.
    pub runs: Vec<Run>,
}

/// Groups runs that differ only in their seed, in the order in which their methods first occur. A
/// run that exists twice counts once, with a note: it is not a second seed.
pub fn group(runs: Vec<Run>) -> (Vec<Group>, Vec<String>) {
    let (mut groups, mut notes): (Vec<Group>, Vec<String>) = (Vec::new(), Vec::new());
    for run in runs {
        if let Some(same) = groups.iter().flat_map(|group| &group.runs).find(|other| other.repeats(&run)) {
            let (run, same, seed) = (run.path.display(), same.path.display(), run.pipeline.seed);
            notes.push(format!("{run} repeats the run {same} (seed {seed}, the same figures) and counts once"));
            continue;
        }
        match groups.iter_mut().find(|group| group.method() == run.method) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { label: run.label().to_string(), runs: vec![run] }),
        }
    }
    groups.iter_mut().for_each(|group| group.runs.sort_by_key(|run| run.pipeline.seed));
    (groups, notes)
}

impl Group {
    /// [`Pipeline::method_hash`](foil_runs::pipeline::Pipeline::method_hash) of all of them.
    pub fn method(&self) -> &str {
        self.runs.first().map_or("", |run| &run.method)
    }

    /// The records of the evaluated runs.
    pub fn evals(&self) -> impl Iterator<Item = &EvalRecord> {
        self.runs.iter().filter_map(|run| run.eval())
    }

    /// The means over the seeds of `value` at each epoch, `[epoch, mean]`, and for each point the
    /// minimum and maximum; no range for a single seed.
    pub fn over_epochs(&self, value: impl Fn(&Row) -> Option<f64>) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
        let mut epochs = BTreeMap::<u64, Vec<f64>>::new();
        for row in self.runs.iter().flat_map(|run| &run.metrics) {
            if let Some(value) = value(row) {
                epochs.entry(row.epoch).or_default().push(value);
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let points = epochs.iter().map(|(epoch, values)| [*epoch as f64, mean(values)]).collect();
        let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = epochs.values().map(|values| [least(values), largest(values)]);
        (points, if self.runs.len() > 1 { range.collect() } else { Vec::new() })
    }

    /// Percent of images classified correctly under the attack called `entry`; `None` if no run
    /// was evaluated under it.
    pub fn accuracy(&self, entry: &str) -> Option<Spread> {
        let values: Vec<f64> = self.evals().filter_map(|eval| Some(eval.entry(entry)?.accuracy)).collect();
        Spread::of(&values)
    }
}

/// The names of the entries of all evaluations, in the order in which they first occur.
pub fn entries(groups: &[Group]) -> Vec<String> {
    let entries = groups.iter().flat_map(Group::evals).flat_map(|eval| &eval.entries);
    distinct(entries.map(|entry| entry.name.clone()))
}
