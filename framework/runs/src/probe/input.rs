//! The input of a probe, and the checks of it.

use super::{Kept, LEARNER, kept};
use foil::engine::{Further, Step};
use foil::nn::Parameters;
use foil::registry::DataFacts;
use foil::tensors::{self, Named};
use foil::{Error, Result};
use foil_config::did_you_mean;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tch::{Kind, Tensor};

/// Weights and a batch that fit a step, in its precision and on its device.
#[derive(Debug)]
pub struct Inputs {
    /// The model's parameters and buffers.
    pub(super) model: Named,
    /// Those of the attack's own network.
    pub(super) learner: Named,
    /// Those of each network besides the model, by its name.
    pub(super) networks: BTreeMap<String, Named>,
    /// What attack and loss keep between steps, by name: `[N, …]`, the rows of the batch's images,
    /// where there is a row for each training image, and whole otherwise.
    pub(super) state: Named,
    /// Images `[N, C, H, W]`.
    pub(super) x: Tensor,
    /// Labels `[N]`, int64.
    pub(super) y: Tensor,
    /// Indices in the training set `[N]`, int64.
    pub(super) index: Tensor,
    /// Attacked images `[N, C, H, W]`.
    pub(super) x_adv: Option<Tensor>,
    /// Draws by name, including the starting point as `start`.
    pub(super) draws: Named,
}

impl Inputs {
    /// Reads both files for `step` on such data; `docs/probe.md` describes them.
    ///
    /// # Errors
    /// All problems with the files: names, shapes, types, numbers out of range or not finite.
    pub fn read(step: &Step, data: &DataFacts, weights: &Path, batch: &Path) -> Result<Self> {
        let (mut w, mut b) = (Sheet::read(weights)?, Sheet::read(batch)?);

        // A batch without usable images still has a size for the other checks, if its labels are
        // usable.
        let length = |name: &str| b.tensors.get(name).and_then(|t| t.size().first().copied());
        let n = length("x").or(length("y")).unwrap_or(1);
        let image = [n, data.channels, data.height, data.width];
        let x = b.floats("x", &image, Must::Be);
        let y = b.integers("y", &[n], Must::Be);
        let index = b.integers("index", &[n], Must::MayBe);
        let x_adv = b.floats("x_adv", &image, Must::MayBe);
        let start = b.floats("start", &image, Must::MayBe);
        if n == 0 {
            b.wrong("x", "holds no image");
        }
        if let Some(x) = x.as_ref().filter(|x| x.numel() > 0) {
            let (low, high) = (x.min().double_value(&[]), x.max().double_value(&[]));
            if low < 0.0 || high > 1.0 {
                b.wrong("x", format!("reaches from {low:.3} to {high:.3}; images are in [0, 1]"));
            }
        }
        b.in_range("y", y.as_ref(), data.classes, "classes");
        b.in_range("index", index.as_ref(), data.train, "training images");
        let places = index.as_ref().and_then(|index| Vec::<i64>::try_from(index).ok()).unwrap_or_default();
        if places.iter().collect::<BTreeSet<_>>().len() < places.len() {
            b.wrong("index", "holds an image twice");
        }
        let mut draws: Named = start.map(|start| ("start".to_string(), start)).into_iter().collect();
        for name in b.tensors.keys().cloned().collect::<Vec<_>>() {
            if let Some(draw) = name.strip_prefix("noise.").filter(|draw| *draw != "start") {
                draws.extend(b.draw(&name, n).map(|values| (draw.to_string(), values)));
            }
        }
        b.rest_is_unknown(&["x", "y", "index", "start", "x_adv", "noise.NAME"]);

        let mut known = Vec::new();
        let model = w.network("", step.model.network().params(), &mut known);
        let learner = step.attack.learner();
        let learner = learner.map(|learner| w.network(LEARNER, learner.network().params(), &mut known));
        let of_network = |(name, further): (&str, &Further)| {
            let values = w.network(&format!("{name}."), further.network().params(), &mut known);
            (name.to_string(), values)
        };
        let networks = step.networks.iter().map(of_network).collect();
        let mut state = Named::new();
        for Kept { name, all, per_image } in kept(step) {
            let mut shape = all.size();
            if per_image {
                shape[0] = n;
            }
            let kinds = [Kind::Float, Kind::Double, Kind::Int64];
            state.extend(w.take(&name, &shape, &kinds, Must::MayBe).map(|values| (name.clone(), values)));
            known.push(name);
        }
        w.rest_is_unknown(&known.iter().map(String::as_str).collect::<Vec<_>>());

        let wrong: Vec<String> = w.found.into_iter().chain(b.found).collect();
        let (Some(x), Some(y), true) = (x, y, wrong.is_empty()) else {
            return Err(Error::new(format!("these files do not fit the step\n  {}", wrong.join("\n  ")))
                .help("docs/probe.md describes them; `model`, `attack` and `data` are the config's"));
        };
        let params = step.model.network().params();
        let ours = |t: Tensor| {
            let kind = if t.is_floating_point() { params.kind() } else { t.kind() };
            t.to_kind(kind).to_device(params.device())
        };
        let index = index.unwrap_or_else(|| Tensor::arange(n, (Kind::Int64, params.device())));
        let all_ours = |named: Named| named.into_iter().map(|(name, t)| (name, ours(t))).collect();
        Ok(Self {
            model,
            learner: learner.unwrap_or_default(),
            networks,
            state: all_ours(state),
            x: ours(x),
            y: ours(y),
            index: ours(index),
            x_adv: x_adv.map(ours),
            draws: all_ours(draws),
        })
    }
}

