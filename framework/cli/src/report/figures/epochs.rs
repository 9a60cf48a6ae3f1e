//! Figures 4 and 5: accuracy on the test images, epoch by epoch.

use super::letter;
use super::traits::{ablation, ascended, is_cat, number, watched};
use crate::report::Group;
use crate::report::chart::{Axis, Figure, Lines, Series};
use foil::distinct;
use foil_runs::eval::NATURAL;
use foil_runs::pipeline::Pipeline;
use foil_runs::record::Row;

/// Steps of the attack with a random start.
const STEPS: u64 = 10;

/// Figure 4: (a) natural accuracy, (b) natural + PGD-10; a curve for each part that is left out of
/// CAT.
pub(super) fn ablations(groups: &[Group]) -> Vec<Figure> {
    let groups: Vec<&Group> = groups.iter().collect();
    let all = labels(&groups, ablation);
    let natural = curves(&groups, &all, ablation, |row, _| row.values.get(NATURAL).copied());
    let sum = curves(&groups, &all, ablation, |row, pgd| Some(row.values.get(NATURAL)? + row.values.get(pgd)?));
    let panels = [panel("(a) natural accuracy, %", natural, 100.0), panel("(b) natural + PGD-10, %", sum, 200.0)];
    panels.into_iter().flatten().collect()
}

/// Figure 5: PGD-10 by the attack's objective, a panel for each beta1 of CAT.
pub(super) fn objectives(groups: &[Group]) -> Vec<Figure> {
    let cat: Vec<&Group> = groups.iter().filter(|group| is_cat(&group.runs[0].pipeline)).collect();
    let beta1 = |group: &Group| number(&group.runs[0].pipeline, "attack.beta1");
    let mut values: Vec<f64> = cat.iter().filter_map(|group| beta1(group)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let all = labels(&cat, ascended);
    let draw = |(n, value): (usize, &f64)| {
        let of_panel: Vec<&Group> = cat.iter().filter(|group| beta1(group) == Some(*value)).copied().collect();
        let series = curves(&of_panel, &all, ascended, |row, pgd| row.values.get(pgd).copied());
        panel(&format!("({}) PGD-10, β1 = {value}, %", letter(n)), series, 100.0)
    };
    values.iter().enumerate().filter_map(draw).collect()
}

fn labels(groups: &[&Group], label: impl Fn(&Pipeline) -> String) -> Vec<String> {
    distinct(groups.iter().map(|group| label(&group.runs[0].pipeline)))
}

/// A curve for each group that has `value`, given a row and the name of its PGD-10; `all` are the
/// labels of the whole figure, in which one label has one colour.
fn curves(
    groups: &[&Group],
    all: &[String],
    label: impl Fn(&Pipeline) -> String,
    value: impl Fn(&Row, &str) -> Option<f64>,
) -> Vec<Series> {
    let one = |group: &&Group| {
        let pipeline = &group.runs[0].pipeline;
        let pgd = watched(pipeline, STEPS, "uniform")?;
        let (points, spread) = group.over_epochs(|row| value(row, &pgd));
        let label = label(pipeline);
        let colour = all.iter().position(|other| *other == label).unwrap_or_default();
        (!points.is_empty()).then_some(Series { label, colour, points, spread, ..Series::default() })
    };
    groups.iter().filter_map(one).collect()
}

/// `most` is the largest percentage there can be.
fn panel(title: &str, series: Vec<Series>, most: f64) -> Option<Figure> {
    let x = Axis { whole: true, tight: true, ..Axis::new("epoch") };
    let y = Axis { limits: Some([0.0, most]), ..Axis::default() };
    Lines { name: String::new(), title: title.into(), x, y, series }.figure()
}
