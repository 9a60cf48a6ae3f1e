//! Passes through a network: with constant or trainable parameters, and its input gradient.

use super::Network;
use crate::model::Model;
use crate::nn::kernels::{normalize, normalize_backward};
use crate::nn::{Features, Mode, Noise, Work};
use crate::shim::version;
use crate::{Error, raise};
use tch::{Device, Kind, Tensor};

/// How a train-mode pass treats batch norm's statistics.
struct Statistics<'a> {
    /// How many passes it replaces.
    times: u32,
    /// How far the running statistics move towards the batch's, from 0 to 1; `None` for the
    /// network's own momentum.
    momentum: Option<f64>,
    /// The images whose statistics are taken, `[N]` booleans; all images if `None`.
    selected: Option<&'a Tensor>,
}

impl Default for Statistics<'_> {
    fn default() -> Self {
        Self { times: 1, momentum: None, selected: None }
    }
}

impl Network {
    fn normalize(&self, xs: &Tensor) -> Tensor {
        if let Some((mean, std)) = &self.affine {
            return (xs - mean) / std;
        }
        if self.per_image {
            // advertorch's PerImageStandardize: torch.std divides by N - 1, and 1/sqrt(N) bounds it
            // from below.
            let pixels = xs.size()[1..].iter().product::<i64>() as f64;
            let dims = [1i64, 2, 3].as_slice();
            let mean = xs.mean_dim(dims, true, None::<Kind>);
            let std = xs.std_dim(dims, true, true).clamp_min(1.0 / pixels.sqrt());
            return (xs - mean) / std;
        }
        xs.shallow_clone()
    }

    fn run(&self, xs: &Tensor, mode: Mode, differentiable: bool, noise: Option<&Noise>) -> Tensor {
        self.run_as(xs, mode, differentiable, noise, Statistics::default())
    }

    fn run_as(
        &self,
        xs: &Tensor,
        mode: Mode,
        differentiable: bool,
        noise: Option<&Noise>,
        Statistics { times, momentum, selected }: Statistics,
    ) -> Tensor {
        let number = self.passes.replace(self.passes.get() + 1);
        self.params.track(mode, times, selected);
        let pass = self.params.pass(mode, differentiable, self.is_bf16(), number, noise);
        let pass = pass.selecting(selected).keeping(&self.features);
        let pass = match momentum {
            Some(momentum) => pass.moving_by(momentum),
            None => pass,
        };
        let before = self.params.work();
        let out = self.unwritten(xs, || self.model.forward(&pass, &self.entering(xs)));
        if !out.defined() {
            raise(Err(self.blamed(Error::new("it returns a tensor that was never computed"))))
        }
        // The gradient with respect to the input costs as much as the forward pass, and that with
        // respect to the parameters again.
        let times = match (differentiable, xs.requires_grad()) {
            (true, _) => 3.0,
            (false, true) => 2.0,
            (false, false) => 1.0,
        };
        self.count(before, times);
        if self.is_bf16() { out.to_kind(self.params.kind()) } else { out }
    }

    /// Runs a pass of this network in `work`, and returns what the model named in it as well.
    pub fn with_features<T>(&self, work: impl FnOnce() -> T) -> (T, Features) {
        self.features.replace(Some(Features::new()));
        let done = work();
        let features = self.features.take().unwrap_or_default().into_iter();
        (done, features.map(|(name, feature)| (name, feature.to_kind(self.params.kind()))).collect())
    }

    /// Runs a pass. It is an error if the model writes into `xs`: the next attack or evaluation
    /// would see different images.
    fn unwritten<T>(&self, xs: &Tensor, pass: impl FnOnce() -> T) -> T {
        let before = version(xs);
        let out = pass();
        if version(xs) != before {
            let error = Error::new("its forward pass writes into the images it is given");
            let help = "compute new tensors in place of `sub_`, `clamp_` or `copy_` on the input";
            raise(Err(self.blamed(error.help(help))))
        }
        out
    }

    fn count(&self, before: Work, times: f64) {
        self.work.set(self.work.get().plus(self.params.work().since(before), times));
    }

    /// The input of the first layer: `xs`, normalised.
    fn entering(&self, xs: &Tensor) -> Tensor {
        let kind = if self.is_bf16() { Kind::BFloat16 } else { self.params.kind() };
        let fused = self.affine.as_ref().and_then(|(mean, std)| normalize(xs, mean, std, kind));
        if let Some(xs) = fused {
            return xs;
        }
        let xs = self.normalize(xs);
        if self.is_bf16() { xs.to_kind(Kind::BFloat16) } else { xs }
    }

