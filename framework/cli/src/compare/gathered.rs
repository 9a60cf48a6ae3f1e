//! The results of a work list: rows, their means over seeds, and which differences are
//! significant.

use super::significance::{Difference, correct, of_methods, of_networks};
use super::{Fate, State, Task};
use crate::report::{Run, Spread};
use foil_runs::record::{EvalRecord, ImageRecord};
use std::collections::BTreeSet;

/// The name under which the worst case over all attacks of an evaluation is listed beside their own
/// figures.
pub const WORST_CASE: &str = "worst_case";

/// One method, its runs by seed.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub label: String,
    /// Its finished runs, each with the image record of its evaluation if there is one.
    pub runs: Vec<(Run, Option<ImageRecord>)>,
}

/// Rows side by side.
#[derive(Debug, Default)]
pub struct Comparison {
    /// In the order of the work list.
    pub rows: Vec<Row>,
    /// Notes for the reader, one sentence each.
    pub notes: Vec<String>,
    /// Every run of the list, with its outcome and folder.
    pub tasks: Vec<(Task, Fate)>,
    /// The index of the row that the others are tested against.
    pub baseline: usize,
    /// For each row its differences to that one, by [`Comparison::entries`]. They are slow to
    /// compute, so this is done once.
    pub against: Vec<Vec<Option<Difference>>>,
}

impl Row {
    /// Percent of images classified correctly under an attack of the evaluation or [`WORST_CASE`],
    /// over the seeds.
    pub fn accuracy(&self, entry: &str) -> Option<Spread> {
        Spread::of(&self.values(entry))
    }

    /// The same for each seed.
    fn values(&self, entry: &str) -> Vec<f64> {
        let evals = self.runs.iter().filter_map(|(run, _)| run.eval());
        let value = |eval: &EvalRecord| match entry {
            WORST_CASE => eval.worst_case,
            _ => eval.entry(entry).map(|entry| entry.accuracy),
        };
        evals.filter_map(value).collect()
    }

    /// The mean over the attacks of the evaluation, over the seeds.
    pub fn avg(&self) -> Option<Spread> {
        let evals = self.runs.iter().filter_map(|(run, _)| run.eval());
        Spread::of(&evals.filter_map(|eval| eval.avg).collect::<Vec<_>>())
    }

    /// Whether the first seed's network is right on each image, by the images' indices.
    fn answers(&self, entry: &str) -> Option<(&[i64], Vec<bool>)> {
        let images = self.runs.first()?.1.as_ref()?;
        let right = match entry {
            WORST_CASE => images.broken_by().iter().map(String::is_empty).collect(),
            _ => images.right(entry)?.to_vec(),
        };
        Some((images.index(), right))
    }

    /// This row against another under an attack. With several seeds of both the methods are
    /// compared over seeds, otherwise the networks of their first seeds on the images of their
    /// evaluations. None where they were evaluated on other images, or these are not stored.
    pub fn against(&self, other: &Row, entry: &str) -> Option<Difference> {
        if self.runs.len() > 1 && other.runs.len() > 1 {
            let (ours, theirs) = (self.values(entry), other.values(entry));
            let n = |row: &Row| row.runs.first().and_then(|(run, _)| Some(run.eval()?.n));
            return (n(self) == n(other)).then(|| of_methods(&ours, &theirs, n(self)?)).flatten();
        }
        let ((index, ours), (of_other, theirs)) = (self.answers(entry)?, other.answers(entry)?);
        (index == of_other).then(|| of_networks(&ours, &theirs)).flatten()
    }

    /// (class, images, accuracy in percent over the seeds) under an attack, for classes that have
    /// images.
    pub fn per_class(&self, entry: &str) -> Vec<(i64, usize, Spread)> {
        let seeds: Vec<_> =
            self.runs.iter().filter_map(|(_, images)| Some(images.as_ref()?.per_class(entry))).collect();
        let classes: BTreeSet<i64> = seeds.iter().flatten().map(|(class, ..)| *class).collect();
        let of = |class: i64| {
            let values: Vec<_> = seeds.iter().flatten().filter(|(other, ..)| *other == class).collect();
            let spread = Spread::of(&values.iter().map(|(_, _, percent)| *percent).collect::<Vec<_>>())?;
            Some((class, values.first()?.1, spread))
        };
        classes.into_iter().filter_map(of).collect()
    }
}

