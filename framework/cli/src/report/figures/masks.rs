//! Figure 2: the effect of the mask.

use super::traits::{method, number};
use crate::report::Run;
use crate::report::chart::Figure;
use crate::report::page::gallery;
use crate::report::picture::Grid;
use foil::attack::radius;

/// The rows of a run's gallery with the paper's names for them; the perturbation is left out.
const ROWS: [(&str, &str); 4] =
    [("natural", "natural"), ("attacked", "adversarial"), ("mask", "mask"), ("calibrated", "calibrated adversarial")];

/// Natural images, adversarial ones, masks and calibrated adversarial ones, under the attack of
/// training.
pub fn masks(run: &Run, mut grid: Grid) -> Figure {
    grid.rows = ROWS
        .iter()
        .filter_map(|(known, shown)| {
            let mut row = grid.rows.iter().find(|row| row.label == *known)?.clone();
            row.label = (*shown).into();
            Some(row)
        })
        .collect();
    let of = |key: &str| number(&run.pipeline, &format!("attack.inner.{key}"));
    let steps = of("steps").map_or(String::new(), |steps| format!(", PGD-{steps}"));
    let eps = of("eps").map_or(String::new(), |eps| format!(" at ε {}", radius(eps)));
    let title = format!("{}{steps}{eps}; masks from 0, dark, to 1, bright", method(&run.pipeline));
    gallery::figure("figure2", &title, &grid)
}
