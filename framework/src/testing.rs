//! Helpers to test plugins: settings from YAML, a tiny model with fixed weights, and comparisons
//! that print both sides.
//!
//! ```no_run,standalone_crate
//! use foil::testing::{assert_close, loss_from_yaml, loss_on};
//! use tch::Tensor;
//!
//! // import torch; z = torch.tensor([[2., 0.], [0., 1.]]); torch.nn.functional.cross_entropy(z, torch.tensor([0, 1]))
//! let logits = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0]]);
//! let output = loss_on(loss_from_yaml("{ type: at }").as_ref(), &logits, &logits, &Tensor::from_slice(&[0i64, 1]));
//! assert_close(&output.total, &Tensor::from(0.22009484928), 1e-10);
//! ```
//!
//! As everything for tests these functions panic where something is wrong, with a message that says
//! what.

use crate::Result;
use crate::attack::{Attack, Batch};
use crate::distributed::World;
use crate::engine::Network;
use crate::loss::{Forward, ImageSet, Loss, LossInput, LossOutput, Moment};
use crate::model::Model;
use crate::nn::{BatchNorm2d, Builder, Conv2d, Linear, Mode, Noise, Pass, Span, name_key, relu};
use crate::registry::{Build, Component, DataFacts, Kind as Registered};
use crate::scheduler::Clock;
use crate::update::Descent;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// The data that [`images`] and [`network`] are made for: 2 x 5 x 5 pixels, 4 classes, 32 training
/// images.
pub const FACTS: DataFacts = DataFacts { channels: 2, height: 5, width: 5, classes: 4, train: 32 };

/// Builds a component from YAML such as `{ type: trades, beta: 6 }`, for [`FACTS`] and with numbers
/// of `kind`.
///
/// # Panics
/// With the problems of the settings.
pub fn from_yaml<T: Registered + ?Sized>(yaml: &str, kind: Kind) -> Box<T> {
    let component: Component<T> = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    let problems = RefCell::default();
    let cx = Build::new(FACTS, 0, kind, Device::Cpu, &problems).in_batches_of(FACTS.train);
    let built = cx.component(T::NAME, &component);
    match built {
        Some(built) if problems.borrow().is_empty() => built,
        _ => panic!("{yaml}: {:?}", problems.borrow()),
    }
}

/// The descent of a quadratic bowl, (curve · w²/2).sum(), by plain steps down the gradient: what an
/// update is tested on.
#[derive(Debug)]
pub struct Bowl {
    weights: Tensor,
    curve: Tensor,
    lr: f64,
}

impl Bowl {
    /// At `weights`, with the second derivatives `curve` and this learning rate.
    pub fn new(weights: &[f64], curve: &[f64], lr: f64) -> Self {
        Self { weights: Tensor::from_slice(weights), curve: Tensor::from_slice(curve), lr }
    }
}

impl Descent for Bowl {
    fn weights(&self) -> &Tensor {
        &self.weights
    }

    fn spans(&self) -> &[Span] {
        &[]
    }

    fn gradient(&mut self, _: Mode) -> Result<Tensor> {
        Ok(&self.curve * &self.weights)
    }

    fn shift(&mut self, by: &Tensor, times: f64) -> Result<()> {
        let _ = self.weights.g_add_(&(by * times));
        Ok(())
    }

    fn step(&mut self, gradient: &Tensor) -> Result<()> {
        self.shift(gradient, -self.lr)
    }
}

/// A model from YAML for images of [`FACTS`], with its initial parameters.
///
/// # Panics
/// With the problems of the settings.
pub fn network_from_yaml(yaml: &str, kind: Kind) -> Network {
    let component: Component<dyn Model> = serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    let problems = RefCell::default();
    let built = Build::new(FACTS, 0, kind, Device::Cpu, &problems).network("model", &component, FACTS.channels);
    match built {
        Some(built) if problems.borrow().is_empty() => built,
        _ => panic!("{yaml}: {:?}", problems.borrow()),
    }
}

