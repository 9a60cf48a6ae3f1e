//! What a model declares before its numbers exist: names, shapes, how they start.

use super::Parameters;
use crate::Error;
use crate::raise;
use crate::tensors::MOST_TENSORS;
use foil_macros::settings;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use tch::{Device, Kind, Tensor};

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

/// What a parameter is for.
#[settings]
#[derive(Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Weights of convolutions and linear layers.
    Weight,
    /// Their biases.
    Bias,
    /// What batch norm multiplies and adds, always in full precision.
    Norm,
}

/// A tensor that is declared.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub name: String,
    pub shape: Vec<i64>,
    pub init: Init,
    pub group: Group,
}

impl Spec {
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Where a parameter lies; only layers hold one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParamId(pub(super) usize);

/// Where a running statistic lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BufferId(pub(super) usize);

/// Which batch norm it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormId(pub(super) usize);

/// A batch norm: its name, weight and bias, running mean and variance.
#[derive(Debug)]
pub(super) struct NormSpec {
    pub name: String,
    pub params: [ParamId; 2],
    pub buffers: [BufferId; 2],
}

/// All that a model declares.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub params: Vec<Spec>,
    pub buffers: Vec<Spec>,
    pub norms: Vec<NormSpec>,
    /// Values that parameters and buffers start with in place of their initialisation, by name.
    pub given: Vec<(String, Tensor)>,
    /// Tensors of other kinds, which stay where they are.
    pub kept: Vec<(String, Tensor)>,
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
pub struct GivenParameter(pub(in crate::nn) ParamId);

/// Which buffer.
#[derive(Debug, Clone, Copy)]
pub struct GivenBuffer(pub(super) BufferId);

/// What a network may have; the largest of this field have a thousandth of it.
const MOST_VALUES: i64 = 1 << 32;

/// Collects what a model declares; see the layers' constructors.
#[derive(Debug, Default)]
pub struct Builder {
    declared: RefCell<Declared>,
    values: Cell<i64>,
    /// Where each name was declared.
    places: RefCell<HashMap<String, &'static Location<'static>>>,
    prefix: RefCell<Vec<String>>,
}

impl Builder {
    /// Everything declared in `build` gets `name.` in front, as a submodule's parameters do in
    /// PyTorch.
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

    /// Refuses a name that another tensor has: a checkpoint could hold only one of them.
    #[track_caller]
    fn claim(&self, name: &str) {
        let here = Location::caller();
        if let Some(there) = self.places.borrow_mut().insert(name.to_string(), here) {
            let both = if there == here { format!("both at {here}") } else { format!("at {there} and at {here}") };
            raise(Err(Error::new(format!("it declares two tensors called `{name}`, {both}"))
                .help("give each layer its own name, or declare it in a scope: nn.scope(\"block1\", |nn| …)")))
        }
    }

    /// Counts a tensor, before memory for it is asked for.
    fn admit(&self, name: &str, shape: &[i64]) {
        let numel = shape.iter().try_fold(1i64, |n, &size| n.checked_mul(size).filter(|_| size >= 0));
        let all = numel.and_then(|n| self.values.get().checked_add(n)).filter(|all| *all <= MOST_VALUES);
        let tensors = self.declared.borrow().params.len() + self.declared.borrow().buffers.len();
        match all.filter(|_| tensors < MOST_TENSORS) {
            Some(all) => self.values.set(all),
            None => raise(Err(Error::new(format!(
                "with `{name}` {shape:?} it has more than {MOST_TENSORS} tensors or {MOST_VALUES} numbers"
            ))
            .help("choose a smaller depth or width"))),
        }
    }

    #[track_caller]
    pub(crate) fn param(&self, layer: &str, tensor: &str, shape: &[i64], init: Init, group: Group) -> ParamId {
        let spec = Spec { name: self.full_name(layer, tensor), shape: shape.to_vec(), init, group };
        self.claim(&spec.name);
        self.admit(&spec.name, shape);
        let params = &mut self.declared.borrow_mut().params;
        params.push(spec);
        ParamId(params.len() - 1)
    }

