//! A sweep: one file, a run for each combination of some keys' values.

use super::{Loaded, Pipeline, load};
use foil::Result;
use foil_config::Problem;
use serde_json::Value;
use std::path::Path;

/// A sweep with more runs than this is a mistake.
const MOST: usize = 1000;

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination {
    /// The values that distinguish it, `attack.eps=8_255,loss.beta=5`: its name in tables, and its
    /// folder's.
    pub label: String,
    /// The label without the seed, if that is swept: shared with the runs of other seeds.
    pub row: String,
    /// The overrides that turn the sweep's file into this run.
    overrides: Vec<String>,
}

impl Combination {
    /// The run's pipeline, which is no longer a sweep; `overrides` are those of the whole sweep.
    ///
    /// # Errors
    /// Every problem of the combination.
    pub fn load(&self, path: &Path, overrides: &[String]) -> Result<Loaded> {
        load(path, &[overrides, &self.overrides].concat())
    }
}

impl Pipeline {
    /// The runs of a sweep, keys in alphabetical order, the last one's values changing fastest;
    /// none for a plain pipeline.
    ///
    /// `overrides` are those that the pipeline was loaded with: they must not change a swept key.
    ///
    /// # Errors
    /// A key without values, a value that occurs twice, a key that is also overridden, or too many
    /// runs.
    pub fn combinations(&self, overrides: &[String]) -> Result<Vec<Combination>, Vec<Problem>> {
        if self.sweep.is_empty() {
            return Ok(Vec::new());
        }
        let problems = self.sweep_problems(overrides);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut runs = vec![Vec::new()];
        for (key, values) in &self.sweep {
            let longer =
                |run: &Vec<_>| values.iter().map(|value| [&run[..], &[(key, value)]].concat()).collect::<Vec<_>>();
            runs = runs.iter().flat_map(longer).collect();
        }
        Ok(runs.iter().map(|run| combination(run)).collect())
    }

    fn sweep_problems(&self, overrides: &[String]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, values) in &self.sweep {
            let mut problem = |message: String, help: String| problems.push(Problem::new("sweep", message, help));
            let mut words: Vec<String> = values.iter().map(word).collect();
            words.sort();
            if values.is_empty() {
                problem(
                    format!("`sweep` lists no values for `{key}`"),
                    format!("write `{key}: [1, 2]`, or leave it out"),
                );
            }
            if let Some(twice) = words.windows(2).find(|pair| pair[0] == pair[1]) {
                problem(format!("`sweep` lists `{}` twice for `{key}`", twice[0]), "leave one of them out".into());
            }
            if key.is_empty() || ["sweep", "extends"].contains(&key.as_str()) {
                problem(format!("`sweep` lists values for `{key}`, which cannot be swept"), "choose a key".into());
            }
            if overrides.iter().any(|o| o.split_once('=').is_some_and(|(overridden, _)| overridden.trim() == key)) {
                let help =
                    format!("override the sweep: 'sweep={{ {key}: [1, 2] }}', or with null in place of the list");
                problem(format!("`{key}` is swept, so it cannot take a single value"), help);
            }
        }
        let runs = self.sweep.values().try_fold(1, |runs: usize, values| runs.checked_mul(values.len()));
        if runs.is_none_or(|runs| runs > MOST) {
            let message = format!("`sweep` makes more than {MOST} runs");
            problems.push(Problem::new("sweep", message, "list fewer values, or split it into several files"));
        }
        problems
    }
}

fn combination(run: &[(&String, &Value)]) -> Combination {
    let words = |run: &mut dyn Iterator<Item = &(&String, &Value)>| {
        run.map(|(key, value)| format!("{key}={}", word(value))).collect::<Vec<_>>().join(",")
    };
    let label = words(&mut run.iter());
    let row = words(&mut run.iter().filter(|(key, _)| *key != "seed"));
    // JSON is YAML. The sweep goes first: a key inside it may be called anything.
    let mut overrides = vec!["sweep=null".to_string(), format!("name={}", Value::from(label.as_str()))];
    overrides.extend(run.iter().map(|(key, value)| format!("{key}={value}")));
    Combination { label, row, overrides }
}

/// The value as part of a folder's name: `8/255` as `8_255`, `{"type":"cw"}` as `{type:cw}`.
pub(super) fn word(value: &Value) -> String {
    value.to_string().replace('"', "").replace(['/', '\\'], "_")
}
