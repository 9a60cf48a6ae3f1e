//! Clipping of gradients: `train.clip_grad`.

use foil::engine::Learner;
use foil::nn::Mode;
use foil::optim::Optimizer;
use foil::prelude::{Kind, Tensor};
use foil::testing::{assert_close, from_yaml, images, network};
use foil_optimizers as _;

/// The gradient of a step with gradients clipped to `longest`, and the change it makes.
fn step(longest: Option<f64>) -> (Tensor, Tensor) {
    let sgd = from_yaml::<dyn Optimizer>("{ type: sgd, lr: 1, momentum: 0 }", Kind::Double);
    let mut learner = Learner::new(network(Kind::Double), sgd).clipping(longest);
    let images = images(4, 0, Kind::Double);
    let before = learner.network().params().flat().copy();
    let loss = learner.network().differentiable(&images.x, Mode::Eval, None).square().mean(Kind::Double);
    let gradient = learner.descend(&loss, &images.clock).unwrap().0;
    let change = before - learner.network().params().flat();
    (gradient, change)
}

// torch.nn.utils.clip_grad_norm_: factor min(1, longest / (norm + 1e-6)).
#[test]
fn a_longer_gradient_is_scaled_down_and_a_shorter_one_is_not() {
    let (free, change) = step(None);
    assert_close(&free, &change, 1e-12);
    let norm = free.norm().double_value(&[]);
    let (clipped, change) = step(Some(norm / 4.0));
    assert_close(&clipped, &(&free * (norm / 4.0 / (norm + 1e-6))), 1e-12);
    assert_close(&clipped, &change, 1e-12);
    assert_eq!(step(Some(norm * 2.0)).0, free);
}