/// Whether a tensor may be left out.
#[derive(Clone, Copy, PartialEq)]
enum Must {
    Be,
    MayBe,
}

/// A file's tensors, each removed when it is checked, and the problems found.
struct Sheet<'a> {
    path: &'a Path,
    tensors: Named,
    found: Vec<String>,
}

impl<'a> Sheet<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        Ok(Self { path, tensors: tensors::read(path)?.0, found: Vec::new() })
    }

    fn wrong(&mut self, name: &str, what: impl std::fmt::Display) {
        self.found.push(format!("{}: `{name}` {what}", self.path.display()));
    }

    /// Takes out a tensor of this shape and of one of these types.
    fn take(&mut self, name: &str, shape: &[i64], kinds: &[Kind], must: Must) -> Option<Tensor> {
        let Some(tensor) = self.tensors.remove(name) else {
            if must == Must::Be {
                self.wrong(name, format!("is missing; it is {shape:?}"));
            }
            return None;
        };
        if tensor.size() != shape {
            self.wrong(name, format!("is {:?}; it must be {shape:?}", tensor.size()));
            return None;
        }
        self.typed(name, tensor, kinds)
    }

    fn typed(&mut self, name: &str, tensor: Tensor, kinds: &[Kind]) -> Option<Tensor> {
        if !kinds.contains(&tensor.kind()) {
            let allowed: Vec<&str> = kinds.iter().copied().map(dtype).collect();
            self.wrong(name, format!("is {}; it must be {}", dtype(tensor.kind()), allowed.join(" or ")));
            return None;
        }
        let bad = tensor.isfinite().logical_not().nonzero();
        if bad.size()[0] > 0 {
            let first = Vec::<i64>::try_from(bad.get(0)).unwrap_or_default();
            self.wrong(name, format!("holds {} numbers that are not finite, the first at {first:?}", bad.size()[0]));
            return None;
        }
        Some(tensor)
    }

    fn floats(&mut self, name: &str, shape: &[i64], must: Must) -> Option<Tensor> {
        self.take(name, shape, &[Kind::Float, Kind::Double], must)
    }

    fn integers(&mut self, name: &str, shape: &[i64], must: Must) -> Option<Tensor> {
        self.take(name, shape, &[Kind::Int64], must)
    }

    /// Takes out a draw, of which only the number of rows is known before the step.
    fn draw(&mut self, name: &str, n: i64) -> Option<Tensor> {
        let tensor = self.tensors.remove(name)?;
        if tensor.size().first() != Some(&n) {
            self.wrong(name, format!("is {:?}; it must have {n} rows, one per image", tensor.size()));
            return None;
        }
        self.typed(name, tensor, &[Kind::Float, Kind::Double, Kind::Int64])
    }

    /// Takes out a network's parameters and buffers, and adds their names to `known`.
    fn network(&mut self, prefix: &str, params: &Parameters, known: &mut Vec<String>) -> Named {
        let mut named = Named::new();
        for (name, own) in params.state_dict() {
            let full = format!("{prefix}{name}");
            // PyTorch's counter of batches; nothing computes with it.
            let counter = own.kind() == Kind::Int64;
            let found = if counter {
                self.integers(&full, &own.size(), Must::MayBe)
            } else {
                self.floats(&full, &own.size(), Must::Be)
            };
            named.extend(found.map(|tensor| (name, tensor)));
            known.push(full);
        }
        named
    }

    fn in_range(&mut self, name: &str, values: Option<&Tensor>, below: i64, what: &str) {
        let Some(values) = values.filter(|values| values.numel() > 0) else { return };
        for value in [values.min().int64_value(&[]), values.max().int64_value(&[])] {
            if !(0..below).contains(&value) {
                self.wrong(name, format!("holds {value}; the data have {below} {what}, 0 to {}", below - 1));
            }
        }
    }

    fn rest_is_unknown(&mut self, known: &[&str]) {
        for name in std::mem::take(&mut self.tensors).into_keys() {
            let help = match did_you_mean(&name, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if name == "noise.start" => "write `start`, the point where the attack starts".to_string(),
                None if known.len() <= 8 => format!("known: {}", known.join(", ")),
                None => "neither the model nor the attack has it".to_string(),
            };
            self.wrong(&name, format!("is unknown; {help}"));
        }
    }
}

/// PyTorch's name of a type.
fn dtype(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "float32",
        Kind::Double => "float64",
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Int64 => "int64",
        Kind::Int => "int32",
        Kind::Uint8 => "uint8",
        Kind::Bool => "bool",
        _ => "of another type",
    }
}
