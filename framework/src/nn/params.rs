//! Parameters and buffers of a network, each kind in one flat tensor.
//!
//! A model first declares what it needs with a [`Builder`]; then [`Parameters`] lays everything out: convolution and
//! linear weights first, then biases and norms, so that the optimiser, a checkpoint or an all-reduce touches one tensor.
//! Four-dimensional weights lie channels-last. The tensors handed to layers are views of the flat ones.

mod pass;

pub use pass::Pass;

use super::noise::Noise;
use crate::distributed::World;
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// PyTorch's two modes: `Train` is the batch's statistics (moving the running ones) and dropout, `Eval` neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `model.train()`
    Train,
    /// `model.eval()`
    Eval,
}

/// How a tensor starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// Uniform in `±bound`.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// One number everywhere.
    Constant(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Weights of convolutions and linear layers.
    Weight,
    /// Their biases.
    Bias,
    /// What batch norm multiplies and adds, always in full precision.
    Norm,
}

#[derive(Debug, Clone)]
struct Spec {
    name: String,
    shape: Vec<i64>,
    init: Init,
    group: Group,
}

impl Spec {
    fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Where a parameter lies; only layers hold one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParamId(usize);

/// Where a running statistic lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BufferId(usize);

/// Which batch norm it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormId(usize);

/// A batch norm: its name, weight and bias, running mean and variance.
#[derive(Debug)]
struct NormSpec {
    name: String,
    params: [ParamId; 2],
    buffers: [BufferId; 2],
}

#[derive(Debug, Default)]
struct Declared {
    params: Vec<Spec>,
    buffers: Vec<Spec>,
    norms: Vec<NormSpec>,
    /// Values that parameters and buffers start with in place of their initialisation, by name.
    given: Vec<(String, Tensor)>,
    /// Tensors of other kinds, which stay where they are.
    kept: Vec<(String, Tensor)>,
}

/// A parameter or buffer that a model brings along with its numbers; see [`Builder::given`].
#[derive(Debug, Clone, Copy)]
pub enum Given {
    /// Trainable.
    Parameter(GivenParameter),
    /// A buffer.
    Buffer(GivenBuffer),
}

/// Which parameter.
#[derive(Debug, Clone, Copy)]
pub struct GivenParameter(ParamId);

/// Which buffer.
#[derive(Debug, Clone, Copy)]
pub struct GivenBuffer(BufferId);

/// Collects what a model declares; see the layers' constructors.
#[derive(Debug, Default)]
pub struct Builder {
    declared: RefCell<Declared>,
    prefix: RefCell<Vec<String>>,
}

impl Builder {
    /// Everything declared in `build` gets `name.` in front, as a submodule's parameters do in PyTorch.
    pub fn scope<T>(&self, name: impl ToString, build: impl FnOnce(&Builder) -> T) -> T {
        self.prefix.borrow_mut().push(name.to_string());
        let built = build(self);
        self.prefix.borrow_mut().pop();
        built
    }

    fn full_name(&self, layer: &str, tensor: &str) -> String {
        let mut parts = self.prefix.borrow().clone();
        parts.extend([layer, tensor].iter().filter(|part| !part.is_empty()).map(ToString::to_string));
        parts.join(".")
    }

    pub(crate) fn param(&self, layer: &str, tensor: &str, shape: &[i64], init: Init, group: Group) -> ParamId {
        let spec = Spec { name: self.full_name(layer, tensor), shape: shape.to_vec(), init, group };
        let params = &mut self.declared.borrow_mut().params;
        params.push(spec);
        ParamId(params.len() - 1)
    }

    pub(crate) fn buffer(&self, layer: &str, tensor: &str, size: i64, start: f64) -> BufferId {
        let name = self.full_name(layer, tensor);
        let buffers = &mut self.declared.borrow_mut().buffers;
        buffers.push(Spec { name, shape: vec![size], init: Init::Constant(start), group: Group::Norm });
        BufferId(buffers.len() - 1)
    }

    /// Notes a batch norm, whose `num_batches_tracked` PyTorch keeps.
    pub(crate) fn norm(&self, layer: &str, params: [ParamId; 2], buffers: [BufferId; 2]) -> NormId {
        let name = self.full_name(layer, "num_batches_tracked");
        let norms = &mut self.declared.borrow_mut().norms;
        norms.push(NormSpec { name, params, buffers });
        NormId(norms.len() - 1)
    }

