//! The paper's Figures 1, 7, 8 and 9, and each problem's networks, drawn from trained networks.

mod adaptation;
mod colours;
mod constraint;
mod map;
mod regions;
mod terms;

pub use adaptation::figure_8;
pub use constraint::figure_9;
pub use regions::figure_7;
pub use terms::{figure_1, of_problem};

use super::{Objective, Problem, Trained};

/// The networks of one problem, in the order of [`Objective::ALL`].
#[derive(Debug)]
pub struct Networks {
    /// The problem.
    pub problem: Problem,
    /// One for each objective.
    pub trained: Vec<(Objective, Trained)>,
}

impl Networks {
    /// The network of an objective.
    fn by(&self, objective: Objective) -> &Trained {
        let found = self.trained.iter().find(|(trained_by, _)| *trained_by == objective);
        &found.unwrap_or_else(|| unreachable!("one for each objective")).1
    }
}
