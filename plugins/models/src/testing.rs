//! What the models' tests share: building one on some data.

use foil::engine::Network;
use foil::nn::Noise;
use foil::prelude::*;
use foil::registry::DataFacts;
use std::cell::RefCell;

pub(crate) const MNIST: DataFacts = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 60_000 };
pub(crate) const CIFAR10: DataFacts = DataFacts { channels: 3, height: 32, width: 32, classes: 10, train: 50_000 };
pub(crate) const CIFAR100: DataFacts = DataFacts { classes: 100, ..CIFAR10 };

/// Lays a model out, initialises it unless `dry`, and says what was reported as `key: message (help)`.
fn build(model: &str, data: DataFacts, inputs: i64, kind: Kind, dry: bool) -> (Option<Network>, Vec<String>) {
    let component: Component<dyn Model> = serde_yaml::from_str(model).unwrap();
    let problems = RefCell::default();
    let cx = Build::new(data, 0, kind, tch::Device::Cpu, &problems).dry(dry);
    let network = cx.network("model", &component, inputs);
    let told = |p: &foil_config::Problem| format!("{} ({})", p.message, p.help.as_deref().unwrap_or_default());
    let found = problems.borrow().iter().map(told).collect();
    (network, found)
}

pub(crate) fn problems(model: &str, data: DataFacts) -> Vec<String> {
    build(model, data, data.channels, Kind::Float, true).1
}

/// The number of trainable values; fails when something is reported.
pub(crate) fn count_with_inputs(model: &str, data: DataFacts, inputs: i64) -> i64 {
    let (network, problems) = build(model, data, inputs, Kind::Float, true);
    assert_eq!(problems, Vec::<String>::new());
    network.unwrap().params().count()
}

pub(crate) fn count(model: &str, data: DataFacts) -> i64 {
    count_with_inputs(model, data, data.channels)
}

/// A model with its initial parameters, and `n` random images for it.
pub(crate) fn random(model: &str, data: DataFacts, n: i64) -> (Network, Noise, Tensor) {
    random_of(model, data, n, Kind::Float)
}

/// The same in numbers of `kind`.
pub(crate) fn random_of(model: &str, data: DataFacts, n: i64, kind: Kind) -> (Network, Noise, Tensor) {
    let network = build(model, data, data.channels, kind, false).0.unwrap();
    let noise = Noise::seeded(&[1], n, tch::Device::Cpu);
    let x = noise.uniform("x", &[data.channels, data.height, data.width], kind);
    (network, noise, x)
}