    /// A parameter or buffer of floating point that starts as `values`, for models that come with their numbers.
    pub fn given(&self, name: &str, values: &Tensor, trains: bool) -> Given {
        let shape = values.size();
        self.declared.borrow_mut().given.push((self.full_name(name, ""), values.shallow_clone()));
        if trains {
            let group = if shape.len() > 1 { Group::Weight } else { Group::Bias };
            return Given::Parameter(GivenParameter(self.param(name, "", &shape, Init::Constant(0.0), group)));
        }
        let full = self.full_name(name, "");
        let buffers = &mut self.declared.borrow_mut().buffers;
        buffers.push(Spec { name: full, shape, init: Init::Constant(0.0), group: Group::Norm });
        Given::Buffer(GivenBuffer(BufferId(buffers.len() - 1)))
    }

    /// A buffer of any kind that stays where it is: the model changes it in place, checkpoints copy out of and into it.
    pub fn kept(&self, name: &str, tensor: &Tensor) {
        let name = self.full_name(name, "");
        self.declared.borrow_mut().kept.push((name, tensor.shallow_clone()));
    }

    /// The number of trainable values declared so far.
    pub fn count(&self) -> i64 {
        self.declared.borrow().params.iter().map(Spec::numel).sum()
    }

    /// Lays the declared tensors out on `device` as `kind`, and initialises them from `seed` if there is one.
    pub fn finish(self, seed: Option<u64>, kind: Kind, device: Device) -> Parameters {
        let Declared { params, buffers, norms, given, kept } = self.declared.into_inner();
        let mut layout: Vec<usize> = (0..params.len()).collect();
        layout.sort_by_key(|&i| params[i].group != Group::Weight);
        let flat = Tensor::empty([params.iter().map(Spec::numel).sum()], (kind, device));
        let stats = Tensor::empty([buffers.iter().map(Spec::numel).sum()], (kind, device));
        let tracked = Tensor::zeros([1], (Kind::Int64, device));
        let frozen = views(&flat, &params, &layout);
        let leaves = frozen.iter().map(|v| v.detach().set_requires_grad(true)).collect();
        let in_order: Vec<usize> = (0..buffers.len()).collect();
        let buffer_views = views(&stats, &buffers, &in_order);
        let (params_at, buffers_at) = (offsets(&params, &layout), offsets(&buffers, &in_order));
        let positions = |starts: &mut dyn Iterator<Item = (i64, i64)>| {
            let all: Vec<i64> = starts.flat_map(|(start, length)| start..start + length).collect();
            Tensor::from_slice(&all).to_device(device)
        };
        let of_params = |k: usize| {
            positions(&mut norms.iter().map(|norm| norm.params[k].0).map(|i| (params_at[i], params[i].numel())))
        };
        let of_buffers = |k: usize| {
            positions(&mut norms.iter().map(|norm| norm.buffers[k].0).map(|i| (buffers_at[i], buffers[i].numel())))
        };
        let norm_positions = [of_params(0), of_params(1), of_buffers(0), of_buffers(1)];
        let built = Parameters {
            params,
            buffers,
            norms,
            kept,
            layout,
            flat,
            stats,
            tracked,
            frozen,
            leaves,
            buffer_views,
            half: None,
            work: std::cell::Cell::default(),
            norm_positions,
            set: seed.is_some(),
            world: World::alone(),
            sync: false,
        };
        if let Some(seed) = seed {
            built.initialise(seed);
            let own: BTreeMap<String, Tensor> = built.state_dict().into_iter().collect();
            tch::no_grad(|| {
                for (name, values) in &given {
                    if let Some(own) = own.get(name) {
                        own.shallow_clone().copy_(values);
                    }
                }
            });
        }
        built
    }
}

/// Views into `flat` in the specs' own order; `layout` is the order in memory.
fn views(flat: &Tensor, specs: &[Spec], layout: &[usize]) -> Vec<Tensor> {
    let mut views: Vec<Option<Tensor>> = specs.iter().map(|_| None).collect();
    let mut offset = 0;
    for &i in layout {
        let shape = &specs[i].shape;
        let piece = flat.narrow(0, offset, specs[i].numel());
        offset += specs[i].numel();
        views[i] = Some(match shape.as_slice() {
            &[o, c, h, w] => piece.view([o, h, w, c]).permute([0, 3, 1, 2]),
            shape => piece.view(shape),
        });
    }
    views.into_iter().flatten().collect()
}

/// Where each spec begins in a flat tensor laid out in this order.
fn offsets(specs: &[Spec], layout: &[usize]) -> Vec<i64> {
    let mut offsets = vec![0; specs.len()];
    let mut next = 0;
    for &i in layout {
        offsets[i] = next;
        next += specs[i].numel();
    }
    offsets
}

/// A tensor's values in the flat buffer's order.
fn flattened(tensor: &Tensor) -> Tensor {
    if tensor.dim() == 4 { tensor.permute([0, 2, 3, 1]).reshape([-1]) } else { tensor.reshape([-1]) }
}

/// A network's numbers.
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
    leaves: Vec<Tensor>,
    buffer_views: Vec<Tensor>,
    half: Option<Half>,
    /// Multiplications and the bytes of their operands and results, in all forward passes of convolutions and linear layers so far.
    work: std::cell::Cell<Work>,
    /// Where the batch norms' weights and biases lie in `flat`, and their means and variances in `stats`, norm by norm.
    norm_positions: [Tensor; 4],
    set: bool,
    world: World,
    sync: bool,
}

