//! A loss reads what the model names on the way to its logits, and the images.

use foil::engine::{Learner, Network, Outcome, Step};
use foil::loss::ImageSet;
use foil::nn::{Builder, Noise};
use foil::prelude::*;
use foil::scheduler::Clock;
use foil::testing::{assert_close, from_yaml};
use tch::Device;

/// Two linear layers without bias to speak of.
struct Two(Linear, Linear);

impl Model for Two {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let hidden = nn::relu(self.0.forward(pass, &xs.flatten(1, -1)));
        pass.feature("penultimate", &hidden);
        self.1.forward(pass, &hidden)
    }
}

/// CE under attack, how far the features move, and how far the pixels do.
struct Moved;

impl Loss for Moved {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    fn features(&self) -> Vec<(Forward, &'static str)> {
        self.passes().into_iter().map(|pass| (pass, "penultimate")).collect()
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let feature = |pass| input.feature(pass, "penultimate");
        let moved = feature(Forward::Clean)? - feature(Forward::Adversarial)?;
        let moved = moved.square().sum_dim_intlist(1, false, None::<Kind>).mean(None::<Kind>);
        let pixels = input.images(ImageSet::Adversarial)? - input.images(ImageSet::Clean)?;
        let robust = terms::cross_entropy(input.adversarial()?, input.y()).mean(None::<Kind>);
        Ok(LossOutput::new(robust + moved * 0.5 + pixels.abs().mean(None::<Kind>)))
    }
}

/// Adds fixed numbers.
struct Shift;

impl Attack for Shift {
    fn perturb(&mut self, _: &Target, batch: &Batch) -> Result<Adversarial> {
        let shift = Tensor::from_slice2(&[[0.1, -0.1], [-0.05, 0.15]]).view([2, 1, 1, 2]);
        Ok(Adversarial::new((&batch.x + shift).clamp(0.0, 1.0)))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

fn step() -> Outcome {
    let nn = Builder::default();
    let model = Two(Linear::zero(&nn, "fc1", 2, 2), Linear::zero(&nn, "fc2", 2, 3));
    let network = Network::new(Box::new(model), nn, Some(0), Kind::Double, Device::Cpu);
    let state: std::collections::BTreeMap<_, _> = network.params().state_dict().into_iter().collect();
    let set = |name: &str, values: &Tensor| state[name].shallow_clone().copy_(values);
    set("fc1.weight", &Tensor::from_slice2(&[[1.0, -2.0], [0.5, 1.0]]));
    set("fc2.weight", &Tensor::from_slice2(&[[1.0, -1.0], [0.5, 2.0], [-1.0, 0.3]]));
    let learner = Learner::new(network, from_yaml("{ type: sgd, lr: 0.1 }", Kind::Double));
    let (clock, index) = (Clock::new(1, 1, Device::Cpu), Tensor::from_slice(&[0i64, 1]));
    let noise = Noise::new(&Tensor::from(0i64), &index);
    let x = Tensor::from_slice2(&[[0.6, 0.9], [0.3, 0.05]]).view([2, 1, 1, 2]);
    let mut batch = Batch { x, y: Tensor::from_slice(&[0i64, 1]), index, noise, clock: &clock, clean_logits: None };
    Step::new(learner, Box::new(Shift), Box::new(Moved), ["shift", "moved"]).run(&mut batch).unwrap()
}

// w1, w2, x, y as above, float64
// u = torch.tensor([[.1, -.1], [-.05, .15]]); xa = (x + u).clamp(0, 1)
// f = lambda x: (x @ w1.T).relu(); c, a = f(x), f(xa)
// L = ce(a @ w2.T, y) + .5 * (c - a).square().sum(1).mean() + (xa - x).abs().mean(); L.backward()
#[test]
fn features_carry_a_gradient_and_images_do_not() {
    let outcome = step();
    assert_close(&outcome.loss.total, &Tensor::from(2.254052627862411), 1e-12);
    // The flat gradient has weights first: those of fc1 `[2, 2]`, then those of fc2 `[3, 2]`.
    #[rustfmt::skip]
    let expected = [
        0.03, 0.005, 0.8091109949380498, 0.9893100629580888,
        0.0, -0.528053318022387, 0.0, 0.4107845570576532, 0.0, 0.11726876096473376,
    ];
    assert_close(&outcome.gradients.0.narrow(0, 0, 10), &Tensor::from_slice(&expected), 1e-8);
}
