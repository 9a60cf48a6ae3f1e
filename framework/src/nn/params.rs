//! Parameters and buffers of a network, each kind in one flat tensor.
//!
//! A model first declares what it needs with a [`Builder`]; then [`Parameters`] lays everything
//! out: convolution and linear weights first, then biases, then norms, so that the optimiser, a
//! checkpoint or an all-reduce touches one tensor. Four-dimensional weights lie channels-last. The
//! tensors handed to layers are views of the flat ones.

mod bf16;
mod declare;
mod grad_views;
mod layout;
mod pass;
mod state;
mod work;

pub(crate) use declare::{BufferId, Init, NormId, ParamId};
pub use declare::{Builder, Given, GivenBuffer, GivenParameter, Group};
pub use layout::Span;
pub(crate) use pass::Features;
pub use pass::Pass;
pub use work::Work;

use super::kernels::gather_grads;
use super::noise::Noise;
use crate::distributed::World;
use crate::{Error, Result};
use bf16::Bf16Copy;
use declare::{Declared, NormSpec, Spec};
use foil_macros::settings;
use grad_views::GradViews;
use layout::{positions, views};
use std::cell::Cell;
use tch::{Device, Kind, Tensor};

/// PyTorch's two modes, `model.train()` and `model.eval()`, and one between them.
#[settings]
#[derive(Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm takes the batch's statistics, which move the running ones; dropout drops.
    Train,
    /// Batch norm takes the running statistics; nothing is dropped.
    Eval,
    /// As in `train`, but the running statistics stay as they are: PyTorch's train mode with
    /// `track_running_stats` off.
    Still,
}

/// The numbers of batch norm that are not learned.
#[settings]
#[derive(Copy, PartialEq)]
pub struct NormSettings {
    /// The weight of a batch in the running statistics; 0.1 in PyTorch.
    #[set(default = 0.1, above = 0.0, range = ..=1.0)]
    pub momentum: f64,
    /// What is added to a variance; 1e-5 in PyTorch.
    #[set(default = 1e-5, above = 0.0)]
    pub eps: f64,
}

/// A network's parameters and buffers.
#[derive(Debug)]
pub struct Parameters {
    params: Vec<Spec>,
    buffers: Vec<Spec>,
    norms: Vec<NormSpec>,
    kept: Vec<(String, Tensor)>,
    layout: Vec<usize>,
    flat: Tensor,
    stats: Tensor,
    tracked: Tensor,
    frozen: Vec<Tensor>,
    /// What differentiable passes run with.
    grad_views: GradViews,
    buffer_views: Vec<Tensor>,
    /// What passes in bf16 run with.
    bf16: Option<Bf16Copy>,
    /// Multiplications and the bytes of their operands and results, in all forward passes of
    /// convolutions and linear layers so far.
    work: Cell<Work>,
    /// Whether a pass was random, as one with dropout is.
    was_random: Cell<bool>,
    /// Where the batch norms' weights and biases lie in `flat`, and their means and variances in
    /// `stats`, norm by norm.
    norm_positions: [Tensor; 4],
    is_initialised: bool,
    /// Names of the numbers that the model brought along.
    given: Vec<String>,
    world: World,
    sync: bool,
    norm_settings: NormSettings,
}

/// The gradient of every parameter, flat.
#[derive(Debug)]
pub struct Gradients(pub Tensor);

impl Parameters {
    /// Lays the declared tensors out on `device` as `kind`, and initialises them from `seed` if
    /// there is one.
    fn new(declared: Declared, seed: Option<u64>, kind: Kind, device: Device) -> Self {
        let Declared { params, buffers, norms, given, kept } = declared;
        let mut layout: Vec<usize> = (0..params.len()).collect();
        layout.sort_by_key(|&i| params[i].group);
        let in_order: Vec<usize> = (0..buffers.len()).collect();
        let flat = Tensor::empty([params.iter().map(Spec::numel).sum()], (kind, device));
        let stats = Tensor::empty([buffers.iter().map(Spec::numel).sum()], (kind, device));
        let frozen = views(&flat, &params, &layout);
        let of_params = |k: usize| positions(&params, &layout, norms.iter().map(|norm| norm.params[k].0));
        let of_buffers = |k: usize| positions(&buffers, &in_order, norms.iter().map(|norm| norm.buffers[k].0));
        let at = [of_params(0), of_params(1), of_buffers(0), of_buffers(1)];
        let built = Self {
            grad_views: GradViews::default(),
            buffer_views: views(&stats, &buffers, &in_order),
            norm_positions: at.map(|at| Tensor::from_slice(&at).to_device(device)),
            tracked: Tensor::zeros([1], (Kind::Int64, device)),
            params,
            buffers,
            norms,
            kept,
            layout,
            flat,
            stats,
            frozen,
            bf16: None,
            work: Cell::default(),
            was_random: Cell::default(),
            is_initialised: seed.is_some(),
            given: given.iter().map(|(name, _)| name.clone()).collect(),
            world: World::alone(),
            sync: false,
            norm_settings: NormSettings::default(),
        };
        if let Some(seed) = seed {
            built.initialise(seed);
            built.copy_in(given.iter().map(|(name, values)| (name, values)));
        }
        built
    }