/// What convolutions and linear layers ask of a device.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Floating-point operations: a multiplication with its addition is two.
    pub operations: f64,
    /// Bytes of inputs, weights and outputs, each moved once.
    pub bytes: f64,
}

impl Work {
    /// This work and `times` as much as `other`.
    #[must_use]
    pub fn plus(self, other: Self, times: f64) -> Self {
        Self { operations: self.operations + other.operations * times, bytes: self.bytes + other.bytes * times }
    }

    /// What was done since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.plus(earlier, -1.0)
    }
}

/// A copy of the numbers in bf16, which passes of half precision run with. Its views of norms are those of the full numbers.
#[derive(Debug)]
struct Half {
    flat: Tensor,
    frozen: Vec<Tensor>,
    leaves: Vec<Tensor>,
}

/// The gradient of every parameter, flat.
#[derive(Debug)]
pub struct Gradients(pub Tensor);

impl Parameters {
    /// Whether the numbers were initialised. Those of a dry build never are, and then nothing of their size need be allocated.
    pub(crate) fn is_set(&self) -> bool {
        self.set
    }

    /// Makes room for bf16; [`Parameters::refresh_half`] fills it.
    pub(crate) fn add_half(&mut self) {
        if !self.set {
            return;
        }
        let flat = self.flat.empty_like().to_kind(Kind::BFloat16);
        let frozen: Vec<Tensor> = views(&flat, &self.params, &self.layout)
            .into_iter()
            .enumerate()
            .map(|(i, view)| if self.params[i].group == Group::Norm { self.frozen[i].shallow_clone() } else { view })
            .collect();
        let leaf = |(i, view): (usize, &Tensor)| match self.params[i].group {
            Group::Norm => self.leaves[i].shallow_clone(),
            Group::Weight | Group::Bias => view.detach().set_requires_grad(true),
        };
        let leaves = frozen.iter().enumerate().map(leaf).collect();
        self.half = Some(Half { flat, frozen, leaves });
        self.refresh_half();
    }

    /// Copies the numbers into those of bf16, if there are any: after whatever changed them, and before the passes that are to see it.
    pub(crate) fn refresh_half(&self) {
        if let Some(half) = &self.half {
            tch::no_grad(|| half.flat.shallow_clone().copy_(&self.flat));
        }
    }

    /// Makes them one replica of those that all ranks of `world` train; with `sync` batch norm sees the images of all ranks.
    #[must_use]
    pub(crate) fn across(self, world: World, sync: bool) -> Self {
        Self { world, sync: sync && world.is_joined(), ..self }
    }

    /// The ranks that train these numbers together.
    pub(crate) fn world(&self) -> World {
        self.world
    }

    /// Whether batch norm sees the images of all ranks.
    pub(crate) fn is_sync(&self) -> bool {
        self.sync
    }

    /// Where each rank's batch norm saw its own images: sets the running statistics to the ranks' mean, weighted by their shares of
    /// the batch. The running mean is then that of the whole batch.
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

    /// The differentiable views, for `run_backward`.
    pub fn leaves(&self) -> &[Tensor] {
        self.half.as_ref().map_or(&self.leaves, |half| &half.leaves)
    }