/// A loss from YAML; see [`from_yaml`].
pub fn loss_from_yaml(yaml: &str) -> Box<dyn Loss> {
    from_yaml(yaml, Kind::Double)
}

/// An attack from YAML; see [`from_yaml`].
pub fn attack_from_yaml(yaml: &str, kind: Kind) -> Box<dyn Attack> {
    from_yaml(yaml, kind)
}

/// The loss of logits `[N, K]` and labels `[N]`, whichever passes it asks for.
///
/// # Panics
/// When the loss cannot be computed from them; [`loss_with`] takes side tensors and returns the
/// error.
pub fn loss_on(loss: &dyn Loss, clean: &Tensor, adversarial: &Tensor, y: &Tensor) -> LossOutput {
    loss_with(loss, clean, adversarial, y, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"))
}

/// As [`loss_on`], with the attack's side tensors, checked by [`LossInput::check`]. For a loss of
/// other images or networks make a [`LossInput`].
///
/// # Errors
/// The first problem found.
pub fn loss_with(
    loss: &dyn Loss,
    clean: &Tensor,
    adversarial: &Tensor,
    y: &Tensor,
    side: &BTreeMap<String, Tensor>,
) -> crate::Result<LossOutput> {
    let mut logits = BTreeMap::new();
    let own = |pass: &Forward| pass.moment() != Moment::AfterUpdate && pass.network().is_none();
    for pass in loss.passes().into_iter().filter(own) {
        match pass.images() {
            ImageSet::Clean => drop(logits.insert(pass, clean.shallow_clone())),
            ImageSet::Adversarial => drop(logits.insert(pass, adversarial.shallow_clone())),
            ImageSet::Both => {
                logits.insert(Forward::Clean, clean.shallow_clone());
                logits.insert(Forward::Adversarial, adversarial.shallow_clone());
            }
            ImageSet::Named(_) => {}
        }
    }
    let clock = Clock::new(1, 1, Device::Cpu);
    let index = Tensor::arange(y.size()[0], (Kind::Int64, Device::Cpu));
    let input = LossInput::new(logits, y, side, &clock).of_images(&index, World::alone());
    input.check(loss)?;
    loss.forward(&input)
}

/// A convolution, batch norm, ReLU and a linear layer, for images of [`FACTS`]: 367 parameters
/// under the names `conv`, `bn` and `fc`. Its running statistics are not those of any batch, so
/// train and eval mode differ.
#[derive(Debug)]
pub struct TinyNet {
    conv: Conv2d,
    bn: BatchNorm2d,
    fc: Linear,
}

impl TinyNet {
    /// Declares its parameters.
    pub fn new(nn: &Builder) -> Self {
        let pixels = FACTS.height * FACTS.width;
        Self {
            conv: Conv2d::new(nn, "conv", [FACTS.channels, 3], 3, 1, 1),
            bn: BatchNorm2d::new(nn, "bn", 3),
            fc: Linear::new(nn, "fc", 3 * pixels, FACTS.classes),
        }
    }
}

impl Model for TinyNet {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features = relu(self.bn.forward(pass, &self.conv.forward(pass, xs)));
        self.fc.forward(pass, &features.flatten(1, -1))
    }
}

/// A [`TinyNet`] with fixed weights of `kind` on the CPU; its logits span a few units.
pub fn network(kind: Kind) -> Network {
    let nn = Builder::default();
    let network = Network::new(Box::new(TinyNet::new(&nn)), nn, Some(1), kind, Device::Cpu);
    tch::no_grad(|| {
        for (name, mut tensor) in network.params().state_dict() {
            let noise = Noise::seeded(&[name_key(&name)], 1, Device::Cpu).uniform("", &tensor.size(), kind);
            match name.as_str() {
                "bn.running_mean" | "bn.bias" => tensor.copy_(&(noise.squeeze_dim(0) - 0.5)),
                "bn.running_var" | "bn.weight" => tensor.copy_(&(noise.squeeze_dim(0) + 0.5)),
                "fc.weight" => drop(tensor.g_mul_scalar_(6.0)),
                _ => {}
            }
        }
    });
    network
}

