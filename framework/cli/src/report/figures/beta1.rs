//! Figure 6: the trade-off that beta1 controls.

use super::traits::{evaluated_at, is_cat, method, number, under_pgd};
use super::{add, letter, sort};
use crate::report::chart::{Axis, Figure, Lines, Series};
use crate::report::{Group, Spread};
use foil::Result;
use foil::distinct;
use foil_runs::eval::NATURAL;
use foil_runs::record::EvalRecord;

const STEPS: u64 = 20;

/// A panel for each objective of CAT: natural accuracy and PGD-20 from the image, each minus an
/// offset that brings them together, and the sum of both.
///
/// On CIFAR-10 these numbers are the paper's 80 and 50. On other data each is the largest multiple
/// of ten that is not above any accuracy shown. Each curve's label has its number.
pub(super) fn panels(groups: &[Group], data: &str) -> Result<Vec<Figure>> {
    let shown = |group: &&Group| {
        let run = &group.runs[0].pipeline;
        is_cat(run)
            && number(run, "attack.beta1").is_some_and(|x| x > 0.0)
            && group.evals().any(|eval| both(eval).is_some())
    };
    let cat: Vec<&Group> = groups.iter().filter(shown).collect();
    evaluated_at(cat.iter().copied(), STEPS)?;
    let [natural, robust] = match data {
        "cifar10" => [80.0, 50.0],
        _ => {
            let all: Vec<[f64; 2]> = cat.iter().flat_map(|group| group.evals()).filter_map(both).collect();
            [0, 1].map(|n| (all.iter().map(|pair| pair[n]).fold(100.0, f64::min) / 10.0).floor() * 10.0)
        }
    };
    let labels = [format!("natural − {natural}"), format!("PGD-20 − {robust}"), "sum".to_string()];
    let draw = |(n, name): (usize, &String)| {
        let mut series: Vec<Series> = Vec::new();
        for group in cat.iter().filter(|group| method(&group.runs[0].pipeline) == *name) {
            let Some(x) = number(&group.runs[0].pipeline, "attack.beta1") else { continue };
            let pairs: Vec<[f64; 2]> =
                group.evals().filter_map(both).map(|[one, two]| [one - natural, two - robust]).collect();
            let of = |value: fn(&[f64; 2]) -> f64| Spread::of(&pairs.iter().map(value).collect::<Vec<_>>());
            let curves = [of(|pair| pair[0]), of(|pair| pair[1]), of(|pair| pair[0] + pair[1])];
            for (label, spread) in labels.iter().zip(curves) {
                spread.into_iter().for_each(|spread| add(&mut series, label, x, spread));
            }
        }
        series.iter_mut().for_each(sort);
        let x = Axis { log: true, ..Axis::new("β1") };
        let title = format!("({}) {name}, points; PGD-20 without random start", letter(n));
        Lines { name: String::new(), title, x, y: Axis::default(), series }.figure()
    };
    let mut names = distinct(cat.iter().map(|group| method(&group.runs[0].pipeline)));
    names.sort();
    Ok(names.iter().enumerate().filter_map(draw).collect())
}

/// Natural accuracy and that under PGD-20 from the image, in percent.
fn both(eval: &EvalRecord) -> Option<[f64; 2]> {
    Some([eval.entry(NATURAL)?.accuracy, under_pgd(eval, STEPS)?.0])
}