    /// d`loss`/d(every parameter), flat. A parameter the loss does not reach has gradient zero.
    pub fn gradients(&self, loss: &Tensor) -> Gradients {
        let found = Tensor::run_backward(&[loss], self.leaves(), false, false);
        let whole = |gradient: &Tensor| flattened(&gradient.to_kind(self.kind()));
        let pieces: Vec<Tensor> = self
            .layout
            .iter()
            .map(|&i| if found[i].defined() { whole(&found[i]) } else { flattened(&self.frozen[i].zeros_like()) })
            .collect();
        Gradients(Tensor::cat(&pieces, 0))
    }

    /// A gradient's pieces under the parameters' names, in declaration order.
    pub fn named_gradients(&self, gradients: &Gradients) -> Vec<(String, Tensor)> {
        let pieces = views(&gradients.0, &self.params, &self.layout);
        self.params.iter().map(|spec| spec.name.clone()).zip(pieces).collect()
    }

    /// Parameters and buffers under PyTorch's `state_dict` names and in its shapes; they share the network's memory,
    /// `num_batches_tracked` apart.
    pub fn state_dict(&self) -> Vec<(String, Tensor)> {
        let named = |specs: &[Spec], tensors: &[Tensor]| {
            specs.iter().zip(tensors).map(|(s, t)| (s.name.clone(), t.shallow_clone())).collect::<Vec<_>>()
        };
        let mut all = named(&self.params, &self.frozen);
        all.extend(named(&self.buffers, &self.buffer_views));
        all.extend(self.norms.iter().map(|norm| (norm.name.clone(), self.tracked.view([] as [i64; 0]))));
        all.extend(self.kept.iter().map(|(name, t)| (name.clone(), t.shallow_clone())));
        all
    }

    /// Names of the trainable parameters, in declaration order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|spec| spec.name.as_str())
    }

    /// The flat tensors themselves, which are all of the network's state: for checkpoints and comparisons.
    pub fn storage(&self) -> Vec<(String, Tensor)> {
        let flat = [("flat", &self.flat), ("stats", &self.stats), ("tracked", &self.tracked)];
        let flat = flat.into_iter().map(|(name, t)| (name.to_string(), t.shallow_clone()));
        flat.chain(self.kept.iter().map(|(name, t)| (format!("kept.{name}"), t.shallow_clone()))).collect()
    }

    /// Copies `tensors` (under `state_dict` names) in.
    ///
    /// # Errors
    /// Names every tensor that is missing, unknown or of another shape, and changes nothing then.
    /// `num_batches_tracked` may be missing.
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let own: BTreeMap<String, Tensor> = self.state_dict().into_iter().collect();
        let mut wrong = Vec::new();
        for (name, mine) in &own {
            match tensors.get(name) {
                None if name.ends_with("num_batches_tracked") => {}
                None => wrong.push(format!("`{name}` {:?} is missing", mine.size())),
                Some(t) if t.size() != mine.size() => {
                    wrong.push(format!("`{name}` is {:?}, the model's is {:?}", t.size(), mine.size()));
                }
                Some(_) => {}
            }
        }
        wrong.extend(
            tensors
                .keys()
                .filter(|name| !own.contains_key(*name))
                .map(|name| format!("`{name}` is unknown to the model")),
        );
        if !wrong.is_empty() {
            let more = wrong.len().saturating_sub(8);
            let mut shown = wrong[..wrong.len() - more].join("\n  ");
            if more > 0 {
                shown += &format!("\n  and {more} more");
            }
            return Err(Error::new(format!("these weights do not fit the model\n  {shown}"))
                .help("is it the same `model:` as the one they were saved from?"));
        }
        tch::no_grad(|| {
            for (name, mut mine) in own {
                if let Some(t) = tensors.get(&name) {
                    mine.copy_(t);
                }
            }
        });
        self.refresh_half();
        Ok(())
    }

    /// What all forward passes so far asked of the device.
    pub(crate) fn work(&self) -> Work {
        self.work.get()
    }

    /// Counts a batch for the norms, if the pass moves their statistics.
    pub(crate) fn track(&self, mode: Mode) {
        if mode == Mode::Train && !self.norms.is_empty() {
            drop(self.tracked.shallow_clone().g_add_scalar_(1));
        }
    }

    /// Every batch norm as an affine map: factors and summands, norm by norm.
    fn affine(&self) -> [Tensor; 2] {
        let [weight, bias, mean, var] = &self.norm_positions;
        let of = |flat: &Tensor, at: &Tensor| flat.index_select(0, at);
        let scale = of(&self.flat, weight) * (of(&self.stats, var) + super::layers::EPS).rsqrt();
        let shift = of(&self.flat, bias) - of(&self.stats, mean) * &scale;
        [scale, shift]
    }
}
