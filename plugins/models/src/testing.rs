//! Shared by the models' tests: building a model on some data.

use foil::engine::Network;
use foil::nn::Noise;
use foil::prelude::*;
use foil::registry::DataFacts;
use std::cell::RefCell;

pub(crate) const MNIST: DataFacts = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 60_000 };
pub(crate) const CIFAR10: DataFacts = DataFacts { channels: 3, height: 32, width: 32, classes: 10, train: 50_000 };
pub(crate) const CIFAR100: DataFacts = DataFacts { classes: 100, ..CIFAR10 };

/// Builds a model, initialises it unless `dry`, and returns the reported problems as
/// `key: message (help)`.
fn build(model: &str, data: DataFacts, inputs: i64, kind: Kind, dry: bool) -> (Option<Network>, Vec<String>) {
    let component: Component<dyn Model> = serde_yaml::from_str(model).unwrap();
    let problems = RefCell::default();
    let cx = Build::new(data, 0, kind, tch::Device::Cpu, &problems).dry(dry);
    let network = cx.network("model", &component, inputs);
    let describe = |p: &foil_config::Problem| format!("{} ({})", p.message, p.help.as_deref().unwrap_or_default());
    let found = problems.borrow().iter().map(describe).collect();
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

/// A model with its initial parameters in float64, and `n` random images for it.
fn random(model: &str, data: DataFacts, n: i64) -> (Network, Noise, Tensor) {
    let network = build(model, data, data.channels, Kind::Double, false).0.unwrap();
    let noise = Noise::seeded(&[1], n, tch::Device::Cpu);
    let x = noise.uniform("x", &[data.channels, data.height, data.width], Kind::Double);
    (network, noise, x)
}

/// The model takes these images: it gives logits that depend on them (TRADES' networks begin with
/// weights of 0 in the last layer), and where it has an input gradient of its own that is
/// autograd's.
#[track_caller]
pub(crate) fn assert_takes(model: &str, data: DataFacts) {
    let (network, noise, x) = random(model, data, 3);
    let leaf = x.detach().set_requires_grad(true);
    let logits = network.frozen(&leaf, Mode::Eval, Some(&noise));
    assert_eq!(logits.size(), [3, data.classes], "{model}");
    let gradient = Tensor::run_backward(&[logits.square().sum(Kind::Double)], &[&leaf], false, false).remove(0);
    let [moved, said] = [&gradient, &logits].map(|t| t.abs().sum(Kind::Double).double_value(&[]));
    assert!(moved.is_finite() && (moved > 0.0) == (said > 0.0), "{model}: a gradient of {moved}");
    if network.input_gradient(&x, Mode::Eval, &noise, &|logits: &Tensor| logits.detach()).is_some() {
        assert_own_gradient(model, data);
    }
}

/// The model's own input gradient is autograd's, in both modes; its logits and running statistics
/// are those of its forward pass.
#[track_caller]
pub(crate) fn assert_own_gradient(model: &str, data: DataFacts) {
    for mode in [Mode::Eval, Mode::Train] {
        let [(ours, noise, x), (theirs, _, _)] = [(); 2].map(|()| random(model, data, 3));
        let d_logits = |logits: &Tensor| logits.detach().sin() + 0.5;
        let (gradient, logits) = ours.input_gradient(&x, mode, &noise, &d_logits).unwrap();
        let leaf = x.detach().set_requires_grad(true);
        let expected = theirs.frozen(&leaf, mode, Some(&noise));
        let value = (&expected * d_logits(&expected)).sum(Kind::Double);
        let by_autograd = Tensor::run_backward(&[value], &[&leaf], false, false).remove(0);
        let off = |a: &Tensor, b: &Tensor| ((a - b).abs().max() / b.abs().max()).double_value(&[]);
        assert!(off(&logits, &expected.detach()) < 1e-10, "{model} {mode:?}: logits");
        let found = off(&gradient, &by_autograd);
        assert!(found < 1e-10 && !gradient.requires_grad(), "{model} {mode:?}: gradient by {found:e}");
        for ((name, a), (_, b)) in ours.params().state_dict().iter().zip(theirs.params().state_dict()) {
            assert!((a - b).abs().max().double_value(&[]) < 1e-12, "{model} {mode:?}: {name}");
        }
    }
}
