//! A model with its tensors and its input normalisation; [`passes`] are the ways to run it.

mod arithmetic;
mod passes;

use super::Normalize;
use super::capture::Capture;
use super::precision::{EvalPrecision, Precision};
use crate::distributed::World;
use crate::error::Part;
use crate::model::Model;
use crate::nn::{Builder, Features, NormSettings, Parameters, Work};
use crate::plugin::Held;
use crate::{Error, Result, tensors};
use std::cell::{Cell, OnceCell, RefCell};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A model, its parameters and buffers, and its normalisation.
pub struct Network {
    /// In a `Held` rather than a plain trait object, because other copies of the framework call it
    /// too.
    model: Held<dyn Model>,
    /// The model's name in configs.
    called: &'static str,
    params: Parameters,
    affine: Option<(Tensor, Tensor)>,
    per_image: bool,
    passes: Cell<u32>,
    repeats: OnceCell<bool>,
    precision: Precision,
    eval_precision: EvalPrecision,
    flush_denormal: bool,
    evaluating: Cell<bool>,
    work: Cell<Work>,
    capture: Capture,
    /// What the model names in a pass, while someone asks.
    features: RefCell<Option<Features>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network with {} parameters", self.params.count())
    }
}

impl Network {
    /// Allocates what `model` declared in `builder`, and initialises it from `seed` if there is
    /// one.
    pub fn new(model: Box<dyn Model>, builder: Builder, seed: Option<u64>, kind: Kind, device: Device) -> Self {
        Self {
            model: Held::new(model),
            called: "",
            params: builder.finish(seed, kind, device),
            affine: None,
            per_image: false,
            passes: 0.into(),
            repeats: OnceCell::new(),
            precision: Precision::Fp32,
            eval_precision: EvalPrecision::Fp32,
            flush_denormal: true,
            evaluating: false.into(),
            work: Cell::default(),
            capture: Capture::Off,
            features: RefCell::default(),
        }
    }

    /// Sets the model's name in configs, for messages.
    #[must_use]
    pub(crate) fn called(self, name: &'static str) -> Self {
        Self { called: name, ..self }
    }

    /// An error of the model, which names it: "model `resnet18`: …".
    pub(crate) fn blamed(&self, error: Error) -> Error {
        if self.called.is_empty() { error.context("the model") } else { error.in_part(Part::Model, self.called) }
    }

    /// Sets the precision of training and of evaluation.
    #[must_use]
    pub fn computing(mut self, precision: Precision, eval_precision: EvalPrecision) -> Self {
        if precision == Precision::Bf16 {
            self.params.add_bf16_copy();
        }
        Self { precision, eval_precision, ..self }
    }

    /// Sets whether the CPU flushes subnormal numbers to 0 while this network is trained or
    /// evaluated; true by default.
    #[must_use]
    pub fn flush_denormal(self, flush_denormal: bool) -> Self {
        Self { flush_denormal, ..self }
    }

    /// Sets whether evaluations of it may be captured; see [`Network::capture`].
    #[must_use]
    pub fn captured(self, capture: Capture) -> Self {
        Self { capture, ..self }
    }

    /// Whether an evaluation should be captured, given whether its attack can be. If it cannot,
    /// the evaluation runs eagerly.
    pub fn capture(&self, attack_may: bool) -> Capture {
        if attack_may && self.capture != Capture::Off { Capture::Auto } else { Capture::Off }
    }

    /// Adds an input normalisation; `mean` and `std` are the data set's, per channel, in [0, 1]
    /// units.
    #[must_use]
    pub fn normalized(mut self, how: &Normalize, mean: &[f64], std: &[f64]) -> Self {
        let per_channel = |values: &[f64]| {
            Tensor::from_slice(values).to_kind(self.params.kind()).to_device(self.params.device()).view([1, -1, 1, 1])
        };
        self.per_image = how.is_per_image();
        self.affine = how.affine(mean, std).map(|(mean, std)| (per_channel(&mean), per_channel(&std)));
        self
    }

    /// Sets batch norm's momentum and eps; PyTorch's by default.
    #[must_use]
    pub fn with_norms(mut self, settings: NormSettings) -> Self {
        self.params = self.params.with_norms(settings);
        self
    }

    /// Makes it one replica of the network that all ranks of `world` train; with `sync`, batch
    /// norm uses the images of all ranks.
    #[must_use]
    pub fn across(mut self, world: World, sync: bool) -> Self {
        self.params = self.params.across(world, sync);
        self
    }

    /// The ranks that train it together.
    pub fn world(&self) -> World {
        self.params.world()
    }

    /// The operations and bytes of all passes through this network so far, counting gradients as
    /// if each pass took them all.
    pub fn work(&self) -> Work {
        self.work.get()
    }

    /// Loads the weights in the safetensors file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or holds those of another network.
    pub fn read(&self, path: &Path) -> Result<()> {
        self.params.load(&tensors::read(path)?.0).map_err(|e| e.context(path.display()))
    }

    /// Starts a step: passes are numbered from 0 again, so that dropout draws the same numbers
    /// whenever the step is run, and the arithmetic is that of this network.
    pub fn start_step(&self) {
        self.passes.set(0);
        self.params.forget_passes();
        self.params.refresh_bf16_copy();
        self.set_arithmetic();
    }

    /// Whether this is a mask network.
    pub fn is_mask(&self) -> bool {
        self.model.is_mask()
    }

    /// Whether its passes can be captured in a CUDA graph.
    pub fn capturable(&self) -> bool {
        self.model.capturable()
    }

    /// The parameters and buffers.
    pub fn params(&self) -> &Parameters {
        &self.params
    }
}