    /// Whether the parameters were initialised. A dry build never does that, and then nothing of
    /// their size need be allocated.
    pub(crate) fn is_initialised(&self) -> bool {
        self.is_initialised
    }

    /// Makes them one replica of those that all ranks of `world` train; with `sync` batch norm sees
    /// the images of all ranks.
    #[must_use]
    pub(crate) fn across(self, world: World, sync: bool) -> Self {
        Self { world, sync: sync && world.is_joined(), ..self }
    }

    /// Sets batch norm's momentum and eps.
    #[must_use]
    pub(crate) fn with_norms(self, norm_settings: NormSettings) -> Self {
        Self { norm_settings, ..self }
    }

    /// Batch norm's momentum and eps.
    pub(crate) fn norm_settings(&self) -> NormSettings {
        self.norm_settings
    }

    /// Where each parameter lies in [`Parameters::flat`], in that order: weights, biases, norms.
    pub fn spans(&self) -> Vec<Span> {
        layout::spans(&self.params, &self.layout)
    }

    /// The ranks that train these numbers together.
    pub(crate) fn world(&self) -> World {
        self.world
    }

    /// Whether batch norm sees the images of all ranks.
    pub(crate) fn is_sync(&self) -> bool {
        self.sync
    }

    /// Where each rank's batch norm saw its own images: sets the running statistics to the ranks'
    /// mean, weighted by their shares of the batch. The running mean is then that of the whole
    /// batch.
    ///
    /// # Errors
    /// When a rank is lost.
    pub(crate) fn average_statistics(&self) -> Result<()> {
        if !self.world.is_joined() || self.sync || self.buffers.is_empty() {
            return Ok(());
        }
        let mut stats = self.stats.shallow_clone();
        // A rank without a share may hold what is not finite: nothing times it is not nothing.
        let _ = if self.world.counts() { stats.g_mul_scalar_(self.world.weight()) } else { stats.zero_() };
        self.world.sum(&stats)
    }

    fn initialise(&self, seed: u64) {
        tch::no_grad(|| {
            for (spec, view) in self.params.iter().zip(&self.frozen) {
                let mut view = view.shallow_clone();
                let (rows, row) = spec.shape.split_first().unwrap_or((&1, &[]));
                let noise = Noise::seeded(&[seed, super::name_key(&spec.name)], *rows, view.device());
                match spec.init {
                    Init::Uniform(bound) => {
                        view.copy_(&((noise.uniform("init", row, view.kind()) * 2.0 - 1.0) * bound))
                    }
                    Init::Normal(std) => view.copy_(&(noise.normal("init", row, view.kind()) * std)),
                    Init::Constant(value) => drop(view.fill_(value)),
                }
            }
            for (spec, view) in self.buffers.iter().zip(&self.buffer_views) {
                if let Init::Constant(value) = spec.init {
                    drop(view.shallow_clone().fill_(value));
                }
            }
        });
    }

    /// All trainable values, `[P]`; convolution and linear weights first.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Batch norm's running statistics and the model's own buffers, `[S]`.
    pub(crate) fn stats(&self) -> &Tensor {
        &self.stats
    }

    /// Whether there is a batch norm.
    pub(crate) fn has_norms(&self) -> bool {
        !self.norms.is_empty()
    }

    /// Counts batches as `other` does, and takes over its buffers of other kinds.
    pub(crate) fn count_as(&self, other: &Self) {
        tch::no_grad(|| self.tracked.shallow_clone().copy_(&other.tracked));
        for ((_, own), (_, theirs)) in self.kept.iter().zip(&other.kept) {
            tch::no_grad(|| own.shallow_clone().copy_(theirs));
        }
    }

    /// Sets batch norm's running statistics to mean 0 and variance 1, seen no batch.
    pub(crate) fn reset_statistics(&self) {
        for norm in &self.norms {
            for (BufferId(at), start) in norm.buffers.iter().zip([0.0, 1.0]) {
                let _ = self.buffer_views[*at].shallow_clone().fill_(start);
            }
        }
        let _ = self.tracked.shallow_clone().zero_();
    }

    /// The number of trainable values.
    pub fn count(&self) -> i64 {
        self.flat.numel() as i64
    }

    /// The numbers' precision.
    pub fn kind(&self) -> Kind {
        self.flat.kind()
    }

    /// Where the numbers are.
    pub fn device(&self) -> Device {
        self.flat.device()
    }

