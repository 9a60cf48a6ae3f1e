//! foil's attacks on a function from images to logits.

use super::given;
use crate::tensors::{from_python, to_python};
use foil::attack::{Attack, Batch, Target};
use foil::engine::Network;
use foil::guard;
use foil::model::Model;
use foil::nn::{Builder, Mode, Noise, Pass, key_of, name_key};
use foil::registry::{Build, Component, DataFacts};
use foil::scheduler::Clock;
use foil::{Error, Result};
use foil_runs::pipeline::Registry;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use tch::Tensor;

/// A Python function `logits(x, train)` as a model without parameters of foil's.
struct Called {
    logits: Py<PyAny>,
    /// What the function raised, to be raised again as it is.
    raised: Arc<Mutex<Option<PyErr>>>,
}

impl Model for Called {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let made = Python::attach(|py| {
            let out = self.logits.bind(py).call1((to_python(py, xs)?, pass.mode() == Mode::Train))?;
            from_python(&out)
        });
        made.unwrap_or_else(|error| {
            let text = error.to_string();
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            resume_unwind(Box::new(Error::new(format!("the model: {text}"))))
        })
    }

    fn capturable(&self) -> bool {
        false
    }
}

/// The attack that `yaml` describes: the keys of a pipeline's attack.
fn component(yaml: &str) -> Result<Component<dyn Attack>> {
    let schema = serde_json::json!({ "x-component": "attack" });
    let checked = foil_config::load_str("attack", yaml, &[], &schema, &Registry)?;
    serde_yaml::from_value(checked.value).map_err(Error::of)
}

/// The attack, for images of this kind.
fn built(component: &Component<dyn Attack>, facts: DataFacts, seed: u64, x: &Tensor) -> Result<Box<dyn Attack>> {
    let problems = RefCell::default();
    let built = Build::new(facts, seed, x.kind(), x.device(), &problems).component("", component);
    match (built, problems.into_inner().into_iter().next()) {
        (Some(attack), None) => Ok(attack),
        (_, Some(problem)) => {
            let message = problem.message.replace("`` ", "the attack ");
            Err(Error::new(message).help(problem.help.unwrap_or_default()))
        }
        (None, None) => Err(Error::new(format!("the attack `{}` cannot be built", component.name()))),
    }
}

/// What is attacked.
struct Images {
    x: Tensor,
    y: Tensor,
    index: Tensor,
    classes: i64,
    seed: u64,
}

impl Images {
    fn attacked(&self, yaml: &str, model: Called) -> Result<Tensor> {
        let component = component(yaml)?;
        let shape = self.x.size();
        let [n, channels, height, width] = shape[..] else {
            return Err(Error::new(format!("images are {shape:?}, but must be [N, C, H, W]")));
        };
        let facts = DataFacts { channels, height, width, classes: self.classes, train: n };
        let mut attack = built(&component, facts, self.seed, &self.x)?;
        let (kind, device) = (self.x.kind(), self.x.device());
        // As torch computes by default: subnormal numbers are kept.
        let network = Network::new(Box::new(model), Builder::default(), Some(0), kind, device).flush_denormal(false);
        let clock = Clock::new(1, 1, device);
        let key = Tensor::from(key_of(&[self.seed, name_key("attack")])).to_device(device);
        let batch = Batch {
            x: self.x.shallow_clone(),
            y: self.y.shallow_clone(),
            index: self.index.shallow_clone(),
            noise: Noise::new(&key, &self.index),
            clock: &clock,
            clean_logits: None,
        };
        network.start_step();
        guard(|| {
            let target = Target::new(&network, &batch.noise).shrinking();
            Ok(batch.unwritten(|| attack.perturb(&target, &batch))?.x)
        })
    }
}

/// Attacked images for `x` `[N, C, H, W]` with labels `y` `[N]`, which have the places `index`,
/// `[N]`, in their set: an image's random numbers depend on its place and the seed alone.
#[pyfunction]
#[pyo3(signature = (yaml, logits, x, y, index, classes, seed))]
#[expect(clippy::too_many_arguments, reason = "what Python hands over, each by its name")]
pub(super) fn attack<'py>(
    py: Python<'py>,
    yaml: &str,
    logits: Py<PyAny>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    index: &Bound<'py, PyAny>,
    classes: i64,
    seed: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let images = Images { x: from_python(x)?, y: from_python(y)?, index: from_python(index)?, classes, seed };
    let raised = Arc::new(Mutex::new(None));
    let model = Called { logits, raised: Arc::clone(&raised) };
    let images = crate::tensors::Carried::new(images);
    let made = py.detach(|| {
        let images = images;
        images.get().attacked(yaml, model).map(crate::tensors::Carried::new)
    });
    let first = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (made, first) {
        (Ok(x), _) => to_python(py, x.get()),
        (Err(_), Some(error)) => Err(error),
        (Err(error), None) => given(py, Err(error)),
    }
}