/// Images with labels and indices, and the clock of a run.
#[derive(Debug)]
pub struct Images {
    /// `[N, C, H, W]` in [0, 1].
    pub x: Tensor,
    /// `[N]`, int64.
    pub y: Tensor,
    /// `[N]`, int64.
    pub index: Tensor,
    /// At the start of a run.
    pub clock: Clock,
}

/// `n` images (at most 32) of [`FACTS`], a function of `seed`; some pixels are exactly 0 or 1.
/// Labels are the predictions of [`network`] in eval mode, except that every fourth is another
/// class.
pub fn images(n: i64, seed: u64, kind: Kind) -> Images {
    let noise = Noise::seeded(&[seed], n, Device::Cpu);
    let row = [FACTS.channels, FACTS.height, FACTS.width];
    let x = (noise.uniform("x", &row, Kind::Float).to_kind(kind) * 1.2 - 0.1).clamp(0.0, 1.0);
    let network = network(kind);
    let said = network.frozen(&x, crate::nn::Mode::Eval, None).argmax(-1, false);
    let index = Tensor::arange(n, (Kind::Int64, Device::Cpu));
    let y = (said + (&index + 1).remainder(4).eq(0).to_kind(Kind::Int64)).remainder(FACTS.classes);
    Images { x, y, index, clock: Clock::new(1, 1, Device::Cpu) }
}

impl Images {
    /// The batch of all of them; its random numbers are a function of `seed` and their indices.
    pub fn batch(&self, seed: u64) -> Batch<'_> {
        self.rows(&Tensor::arange(self.y.size()[0], (Kind::Int64, Device::Cpu)), seed)
    }

    /// The batch of those at `rows` `[n]`, in that order; each draws the same random numbers as in
    /// [`Images::batch`].
    pub fn rows(&self, rows: &Tensor, seed: u64) -> Batch<'_> {
        let pick = |t: &Tensor| t.index_select(0, rows);
        let index = pick(&self.index);
        let noise = Noise::new(&Tensor::from(crate::nn::key_of(&[seed])), &index);
        Batch { x: pick(&self.x), y: pick(&self.y), index, noise, clock: &self.clock, clean_logits: None }
    }
}

/// Compares element by element: |found - expected| <= tolerance · max(1, |expected|).
///
/// # Panics
/// When they differ, printing both and the largest difference; shapes must be equal too.
#[track_caller]
pub fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.size(), expected.size(), "shapes differ");
    let [a, b] = [found, expected].map(|t| t.detach().to_kind(Kind::Double).to_device(Device::Cpu));
    let off = (&a - &b).abs() / b.abs().clamp_min(1.0);
    // Not `max > tolerance`, which a NaN would pass; two equal infinities are equal.
    let close = off.le(tolerance).logical_or(&a.eq_tensor(&b));
    if close.all().int64_value(&[]) == 0 {
        let largest = off.max().double_value(&[]);
        panic!(
            "they differ by up to {largest:e}, more than {tolerance:e}\nfound\n{}\nexpected\n{}",
            a.to_string(120).unwrap_or_default(),
            b.to_string(120).unwrap_or_default()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_see_differences_and_nan() {
        let one = Tensor::from(1.0);
        assert_close(&one, &Tensor::from(1.0 + 1e-12), 1e-10);
        for other in [1.1, f64::NAN, f64::INFINITY] {
            let compare = || assert_close(&one, &Tensor::from(other), 1e-3);
            assert!(std::panic::catch_unwind(compare).is_err(), "1 is not close to {other}");
        }
    }

    #[test]
    fn the_tiny_network_is_the_same_each_time_and_knows_most_labels() {
        let (images, net) = (images(16, 3, Kind::Double), network(Kind::Double));
        let logits = net.frozen(&images.x, crate::nn::Mode::Eval, None);
        assert_eq!(logits, network(Kind::Double).frozen(&images.x, crate::nn::Mode::Eval, None));
        let right = logits.argmax(-1, false).eq_tensor(&images.y).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(right, 12);
        assert_ne!(logits, net.frozen(&images.x, crate::nn::Mode::Train, None));
    }
}