    /// Logits with gradients flowing into the parameters.
    pub fn differentiable(&self, xs: &Tensor, mode: Mode, noise: Option<&Noise>) -> Tensor {
        self.run(xs, mode, true, noise)
    }

    /// [`Network::differentiable`] in train mode, counting as `times` passes; the running
    /// statistics move by `momentum`.
    pub(in crate::engine) fn differentiable_for(
        &self,
        (times, momentum): (u32, f64),
        xs: &Tensor,
        noise: &Noise,
    ) -> Tensor {
        self.run_as(xs, Mode::Train, true, Some(noise), Statistics { times, momentum: Some(momentum), selected: None })
    }

    /// A pass in train mode without gradient, after which the running statistics have moved by
    /// `momentum` towards the batch's.
    pub(in crate::engine) fn moving_by(&self, momentum: f64, xs: &Tensor) -> Tensor {
        self.run_as(xs, Mode::Train, false, None, Statistics { times: 1, momentum: Some(momentum), selected: None })
    }

    /// Whether two passes over the same images give the same result (no dropout) and change
    /// nothing but batch norm's statistics. The first call runs a pass in eval mode to find out,
    /// before any other pass of the step: with one image on the CPU, elsewhere with the whole
    /// batch, so that the step's own passes find their convolution algorithms chosen.
    pub(in crate::engine) fn repeats(&self, xs: &Tensor, noise: &Noise) -> bool {
        *self.repeats.get_or_init(|| {
            // A model that cannot be captured may have its own random numbers.
            self.model.capturable() && {
                let work = self.work.get();
                let look =
                    |xs: &Tensor, noise: &Noise| drop(tch::no_grad(|| self.run(xs, Mode::Eval, false, Some(noise))));
                match xs.device() {
                    Device::Cpu => look(&xs.narrow(0, 0, 1), &noise.rows(&Tensor::from_slice(&[0i64]))),
                    _ => look(xs, noise),
                }
                self.passes.set(0);
                self.work.set(work);
                self.params.is_deterministic()
            }
        })
    }

    /// Logits with constant parameters; gradients flow into `xs` only.
    pub fn frozen(&self, xs: &Tensor, mode: Mode, noise: Option<&Noise>) -> Tensor {
        self.run(xs, mode, false, noise)
    }

    /// [`Network::frozen`], in which batch norm takes its statistics in train mode over the
    /// `selected` images, `[N]` booleans; see
    /// [`Target::selecting`](crate::attack::Target::selecting).
    pub(crate) fn frozen_selecting(&self, xs: &Tensor, mode: Mode, noise: Option<&Noise>, selected: &Tensor) -> Tensor {
        self.run_as(xs, mode, false, noise, Statistics { selected: Some(selected), ..Default::default() })
    }

