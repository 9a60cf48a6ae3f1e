//! A valid pipeline, which still knows where everything was written.

use crate::node::Node;
use crate::place::Place;
use crate::problem::{Problem, Problems};
use serde_yaml::Value;

/// The outcome of [`load`](crate::load).
#[derive(Debug, Clone)]
pub struct Checked {
    /// The whole pipeline in normal form: bases and overrides merged, components as maps with
    /// `type`, fractions as numbers, `extends` gone. Written as YAML and loaded again, it is the
    /// same.
    pub value: Value,
    /// The files that were read, the pipeline's own first.
    pub sources: Vec<String>,
    pub(crate) root: Node,
}

impl Checked {
    /// Where the key at `path` was written; list entries count from 0, as in `evaluate.0.eps`.
    /// `None` when the key was left to its default.
    pub fn locate(&self, path: &str) -> Option<Place> {
        let (place, found) = self.root.nearest(path, &self.root.place);
        found.then_some(place)
    }

    /// A problem with the value at `path`, shown where that value, or the nearest key around it,
    /// was written. An empty `help` is none.
    pub fn problem(&self, path: &str, message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem::new(path, message, help).at(&self.root.nearest(path, &self.root.place).0)
    }

    /// Finds the places of problems that have only a path, and sorts them.
    pub fn problems(&self, problems: impl IntoIterator<Item = Problem>) -> Problems {
        let placed = problems.into_iter().map(|problem| match problem.place {
            Some(_) => problem,
            None => {
                let place = self.root.nearest(&problem.path, &self.root.place).0;
                problem.at(&place)
            }
        });
        Problems::from(placed.collect::<Vec<_>>())
    }
}
