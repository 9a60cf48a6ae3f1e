//! A model with its numbers, its input normalisation, and the ways to run it.

use crate::model::Model;
use crate::nn::{Builder, Mode, Noise, Parameters};
use foil_macros::settings;
use std::cell::Cell;
use tch::{Device, Kind, Tensor};

/// What happens to images in [0, 1] before the first layer; attacks and their radii stay in [0, 1].
#[settings]
#[derive(PartialEq)]
pub enum Normalize {
    /// Nothing: TRADES, MART, FAT and everything on MNIST.
    None,
    /// (x - mean) / std with the data set's training statistics: robust_overfitting and CAT on CIFAR.
    Data,
    /// Each image to mean 0 and variance 1 over all its pixels: MMA on CIFAR.
    PerImage,
}

/// A model, its parameters and buffers, and its normalisation.
pub struct Network {
    model: Box<dyn Model>,
    params: Parameters,
    affine: Option<(Tensor, Tensor)>,
    per_image: bool,
    passes: Cell<u32>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network with {} parameters", self.params.count())
    }
}

impl Network {
    /// Lays out what `model` declared in `builder`, and initialises it from `seed` if there is one.
    pub fn new(model: Box<dyn Model>, builder: Builder, seed: Option<u64>, kind: Kind, device: Device) -> Self {
        Self { model, params: builder.finish(seed, kind, device), affine: None, per_image: false, passes: 0.into() }
    }

    /// Puts a normalisation in front; `mean` and `std` are the data set's, per channel, in [0, 1] units.
    #[must_use]
    pub fn normalized(mut self, how: &Normalize, mean: &[f64], std: &[f64]) -> Self {
        let per_channel = |values: &[f64]| {
            Tensor::from_slice(values).to_kind(self.params.kind()).to_device(self.params.device()).view([1, -1, 1, 1])
        };
        match how {
            Normalize::None => {}
            Normalize::Data => self.affine = Some((per_channel(mean), per_channel(std))),
            Normalize::PerImage => self.per_image = true,
        }
        self
    }

    fn normalize(&self, xs: &Tensor) -> Tensor {
        if let Some((mean, std)) = &self.affine {
            return (xs - mean) / std;
        }
        if self.per_image {
            // advertorch's PerImageStandardize: the deviation is bounded from below by 1/sqrt(pixels).
            let pixels = xs.size()[1..].iter().product::<i64>() as f64;
            let dims = [1i64, 2, 3].as_slice();
            let mean = xs.mean_dim(dims, true, None::<Kind>);
            let std = xs.std_dim(dims, false, true).clamp_min(1.0 / pixels.sqrt());
            return (xs - mean) / std;
        }
        xs.shallow_clone()
    }

    fn run(&self, xs: &Tensor, mode: Mode, differentiable: bool, noise: Option<&Noise>) -> Tensor {
        let number = self.passes.replace(self.passes.get() + 1);
        let pass = self.params.pass(mode, differentiable, number, noise);
        self.model.forward(&pass, &self.normalize(xs))
    }

    /// Starts a step: passes are numbered from 0 again, so that dropout draws the same numbers whenever the step is run.
    pub fn start_step(&self) {
        self.passes.set(0);
    }

    /// Logits with gradients flowing into the parameters.
    pub fn differentiable(&self, xs: &Tensor, mode: Mode, noise: Option<&Noise>) -> Tensor {
        self.run(xs, mode, true, noise)
    }

    /// Logits with constant parameters; gradients flow into `xs` only.
    pub fn frozen(&self, xs: &Tensor, mode: Mode, noise: Option<&Noise>) -> Tensor {
        self.run(xs, mode, false, noise)
    }

    /// The model's own input gradient, if it states one; see [`Model::input_gradient`].
    pub fn input_gradient(
        &self,
        xs: &Tensor,
        mode: Mode,
        noise: &Noise,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        if self.per_image {
            return None;
        }
        let pass = self.params.pass(mode, false, self.passes.get(), Some(noise));
        let (gradient, logits) = self.model.input_gradient(&pass, &self.normalize(&xs.detach()), d_logits)?;
        self.passes.set(self.passes.get() + 1);
        let gradient = self.affine.as_ref().map_or(gradient.shallow_clone(), |(_, std)| gradient / std);
        Some((gradient, logits))
    }

    /// Whether this is a mask network.
    pub fn is_mask(&self) -> bool {
        self.model.is_mask()
    }

    /// The numbers.
    pub fn params(&self) -> &Parameters {
        &self.params
    }
}