    #[track_caller]
    pub(crate) fn buffer(&self, layer: &str, tensor: &str, size: i64, start: f64) -> BufferId {
        let name = self.full_name(layer, tensor);
        self.claim(&name);
        self.admit(&name, &[size]);
        let buffers = &mut self.declared.borrow_mut().buffers;
        buffers.push(Spec { name, shape: vec![size], init: Init::Constant(start), group: Group::Norm });
        BufferId(buffers.len() - 1)
    }

    /// Notes a batch norm, whose `num_batches_tracked` PyTorch keeps.
    #[track_caller]
    pub(crate) fn norm(&self, layer: &str, params: [ParamId; 2], buffers: [BufferId; 2]) -> NormId {
        let name = self.full_name(layer, "num_batches_tracked");
        self.claim(&name);
        let norms = &mut self.declared.borrow_mut().norms;
        norms.push(NormSpec { name, params, buffers });
        NormId(norms.len() - 1)
    }

    /// A parameter or buffer of floating point that starts as `values`, for models that come with
    /// their numbers.
    ///
    /// # Panics
    /// When another tensor has this name; in a plugin's `build` that is an error of the model.
    #[track_caller]
    pub fn given(&self, name: &str, values: &Tensor, trains: bool) -> Given {
        let shape = values.size();
        self.declared.borrow_mut().given.push((self.full_name(name, ""), values.shallow_clone()));
        if trains {
            let group = if shape.len() > 1 { Group::Weight } else { Group::Bias };
            return Given::Parameter(GivenParameter(self.param(name, "", &shape, Init::Constant(0.0), group)));
        }
        let full = self.full_name(name, "");
        self.claim(&full);
        let buffers = &mut self.declared.borrow_mut().buffers;
        buffers.push(Spec { name: full, shape, init: Init::Constant(0.0), group: Group::Norm });
        Given::Buffer(GivenBuffer(BufferId(buffers.len() - 1)))
    }

    /// A buffer of any kind that stays where it is: the model changes it in place, checkpoints copy
    /// out of and into it.
    ///
    /// # Panics
    /// As [`Builder::given`].
    #[track_caller]
    pub fn kept(&self, name: &str, tensor: &Tensor) {
        let name = self.full_name(name, "");
        self.claim(&name);
        self.declared.borrow_mut().kept.push((name, tensor.shallow_clone()));
    }

    /// The number of trainable values declared so far.
    pub fn count(&self) -> i64 {
        self.declared.borrow().params.iter().map(Spec::numel).sum()
    }

    /// Lays the declared tensors out on `device` as `kind`, and initialises them from `seed` if
    /// there is one.
    pub fn finish(self, seed: Option<u64>, kind: Kind, device: Device) -> Parameters {
        Parameters::new(self.declared.into_inner(), seed, kind, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard;
    use crate::nn::{BatchNorm2d, Linear};

    #[test]
    fn a_name_that_is_taken_is_refused_with_both_places() {
        let nn = Builder::default();
        let _first = Linear::new(&nn, "fc", 4, 2);
        let lines = (line!() - 1, line!() + 1);
        let error = guard(|| Ok(Linear::new(&nn, "fc", 2, 2))).unwrap_err();
        let [a, b] = [lines.0, lines.1].map(|line| format!("{}:{line}:", file!()));
        let message = error.message();
        assert!(
            message.starts_with("it declares two tensors called `fc.weight`, at ") && message.contains(&a),
            "{message}"
        );
        assert!(message.contains(&b), "{message}");
    }

    #[test]
    fn every_kind_of_tensor_has_a_name_of_its_own() {
        let values = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        type Declare<'a> = &'a dyn Fn(&Builder);
        let kinds: [(&str, Declare); 4] = [
            ("bn.running_mean", &|nn| _ = BatchNorm2d::new(nn, "bn", 2)),
            ("x", &|nn| _ = nn.given("x", &values, true)),
            ("x", &|nn| _ = nn.given("x", &values, false)),
            ("x", &|nn| nn.kept("x", &values)),
        ];
        for (name, declare) in kinds {
            let nn = Builder::default();
            nn.scope("a", |nn| nn.kept(name, &values));
            declare(&nn); // another name: there it had a scope
            let declared_again = || {
                declare(&nn);
                Ok(())
            };
            let error = guard(declared_again).unwrap_err();
            assert!(error.message().contains("it declares two tensors called `"), "{error}");
        }
    }
}