    /// The differentiable views that the passes since the last call ran with, pass by pass.
    pub(super) fn drain_grad_views(&self) -> Vec<&Tensor> {
        self.grad_views.drain()
    }

    /// Leaves the differentiable passes so far out of the next gradient: those of a step that
    /// failed, or of a capture.
    pub(crate) fn forget_passes(&self) {
        drop(self.grad_views.drain());
    }

    /// d`loss`/d(every parameter), flat, through the differentiable passes since the last time. A
    /// parameter the loss does not reach has gradient zero.
    ///
    /// # Errors
    /// When `loss` is not a differentiable scalar, or reaches no parameter at all.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients> {
        Ok(Self::gradients_of(&[self], None, loss)?.0.remove(0))
    }

    /// The same for several networks, of which only the first must be reached, and for `images`, in
    /// one backward pass.
    pub(crate) fn gradients_of(
        all: &[&Self],
        images: Option<&Tensor>,
        loss: &Tensor,
    ) -> Result<(Vec<Gradients>, Option<Tensor>)> {
        let inputs: Vec<Vec<&Tensor>> = all.iter().map(|params| params.drain_grad_views()).collect();
        let mut found = super::backward(loss, &inputs.iter().flatten().copied().chain(images).collect::<Vec<_>>())?;
        let by_images = images.and_then(|_| found.pop()).flatten();
        if found.iter().take(inputs.first().map_or(0, Vec::len)).all(Option::is_none) {
            return Err(Error::new("the loss does not depend on the network's parameters").help(super::KEEP_THE_GRAPH));
        }
        let gathered = all.iter().zip(&inputs).map(|(params, inputs)| {
            let rest = found.split_off(inputs.len());
            params.gathered(&std::mem::replace(&mut found, rest))
        });
        Ok((gathered.collect(), by_images))
    }

    /// The gradients of the passes' views, pass by pass, added up in one flat tensor.
    fn gathered(&self, found: &[Option<Tensor>]) -> Gradients {
        let flat = self.flat.empty_like();
        let pieces = views(&flat, &self.params, &self.layout).into_iter().enumerate().map(|(i, piece)| {
            let of_passes = found.iter().skip(i).step_by(self.params.len());
            (piece, of_passes.flatten().map(Tensor::shallow_clone).collect())
        });
        let pieces: Vec<(Tensor, Vec<Tensor>)> = pieces.collect();
        if gather_grads(&pieces).is_none() {
            for (mut piece, gradients) in pieces {
                match gradients.split_first() {
                    Some((first, _)) => piece.copy_(first),
                    None => drop(piece.zero_()),
                }
                for gradient in gradients.iter().skip(1) {
                    piece += gradient;
                }
            }
        }
        Gradients(flat)
    }

    /// A gradient's pieces under the parameters' names, in declaration order.
    pub fn named_gradients(&self, gradients: &Gradients) -> Vec<(String, Tensor)> {
        let pieces = views(&gradients.0, &self.params, &self.layout);
        self.params.iter().map(|spec| spec.name.clone()).zip(pieces).collect()
    }

    /// Names of the trainable parameters, in declaration order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|spec| spec.name.as_str())
    }

    /// What all forward passes so far asked of the device.
    pub(crate) fn work(&self) -> Work {
        self.work.get()
    }

    /// Whether passes over the same images find the same and leave nothing else behind than batch
    /// norm's statistics, as far as those that ran have shown: none was random, and no buffer is
    /// the model's own.
    pub(crate) fn is_deterministic(&self) -> bool {
        !self.was_random.get() && !self.keeps_state()
    }

    /// Whether it has buffers besides batch norm's statistics, which its passes may change.
    pub fn keeps_state(&self) -> bool {
        self.buffers.len() > 2 * self.norms.len() || !self.kept.is_empty()
    }

    /// Names of the numbers that the model brought along.
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// Counts a batch for the norms, `times`, if the pass moves their statistics; one of which no
    /// image is `selected` does not.
    pub(crate) fn track(&self, mode: Mode, times: u32, selected: Option<&Tensor>) {
        if mode != Mode::Train || self.norms.is_empty() {
            return;
        }
        let (mut tracked, times) = (self.tracked.shallow_clone(), i64::from(times));
        match selected {
            // Ranks that train together count alike, whichever of them has a selected image.
            Some(selected) if !self.world.is_joined() => {
                drop(tracked.g_add_(&(selected.any().to_kind(Kind::Int64) * times)))
            }
            _ => drop(tracked.g_add_scalar_(times)),
        }
    }

    /// Every batch norm as an affine map: factors and summands, norm by norm.
    fn affine(&self) -> [Tensor; 2] {
        super::kernels::fold_norms(&self.flat, &self.stats, self.norm_positions.each_ref(), self.norm_settings.eps)
    }
}