impl Comparison {
    /// Reads what `tasks` left on disk, and tests the rows against the row number `baseline`. A
    /// run that is not finished becomes a note.
    pub fn gather(tasks: Vec<(Task, Fate)>, notes: Vec<String>, baseline: usize) -> Self {
        let mut gathered = Self { notes, baseline, ..Self::default() };
        for (task, fate) in &tasks {
            let row = &task.wanted.row;
            if !gathered.rows.iter().any(|known| known.label == *row) {
                gathered.rows.push(Row { label: row.clone(), runs: Vec::new() });
            }
            match (task.look(), fate) {
                (Ok(State::Done), _) => {}
                (_, Fate::Failed(why)) => {
                    gathered.notes.push(format!("{} failed: {why}", task.title()));
                    continue;
                }
                (Err(error), _) => {
                    gathered.notes.push(format!("{}: {}", task.title(), error.message()));
                    continue;
                }
                (Ok(state), _) => {
                    gathered.notes.push(format!("{} is missing: {state}", task.title()));
                    continue;
                }
            }
            match task.read() {
                Ok((run, images)) => {
                    gathered.notes.extend(run.notes.iter().map(|note| format!("{}: {note}", task.title())));
                    if let Some(row) = gathered.rows.iter_mut().find(|known| known.label == *row) {
                        row.runs.push((run, images));
                    }
                }
                Err(error) => gathered.notes.push(format!("{}: {}", task.title(), error.message())),
            }
        }
        gathered.notes.extend(oddities(&gathered.rows));
        // Over several seeds the accuracies are enough.
        let needs_images = gathered.rows.iter().any(|row| row.runs.len() == 1);
        let is_blind = |row: &&Row| row.runs.first().is_some_and(|(_, images)| images.is_none());
        let blind: Vec<_> = gathered.rows.iter().filter(is_blind).collect();
        if gathered.rows.len() > 1 && needs_images && !blind.is_empty() {
            let labels: Vec<_> = blind.iter().map(|row| row.label.as_str()).collect();
            gathered.notes.push(format!(
            "no test of differences for {}: the images of its evaluation are not stored; `foil eval RUN` stores them",
            labels.join(", ")
        ));
        }
        gathered.tasks = tasks;
        gathered.against = gathered.differences_to(baseline);
        gathered
    }

    fn differences_to(&self, baseline: usize) -> Vec<Vec<Option<Difference>>> {
        let Some(base) = self.rows.get(baseline) else { return Vec::new() };
        let entries = self.entries();
        let to_base = |(n, row): (usize, &Row)| -> Vec<Option<Difference>> {
            entries.iter().map(|name| if n == baseline { None } else { row.against(base, name) }).collect()
        };
        let mut all: Vec<Vec<Option<Difference>>> = self.rows.iter().enumerate().map(to_base).collect();
        correct(all.iter_mut().flatten().flatten());
        all
    }

    /// The attacks of the evaluations in the order in which they first occur; [`WORST_CASE`] last,
    /// if it was measured.
    pub fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let evals = || self.rows.iter().flat_map(|row| &row.runs).filter_map(|(run, _)| run.eval());
        for entry in evals().flat_map(|eval| &eval.entries) {
            if !names.contains(&entry.name) {
                names.push(entry.name.clone());
            }
        }
        // With a single attack it would repeat that attack's figure.
        if names.len() > 2 && evals().any(|eval| eval.worst_case.is_some()) {
            names.push(WORST_CASE.into());
        }
        names
    }

    /// How many runs of the list are not finished.
    pub fn missing(&self) -> usize {
        self.tasks.len() - self.rows.iter().map(|row| row.runs.len()).sum::<usize>()
    }
}

/// Notes on what makes the rows less comparable than the table suggests.
pub fn oddities(rows: &[Row]) -> Vec<String> {
    let evals = || rows.iter().flat_map(|row| row.runs.iter().filter_map(|(run, _)| Some((&row.label, run.eval()?))));
    let mut notes = Vec::new();
    let mut differ = |what: &str, of: &dyn Fn(&EvalRecord) -> String| {
        let mut values: Vec<(String, Vec<&str>)> = Vec::new();
        for (label, eval) in evals() {
            let value = of(eval);
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, labels)) if labels.contains(&label.as_str()) => {}
                Some((_, labels)) => labels.push(label),
                None => values.push((value, vec![label])),
            }
        }
        if values.len() > 1 {
            let each = values.iter().map(|(value, labels)| format!("{} {value}", labels.join(", ")));
            notes.push(format!("{what}: {}", each.collect::<Vec<_>>().join("; ")));
        }
    };
    differ("evaluated on different data sets, so these rows are not comparable", &|eval| eval.dataset.clone());
    differ("evaluated under different threat models, so these rows are not comparable", &|eval| {
        eval.threat.to_string()
    });
    differ("evaluated on different numbers of images", &|eval| eval.n.to_string());
    differ("evaluated by different versions of foil", &|eval| eval.foil_version.clone());
    differ("evaluated in different arithmetic", &|eval| eval.precision.clone());
    for (label, eval) in evals() {
        for check in eval.trust.iter().filter(|check| check.passed == Some(false)) {
            notes.push(format!("{label} (seed {}) fails the trust check `{}`: {}", eval.seed, check.name, check.says));
        }
    }
    notes
}
