//! What can be said of a pipeline that has problems, so that all are listed at once.

use super::{Pipeline, assemble};
use foil::attack::Attack;
use foil::loss::Loss;
use foil::optim::Optimizer;
use foil::registry::{Build, Component, DataFacts, Kind as Registered};
use foil_config::Problem;
use std::cell::RefCell;
use std::path::Path;
use tch::{Device, Kind};

/// What can be said of a file that has problems: those of the whole if it can be read without them,
/// otherwise those of each part that can be read.
pub(super) fn more_problems(rest: &serde_yaml::Value, known: &[Problem]) -> Vec<Problem> {
    // A section whose name is misspelt is missing, and what refers to it would look wrong.
    let whole = known.iter().all(|problem| problem.path.contains('.'));
    let mut problems = match serde_yaml::from_value::<Pipeline>(rest.clone()) {
        Ok(pipeline) if whole => assemble(&pipeline, Kind::Float, Device::Cpu, true).err().unwrap_or_default(),
        _ => problems_of_parts(rest),
    };
    // Whether these are there is said of a pipeline that has no other problem.
    let of_a_file = |path: &str| ["data", "extra.data"].contains(&path) || super::files::is_own(path);
    problems.retain(|problem| !of_a_file(&problem.path) && !problem.building);
    problems
}

fn problems_of_parts(rest: &serde_yaml::Value) -> Vec<Problem> {
    fn part<T: Registered + ?Sized>(cx: &Build, key: &str, value: Option<&serde_yaml::Value>) {
        let read = value.and_then(|value| serde_yaml::from_value::<Component<T>>(value.clone()).ok());
        if let Some(component) = read {
            let _ = cx.component(key, &component);
        }
    }
    let data = rest.get("data").and_then(|value| serde_yaml::from_value::<Component<_>>(value.clone()).ok());
    let known = data.and_then(|data| crate::data::facts_of(&data, Path::new("")).ok());
    let Some(data) = known.as_ref().map(DataFacts::from) else { return Vec::new() };
    let problems = RefCell::<Vec<Problem>>::default();
    let optimizer = rest.get("optimizer").and_then(|value| serde_yaml::from_value(value.clone()).ok());
    let cx = Build::new(data, 0, Kind::Float, Device::Cpu, &problems).dry(true);
    let cx = optimizer.as_ref().map_or(cx.at(""), |optimizer| cx.at("").learning_by(optimizer));
    let model = rest.get("model").and_then(|value| serde_yaml::from_value(value.clone()).ok());
    if let Some(model) = model {
        let _ = cx.network("model", &model, data.channels);
    }
    part::<dyn Attack>(&cx, "attack", rest.get("attack"));
    part::<dyn Loss>(&cx, "loss", rest.get("loss"));
    part::<dyn Optimizer>(&cx, "optimizer", rest.get("optimizer"));
    for (name, attack) in rest.get("attacks").and_then(serde_yaml::Value::as_mapping).into_iter().flatten() {
        part::<dyn Attack>(&cx.at("attacks"), name.as_str().unwrap_or_default(), Some(attack));
    }
    problems.into_inner()
}