    /// The model's own input gradient, if it states one; see [`Model::input_gradient`].
    pub fn input_gradient(
        &self,
        xs: &Tensor,
        mode: Mode,
        noise: &Noise,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        // A model's own gradient covers the batch it sees, not those of other ranks.
        if self.per_image || (mode != Mode::Eval && self.params.is_sync()) {
            return None;
        }
        let bf16 = self.is_bf16();
        let pass = self.params.pass(mode, false, bf16, self.passes.get(), Some(noise));
        let whole = self.params.kind();
        let narrow = |logits: &Tensor| d_logits(&logits.to_kind(whole)).to_kind(logits.kind());
        let xs = self.entering(&xs.detach());
        let before = self.params.work();
        let (gradient, logits) = self.unwritten(&xs, || self.model.input_gradient(&pass, &xs, &narrow))?;
        self.count(before, 2.0);
        self.params.track(mode, 1, None);
        self.passes.set(self.passes.get() + 1);
        let gradient = match &self.affine {
            Some((_, std)) => normalize_backward(&gradient, std).unwrap_or_else(|| gradient.to_kind(whole) / std),
            None => gradient.to_kind(whole),
        };
        Some((gradient, logits.to_kind(whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Normalize, Usual};
    use crate::nn::{BatchNorm2d, Builder, Given, GivenBuffer, Linear, NormSettings, Pass, dropout};
    use crate::testing::assert_close;

    /// A network in which a second pass over the same images gives another result or leaves other
    /// state, or (by default) neither.
    struct Odd {
        norm: BatchNorm2d,
        out: Linear,
        drop_rate: f64,
        seen: Option<GivenBuffer>,
    }

    impl Model for Odd {
        fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
            if let (Some(seen), Mode::Train) = (self.seen, pass.mode()) {
                drop(pass.given_buffer(seen).shallow_clone().g_add_scalar_(1));
            }
            let xs = dropout(pass, &self.norm.forward(pass, xs), self.drop_rate);
            self.out.forward(pass, &xs.flatten(1, -1))
        }
    }

    /// Returns the normalised pixels as logits.
    struct Seen;

    impl Model for Seen {
        fn forward(&self, _: &Pass, xs: &Tensor) -> Tensor {
            xs.flatten(1, -1)
        }
    }

    // import torch; f64 = torch.float64
    // x = torch.tensor([[0., 0, 1, 1], [0, .5, .5, 1], [.25, .25, .25, .25]], dtype=f64)
    // (x - x.mean(1, keepdim=True)) / x.std(1).clamp(min=4 ** -.5)[:, None]
    //
    // By hand: the first image's variance is 4 · .25 / 3, .5 / sqrt(1/3) = .866025; the second's
    // deviation, sqrt(.5 / 3) = .408, is less than 1/sqrt(4); the third has none.
    #[test]
    fn each_image_is_standardised_as_torch_std_does() {
        let x = [[0.0f64, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0], [0.25; 4]];
        let x = Tensor::from_slice2(&x).view([3, 1, 2, 2]);
        let network = Network::new(Box::new(Seen), Builder::default(), Some(0), Kind::Double, Device::Cpu);
        let network = network.normalized(&Normalize::Usual(Usual::PerImage), &[], &[]);
        let a = 0.75f64.sqrt();
        let expected = Tensor::from_slice2(&[[-a, -a, a, a], [-1.0, 0.0, 0.0, 1.0], [0.0; 4]]);
        assert_close(&network.frozen(&x, Mode::Eval, None), &expected, 1e-12);
    }

    // By hand: one channel, running mean 0 and variance 1, values 1 and 3. The batch's mean is 2,
    // its unbiased variance 2; with momentum .01 the running ones become .02 and 1.01. Both modes
    // normalise by the biased variance 1, here with eps 3: ±1/2.
    #[test]
    fn still_takes_the_batchs_statistics_and_moves_nothing() {
        for (mode, expected) in [(Mode::Train, [0.02, 1.01]), (Mode::Still, [0.0, 1.0])] {
            let nn = Builder::default();
            let norm = BatchNorm2d::new(&nn, "bn", 1);
            let model = Odd { norm, out: Linear::zero(&nn, "fc", 1, 1), drop_rate: 0.0, seen: None };
            let network = Network::new(Box::new(model), nn, Some(0), Kind::Double, Device::Cpu);
            let network = network.with_norms(NormSettings { momentum: 0.01, eps: 3.0 });
            let state: std::collections::BTreeMap<_, _> = network.params().state_dict().into_iter().collect();
            let _ = state["fc.weight"].shallow_clone().fill_(1.0);
            let x = Tensor::from_slice(&[1.0f64, 3.0]).view([2, 1, 1, 1]);
            let out = network.frozen(&x, mode, None);
            assert_close(&out, &Tensor::from_slice(&[-0.5f64, 0.5]).view([2, 1]), 1e-12);
            let found = ["bn.running_mean", "bn.running_var"].map(|name| state[name].double_value(&[0]));
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{mode:?} {found:?}");
            assert_eq!(network.params().storage()[2].1.int64_value(&[0]), i64::from(mode == Mode::Train));
        }
    }

    #[test]
    fn a_network_repeats_unless_it_draws_or_counts() {
        let xs = Tensor::ones([2, 1, 2, 2], (Kind::Float, Device::Cpu));
        for (drop_rate, counts, expected) in [(0.0, false, true), (0.5, false, false), (0.0, true, false)] {
            let nn = Builder::default();
            let seen = counts.then(|| nn.given("seen", &Tensor::zeros([1], (Kind::Float, Device::Cpu)), false));
            let seen = seen.and_then(|given| if let Given::Buffer(id) = given { Some(id) } else { None });
            let model =
                Odd { norm: BatchNorm2d::new(&nn, "bn", 1), out: Linear::new(&nn, "fc", 4, 2), drop_rate, seen };
            let network = Network::new(Box::new(model), nn, Some(0), Kind::Float, Device::Cpu);
            let before: Vec<_> = network.params().state_dict().into_iter().map(|(_, t)| t.copy()).collect();
            assert_eq!(network.repeats(&xs, &Noise::seeded(&[1], 2, Device::Cpu)), expected, "{drop_rate} {counts}");
            let after = network.params().state_dict();
            assert!(after.iter().zip(&before).all(|((_, a), b)| a == b), "looking changed something");
        }
    }
}
