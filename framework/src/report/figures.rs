//! Figures 3 to 6 of the CAT paper, from runs.
//!
//! | figure | across | curves |
//! |---|---|---|
//! | 3 | the radius of training | by objective |
//! | 4 | epochs | CAT, A2 (no mask), A1 (no mask and plain cross-entropy), by objective |
//! | 5 | epochs | by objective |
//! | 6 | beta1 | by objective |

use super::Group;
use super::chart::{Axis, Figure, Lines, Series};
use super::gather::entries;
use crate::distinct::distinct;
use crate::eval::NATURAL;
use crate::pipeline::Pipeline;
use crate::{Error, Result};
use serde_yaml::Value;

/// Natural accuracy, and the accuracy under the attack that leaves least of those that all runs share, side by side.
///
/// # Errors
/// When the runs have nothing that the figure shows.
pub fn draw(number: u8, groups: &[Group]) -> Result<Figure> {
    let panels = match number {
        3 => by_setting(groups, "attack.inner.eps", "radius of training, in image units"),
        6 => by_setting(groups, "attack.beta1", "beta1"),
        _ => by_epoch(groups, number == 4),
    };
    if panels.is_empty() {
        let what = match number {
            3 | 6 => "evaluated runs of CAT that differ in it",
            _ => "runs with epochs behind them",
        };
        let message = format!("these runs have nothing that Figure {number} shows: it takes {what}");
        return Err(Error::new(message).help("foil figure --help names the pipelines of each figure"));
    }
    Ok(Figure::beside(&format!("figure{number}"), &panels))
}

/// Accuracy over the number under `key`.
fn by_setting(groups: &[Group], key: &str, label: &str) -> Vec<Figure> {
    let shown = |group: &&Group| group.evals().next().is_some() && number(&group.runs[0].pipeline, key).is_some();
    let groups: Vec<&Group> = groups.iter().filter(shown).collect();
    let mut names = groups.first().map_or(Vec::new(), |group| entries(std::slice::from_ref(*group)));
    names.retain(|name| groups.iter().all(|group| group.accuracy(name).is_some()));
    let panel = |name: &str| {
        let mut series: Vec<Series> = Vec::new();
        for group in &groups {
            let pipeline = &group.runs[0].pipeline;
            let (Some(x), Some(accuracy)) = (number(pipeline, key), group.accuracy(name)) else { continue };
            let (label, std) = (objective(pipeline), accuracy.std.unwrap_or(0.0));
            let place = series.iter().position(|one| one.label == label).unwrap_or_else(|| {
                series.push(Series { label, colour: series.len(), dots: true, ..Series::default() });
                series.len() - 1
            });
            series[place].points.push([x, accuracy.mean]);
            series[place].spread.push([accuracy.mean - std, accuracy.mean + std]);
        }
        series.iter_mut().for_each(sort);
        let x = Axis { tight: true, ..Axis::new(label) };
        Lines { name: String::new(), title: title(name), x, y: Axis::percent(""), series }.figure()
    };
    panels(&names, |name| groups.iter().filter_map(|group| Some(group.accuracy(name)?.mean)).sum(), panel)
}

/// Accuracy over epochs; with `ablation` a curve says what was left out of CAT.
fn by_epoch(groups: &[Group], ablation: bool) -> Vec<Figure> {
    let rows = || groups.iter().flat_map(|group| &group.runs).flat_map(|run| &run.metrics);
    let all = rows().flat_map(|row| row.values.keys()).cloned();
    let names = distinct(all.filter(|name| !name.starts_with("train_") && name != "lr"));
    let panel = |name: &str| {
        let series = groups.iter().enumerate().filter_map(|(colour, group)| {
            let run = group.runs.first()?;
            let points = run.metrics.iter().filter_map(|row| Some([row.epoch as f64, *row.values.get(name)?]));
            let part = if ablation { left_out(&run.pipeline) } else { "" };
            let label = format!("{part}{}", objective(&run.pipeline));
            Some(Series { label, colour, points: points.collect(), ..Series::default() })
        });
        let x = Axis { whole: true, tight: true, ..Axis::new("epoch") };
        Lines { name: String::new(), title: title(name), x, y: Axis::percent(""), series: series.collect() }.figure()
    };
    panels(&names, |name| rows().filter_map(|row| row.values.get(name)).sum(), panel)
}

/// A panel of the natural accuracy, and one of the attack with the smallest `total`.
fn panels(names: &[String], total: impl Fn(&str) -> f64, panel: impl Fn(&str) -> Option<Figure>) -> Vec<Figure> {
    let attacks = names.iter().filter(|name| *name != NATURAL);
    let hardest = attacks.min_by(|a, b| total(a).total_cmp(&total(b)));
    let natural = names.iter().find(|name| *name == NATURAL);
    natural.into_iter().chain(hardest).filter_map(|name| panel(name)).collect()
}

fn title(name: &str) -> String {
    if name == NATURAL { "Natural accuracy, %".into() } else { format!("Accuracy under {name}, %") }
}

/// From left to right; without spreads where there is one seed only.
fn sort(one: &mut Series) {
    let mut order: Vec<usize> = (0..one.points.len()).collect();
    order.sort_by(|&a, &b| one.points[a][0].total_cmp(&one.points[b][0]));
    one.points = order.iter().map(|&i| one.points[i]).collect();
    one.spread = order.iter().map(|&i| one.spread[i]).collect();
    if one.spread.iter().all(|[low, high]| low == high) {
        one.spread.clear();
    }
}

/// What the attack ascends, as the paper writes it.
fn objective(pipeline: &Pipeline) -> String {
    let name = |path: &str| find(pipeline, path).and_then(|value| value.as_str().map(str::to_string));
    let found = name("attack.inner.objective.type").or_else(|| name("attack.objective.type"));
    found.unwrap_or_else(|| pipeline.attack.name().to_string()).to_uppercase()
}

/// Which of the paper's ablations a run is.
fn left_out(pipeline: &Pipeline) -> &'static str {
    match (find(pipeline, "attack.inner").is_some(), pipeline.loss.name()) {
        (true, _) => "CAT ",
        (false, "at") => "A1 ",
        (false, _) => "A2 ",
    }
}

/// The number under a dotted key; of a number that grows in training the last one.
fn number(pipeline: &Pipeline, key: &str) -> Option<f64> {
    let value = find(pipeline, key)?;
    let plain = |value: &Value| value.as_f64().or_else(|| value.as_str().and_then(foil_config::fraction));
    plain(&value).or_else(|| plain(value.get("points")?.as_sequence()?.last()?.as_sequence()?.get(1)?))
}

fn find(pipeline: &Pipeline, key: &str) -> Option<Value> {
    let whole = serde_yaml::to_value(pipeline).ok()?;
    key.split('.').try_fold(&whole, |value, part| value.get(part)).cloned()
}
