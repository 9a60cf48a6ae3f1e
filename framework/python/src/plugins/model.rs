//! A model in Python: any `torch.nn.Module`.

use super::settings::{Manual, schema_of};
use super::{Object, Settings, raise};
use crate::tensors::{from_python, to_python};
use foil::engine::Precision;
use foil::nn::{Given, GivenBuffer, GivenParameter};
use foil::prelude::*;
use foil::registry::Plugin;
use pyo3::prelude::*;
use pyo3::types::PyDict;

impl Manual for dyn Model {
    const TEXT: &'static str = "A network written in PyTorch, unchanged.\n\n\
        The file has a subclass of `foil.Model`, whose annotated fields are further keys here. Its \
        `build(self, channels, height, width, classes)` returns any `torch.nn.Module` from images `[N, C, H, W]`, in \
        [0, 1] unless `normalize` says otherwise, to logits `[N, K]`; training starts from its weights. Parameters \
        that require a gradient are trained; the others and buffers are kept, all under their `state_dict` names. \
        `features` names submodules whose outputs or inputs losses may read. \
        Dropout and other random numbers of torch are seeded for each pass.";
}

/// A tensor of the module.
enum Held {
    Parameter(GivenParameter),
    Buffer(GivenBuffer),
    /// A buffer of whole numbers, such as a counter.
    Kept(Tensor),
}

struct Net {
    /// The module.
    object: Object,
    tensors: Vec<(String, Held, bool)>,
    has_norm: bool,
}

impl Config<dyn Model> for Settings<dyn Model> {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        if cx.precision() == Precision::Bf16 {
            return Err(Error::new("the module may have constants of its own, which bf16 would not convert")
                .help("write `train: { precision: tf32 }`, or fp32"));
        }
        let plugin = self.object(cx)?;
        Python::attach(|py| {
            let sizes = (cx.inputs(), cx.data.height, cx.data.width, cx.data.classes, cx.seed);
            let module = plugin.call(
                "network",
                |network, model| {
                    let (channels, height, width, classes, seed) = sizes;
                    Ok(network.call1((model, channels, height, width, classes, seed))?.unbind())
                },
                py,
            )?;
            let object = Object { object: module, file: plugin.file };
            let listed: Vec<(String, Bound<'_, PyAny>, bool, bool)> =
                object.call("tensors", |tensors, module| tensors.call1((module,))?.extract(), py)?;
            let mut tensors = Vec::new();
            for (name, tensor, trains, is_buffer) in listed {
                let tensor = from_python(&tensor).map_err(|error| Error::new(error.to_string()))?;
                let held = declare(cx.builder(), &name, &tensor.to_device(cx.device), trains);
                tensors.push((name, held, is_buffer));
            }
            let has_norm = tensors.iter().any(|(name, ..)| name.ends_with("running_mean"));
            Ok(Box::new(Net { object, tensors, has_norm }) as _)
        })
    }
}

fn declare(nn: &Builder, name: &str, tensor: &Tensor, trains: bool) -> Held {
    if !tensor.is_floating_point() {
        nn.kept(name, tensor);
        return Held::Kept(tensor.shallow_clone());
    }
    match nn.given(name, tensor, trains) {
        Given::Parameter(id) => Held::Parameter(id),
        Given::Buffer(id) => Held::Buffer(id),
    }
}

impl Net {
    fn run(&self, pass: &Pass, xs: &Tensor) -> Result<Tensor> {
        if pass.selected().is_some() && self.has_norm {
            return Err(Error::new(
                "its batch norm sees the whole batch, not a part of it; write `search_statistics: batch` in the attack",
            ));
        }
        if let Some(seed) = pass.seed() {
            tch::manual_seed(seed);
        }
        Python::attach(|py| {
            let run = |run: &Bound<'_, PyAny>, module: &Bound<'_, PyAny>| {
                let (given, buffers) = (PyDict::new(py), PyDict::new(py));
                for (name, held, is_buffer) in &self.tensors {
                    let tensor = match held {
                        Held::Parameter(id) => pass.parameter(*id),
                        Held::Buffer(id) => pass.given_buffer(*id),
                        Held::Kept(tensor) => tensor,
                    };
                    let into = if *is_buffer { &buffers } else { &given };
                    into.set_item(name, to_python(py, tensor)?)?;
                }
                let made = run.call1((module, pass.mode() == Mode::Train, to_python(py, xs)?, given, buffers))?;
                let (logits, features): (Bound<'_, PyAny>, Vec<(String, Bound<'_, PyAny>)>) = made.extract()?;
                for (name, feature) in features {
                    pass.feature(&name, &from_python(&feature)?);
                }
                from_python(&logits)
            };
            self.object.call("run", run, py)
        })
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.run(pass, xs).unwrap_or_else(|error| raise(error.context("model `python`")))
    }

    /// foil cannot know what the module does, and it reads a seed from the device.
    fn capturable(&self) -> bool {
        false
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn Model, Settings<dyn Model>>("python", env!("CARGO_PKG_NAME"), "{ file: my_model.py }")
        .keyed(schema_of::<dyn Model>)
}
