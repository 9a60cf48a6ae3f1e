//! Figure 3: methods trained at several radii, tested at one.

use super::traits::{evaluated_at, is_whole, method, number, under_pgd};
use super::{add, sort};
use crate::report::chart::{Axis, Figure, Lines, Series};
use crate::report::{Group, Spread};
use foil::Result;
use foil::attack::radius;
use foil_runs::eval::NATURAL;
use foil_runs::record::EvalRecord;

const STEPS: u64 = 100;

/// (a) Accuracy under PGD-100 without random start, (b) natural accuracy plus that.
pub(super) fn panels(groups: &[Group]) -> Result<Vec<Figure>> {
    let Some(evaluated) = evaluated_at(groups, STEPS)? else { return Ok(Vec::new()) };
    let (mut robust, mut sum): (Vec<Series>, Vec<Series>) = (Vec::new(), Vec::new());
    let trained: Vec<Option<f64>> = groups.iter().map(trained_at).collect();
    let levels = trained.iter().flatten().all(|eps| is_whole(eps * 255.0));
    for (group, eps) in groups.iter().zip(&trained) {
        let Some(eps) = eps else { continue };
        let x = if levels { (eps * 255.0).round() } else { *eps };
        let label = method(&group.runs[0].pipeline);
        let over =
            |value: fn(&EvalRecord) -> Option<f64>| Spread::of(&group.evals().filter_map(value).collect::<Vec<_>>());
        let pgd = |eval: &EvalRecord| Some(under_pgd(eval, STEPS)?.0);
        let both = |eval: &EvalRecord| Some(under_pgd(eval, STEPS)?.0 + eval.entry(NATURAL)?.accuracy);
        let (Some(one), Some(two)) = (over(pgd), over(both)) else { continue };
        add(&mut robust, &label, x, one);
        add(&mut sum, &label, x, two);
    }
    let label = if levels { "ε of training, in 1/255" } else { "ε of training" };
    let panel = |title: String, mut series: Vec<Series>, limits: [f64; 2]| {
        series.iter_mut().for_each(sort);
        let x = Axis { tight: true, whole: levels, ..Axis::new(label) };
        let y = Axis { limits: Some(limits), ..Axis::default() };
        Lines { name: String::new(), title, x, y, series }.figure()
    };
    let at = format!("without random start, ε {}", radius(evaluated));
    let robust = panel(format!("(a) PGD-100 {at}, %"), robust, [0.0, 100.0]);
    let sum = panel("(b) natural + PGD-100, %".into(), sum, [0.0, 200.0]);
    Ok(robust.into_iter().chain(sum).collect())
}

/// The radius of training.
fn trained_at(group: &Group) -> Option<f64> {
    let pipeline = &group.runs.first()?.pipeline;
    number(pipeline, "attack.inner.eps").or_else(|| number(pipeline, "attack.eps"))
}
