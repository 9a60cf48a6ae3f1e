//! What a forward pass runs with: a view of the parameters, the mode, and dropout's numbers.

use super::declare::NormSpec;
use super::{BufferId, GivenBuffer, GivenParameter, Mode, NormId, ParamId, Parameters, Work};
use crate::distributed::World;
use crate::nn::noise::Noise;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

impl Parameters {
    /// The context of a forward pass: `frozen` for attacks and evaluation, differentiable for the
    /// update.
    ///
    /// `number` tells passes over one batch apart, so that each draws its own dropout from `noise`.
    /// With `bf16` it runs in bf16, if there is a copy of the parameters for that.
    pub fn pass<'a>(
        &'a self,
        mode: Mode,
        differentiable: bool,
        bf16: bool,
        number: u32,
        noise: Option<&'a Noise>,
    ) -> Pass<'a> {
        let frozen = match &self.bf16 {
            Some(copy) if bf16 => &copy.frozen,
            _ => &self.frozen,
        };
        // Layers and models know two modes; here the statistics just do not move.
        let (mode, momentum) = match mode {
            Mode::Still => (Mode::Train, 0.0),
            mode => (mode, self.norm_settings.momentum),
        };
        Pass {
            all: self,
            values: if differentiable { self.grad_views.next(frozen) } else { frozen },
            affine: OnceCell::new(),
            mode,
            noise,
            number,
            draws: 0.into(),
            momentum,
            selected: None,
            features: None,
        }
    }
}

/// What a forward pass runs with; models hand it on to their layers.
#[derive(Debug)]
pub struct Pass<'a> {
    all: &'a Parameters,
    values: &'a [Tensor],
    affine: OnceCell<[Tensor; 2]>,
    mode: Mode,
    noise: Option<&'a Noise>,
    number: u32,
    draws: Cell<u32>,
    momentum: f64,
    selected: Option<&'a Tensor>,
    features: Option<&'a RefCell<Option<Features>>>,
}

/// What a model computes on the way to its logits, by the names that it gives.
pub(crate) type Features = BTreeMap<String, Tensor>;

impl<'a> Pass<'a> {
    /// In train mode batch norm takes the statistics of these images, `[N]` booleans, in place of
    /// all.
    #[must_use]
    pub(crate) fn selecting(self, selected: Option<&'a Tensor>) -> Self {
        Self { selected, ..self }
    }

    /// Keeps what the model names, if there is a place for it.
    #[must_use]
    pub(crate) fn keeping(self, features: &'a RefCell<Option<Features>>) -> Self {
        Self { features: Some(features), ..self }
    }
}

impl Pass<'_> {
    /// The images whose statistics batch norm takes in this pass, `[N]` booleans; `None` for the
    /// whole batch, and in eval mode. All images are normalised with them.
    pub fn selected(&self) -> Option<&Tensor> {
        self.selected.filter(|_| self.mode == Mode::Train)
    }

    /// The running statistics move towards the batch's by this, of 1.
    #[must_use]
    pub(crate) fn moving_by(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// How far the running statistics move towards the batch's, of 1; and what is added to a
    /// variance.
    pub(crate) fn rates(&self) -> [f64; 2] {
        [self.momentum, self.all.norm_settings.eps]
    }

    /// Notes that the model draws random numbers, whatever the mode.
    pub(crate) fn mark_random(&self) {
        self.all.was_random.set(true);
    }

    pub(crate) fn param(&self, id: ParamId) -> &Tensor {
        &self.values[id.0]
    }

    /// Counts a convolution or linear layer, whose output's numbers are sums over `terms` products.
    pub(crate) fn count(&self, xs: &Tensor, weight: &Tensor, out: &Tensor, terms: i64) {
        let numbers = (xs.numel() + weight.numel() + out.numel()) as f64;
        let bytes = numbers * xs.kind().elt_size_in_bytes() as f64;
        let operations = 2.0 * out.numel() as f64 * terms as f64;
        self.all.work.set(self.all.work.get().plus(Work { operations, bytes }, 1.0));
    }

    pub(crate) fn buffer(&self, id: BufferId) -> &Tensor {
        &self.all.buffer_views[id.0]
    }

    /// A batch norm with its running statistics as `x · scale + shift`, `[C]` each; all of them are
    /// computed at once.
    pub(crate) fn affine(&self, id: NormId) -> (Tensor, Tensor) {
        let [scale, shift] = self.affine.get_or_init(|| self.all.affine());
        let channels = |norm: &NormSpec| self.all.params[norm.params[0].0].numel();
        let start = self.all.norms[..id.0].iter().map(channels).sum();
        let length = channels(&self.all.norms[id.0]);
        (scale.narrow(0, start, length), shift.narrow(0, start, length))
    }

    /// Names what the model has computed on the way to its logits, so that a loss may ask for it:
    /// [`Loss::features`](crate::loss::Loss::features). `penultimate` is the input `[N, D]` of the
    /// last linear layer. Where no loss asks, it does nothing.
    pub fn feature(&self, name: &str, value: &Tensor) {
        if let Some(features) = self.features
            && let Some(kept) = features.borrow_mut().as_mut()
        {
            kept.insert(name.to_string(), value.shallow_clone());
        }
    }

    /// The tensor that a given parameter is in this pass: differentiable, or frozen.
    pub fn parameter(&self, GivenParameter(id): GivenParameter) -> &Tensor {
        self.param(id)
    }

    /// The tensor that a given buffer is in every pass; a pass may change it in place.
    pub fn given_buffer(&self, GivenBuffer(id): GivenBuffer) -> &Tensor {
        self.buffer(id)
    }

    /// A number for generators with a state, such as libtorch's own: another one at each call and
    /// for each batch and pass, the same whenever that is run again. `None` where nothing is
    /// random. It reads the device, so a step that asks cannot be captured.
    pub fn seed(&self) -> Option<i64> {
        let n = self.next_draw()?;
        self.noise.map(|noise| noise.seed(&format!("seed.{}.{n}", self.number)))
    }

    /// The ranks whose images batch norm sees together, if it does.
    pub(crate) fn sync(&self) -> Option<World> {
        self.all.sync.then_some(self.all.world)
    }

    /// The mode this pass runs in.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The number of a draw, if anything is random.
    fn next_draw(&self) -> Option<u32> {
        self.noise?;
        self.mark_random();
        Some(self.draws.replace(self.draws.get() + 1))
    }

    /// Numbers `[N, …row]` uniform in [0, 1), another set at each call and in each pass, keyed by
    /// image; for dropout, and for networks that are random when they are evaluated. `None` where
    /// the pass is given no random numbers.
    pub fn draw(&self, row: &[i64], kind: Kind) -> Option<Tensor> {
        let n = self.next_draw()?;
        // bf16 cannot hold the draw's 24 bits.
        let kind = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        self.noise.map(|noise| noise.uniform(&format!("dropout.{}.{n}", self.number), row, kind))
    }
}
