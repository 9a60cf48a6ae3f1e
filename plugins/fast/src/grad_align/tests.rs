use super::*;
use foil::engine::{Outcome, Step};
use foil::prelude::*;
use foil::testing::{assert_close, attack_from_yaml, from_yaml, loss_from_yaml};
use foil_optimizers as _;
use tch::Device;

/// z = W x for two pixels and three classes.
struct Three(Linear);

impl Model for Three {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.0.forward(pass, &xs.flatten(1, -1))
    }
}

/// A step on these two images, whose gradient is that of W `[3, 2]` and the bias.
fn step(weights: [[f64; 2]; 3], lambda: f64) -> Outcome {
    let nn = Builder::default();
    let linear = Linear::zero(&nn, "fc", 2, 3);
    let network = Network::new(Box::new(Three(linear)), nn, Some(0), Kind::Double, Device::Cpu);
    network.params().state_dict()[0].1.shallow_clone().copy_(&Tensor::from_slice2(&weights));
    let learner = Learner::new(network, from_yaml("{ type: sgd, lr: 0.1 }", Kind::Double));
    let attack = attack_from_yaml("{ type: grad_align, eps: 0.25 }", Kind::Double);
    let loss = loss_from_yaml(&format!("{{ type: grad_align, lambda: {lambda} }}"));
    let clock = Clock::new(1, 1, Device::Cpu);
    let index = Tensor::from_slice(&[0i64, 1]);
    let mut noise = nn::Noise::new(&Tensor::from(0i64), &index);
    let u = Tensor::from_slice2(&[[0.25, -0.25], [-0.2, 0.15]]);
    noise.give("beside", ((u / 0.25 + 1.0) / 2.0).view([2, 1, 1, 2]));
    let x = Tensor::from_slice2(&[[0.6, 0.9], [0.3, 0.05]]).view([2, 1, 1, 2]);
    let mut batch =
        Batch { x, y: Tensor::from_slice(&[0i64, 1]), index, noise, clock: &clock, clean_logits: Option::None };
    Step::new(learner, attack, loss, ["grad_align", "grad_align"]).run(&mut batch).unwrap()
}

const W: [[f64; 2]; 3] = [[4.0, -2.0], [-2.0, 4.0], [2.0, 2.0]];

// The fact sheet's numbers, which were computed in float64; its gradients are those of the batch's
// mean.
#[test]
fn a_step_of_the_fact_sheet() {
    let (with, without) = (step(W, 0.2), step(W, 0.0));
    let found = Tensor::stack(&[&with.loss.parts[0].1, &(&with.loss.parts[1].1 * 0.2), &with.loss.total], 0);
    assert_close(&found, &Tensor::from_slice(&[3.98255197, 0.00081509407, 3.98336707]), 1e-8);
    assert_close(&with.adversarial.x.view([2, 2]), &Tensor::from_slice2(&[[0.35, 1.0], [0.55, 0.0]]), 1e-12);
    let first = &with.adversarial.side[GRADIENT].view([2, 2]) / 2.0;
    assert_close(&first, &Tensor::from_slice2(&[[-1.61414282, 2.22407386], [2.29245009, -1.93842966]]), 1e-8);
    // What the alignment adds to the gradient by W.
    let added = (&with.gradients.0 - &without.gradients.0).narrow(0, 0, 6).view([3, 2]);
    let expected = [[-0.00164107, -0.00082131], [-0.00097997, -0.00124541], [0.00262104, 0.00206673]];
    assert_close(&added, &Tensor::from_slice2(&expected), 1e-7);
}

// Without weights no image has a gradient: the term is 0, and its own gradient is finite.
#[test]
fn images_without_gradient_are_left_out() {
    let outcome = step([[0.0; 2]; 3], 0.2);
    assert_eq!(outcome.loss.parts[1].1.double_value(&[]), 0.0);
    assert_eq!(outcome.gradients.0.isfinite().all().int64_value(&[]), 1);
    assert_close(&outcome.loss.total, &Tensor::from(3f64.ln()), 1e-12);
}
