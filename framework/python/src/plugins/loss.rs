//! A loss in Python.

mod passes;

use super::kept::{kept, moved};
use super::settings::{Manual, schema_of};
use super::{Object, Settings, dict, raise, warn_once};
use crate::tensors::{from_python, to_python};
use foil::loss::ImageSet;
use foil::prelude::*;
use foil::registry::{Plugin, lasting};
use passes::{SETS, name, pass, set_name};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use std::collections::BTreeSet;

impl Manual for dyn Loss {
    const TEXT: &'static str = "A loss written in Python.\n\n\
        The file has a subclass of `foil.Loss`, whose annotated fields are further keys here. Its \
        `forward(self, batch)` gets the logits `batch.clean` and `batch.adversarial`, `[N, K]`, of the passes that \
        it lists, and the labels `batch.y`, `[N]`. It returns a scalar, or a scalar and a dictionary of named scalars \
        for the log. Tensors that its `state(self, data)` returns are kept between steps, saved and resumed. `foil \
        explain FILE.py` prints its own manual.";
}

struct Written {
    object: Object,
    passes: Vec<Forward>,
    needs: Vec<&'static str>,
    features: Vec<(Forward, &'static str)>,
    input_gradients: Vec<Forward>,
    soft_labels: bool,
    least_classes: i64,
    capturable: bool,
    /// Keys that take a number or a scheduler.
    numbers: Vec<(String, Scheduled)>,
    /// What it keeps; the object's attributes of these names are the same tensors.
    state: Vec<(String, Tensor)>,
    per_image: Vec<String>,
}

impl Config<dyn Loss> for Settings<dyn Loss> {
    fn build(&self, cx: &Build) -> Result<Box<dyn Loss>> {
        let object = self.object(cx)?;
        Python::attach(|py| {
            let state = kept(py, &object, cx)?;
            let (capturable, said): (bool, Vec<String>) = object.call(
                "trial",
                |trial, loss| trial.call1((loss, &object.file, cx.data.classes))?.extract(),
                py,
            )?;
            said.iter().for_each(|text| warn_once(text));
            let numbers = self.numbers(&object, cx, py)?;
            let asked: Vec<String> = object.attribute(py, "passes")?;
            let needs: Vec<String> = object.attribute(py, "needs")?;
            let features: Vec<(String, String)> = object.attribute(py, "features")?;
            let by_images: Vec<String> = object.attribute(py, "input_gradients")?;
            Ok(Box::new(Written {
                passes: asked.iter().filter_map(|name| pass(name)).collect(),
                needs: needs.iter().map(|name| lasting(name)).collect(),
                features: features.iter().filter_map(|(of, name)| Some((pass(of)?, lasting(name)))).collect(),
                input_gradients: by_images.iter().filter_map(|name| pass(name)).collect(),
                soft_labels: object.attribute(py, "soft_labels")?,
                least_classes: object.attribute(py, "least_classes")?,
                capturable,
                numbers,
                per_image: object.attribute(py, "per_image")?,
                state: moved(py, &object, state, cx.device)?,
                object,
            }) as _)
        })
    }
}

impl Loss for Written {
    fn passes(&self) -> Vec<Forward> {
        self.passes.clone()
    }

    fn needs(&self) -> Vec<&'static str> {
        self.needs.clone()
    }

    fn features(&self) -> Vec<(Forward, &'static str)> {
        self.features.clone()
    }

    fn input_gradients(&self) -> Vec<Forward> {
        self.input_gradients.clone()
    }

    fn soft_labels(&self) -> bool {
        self.soft_labels
    }

    fn least_classes(&self) -> i64 {
        self.least_classes
    }

    fn capturable(&self) -> bool {
        self.capturable
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let given = self.given(input)?;
        Python::attach(|py| {
            let step = |step: &Bound<'_, PyAny>, loss: &Bound<'_, PyAny>| {
                let made = given.call(py, step, loss, input)?;
                let (total, parts): (Bound<'_, PyAny>, Vec<(String, Bound<'_, PyAny>)>) = made.extract()?;
                let mut output = LossOutput::new(from_python(&total)?);
                for (name, part) in parts {
                    output = output.part(lasting(&name), &from_python(&part)?);
                }
                Ok(output)
            };
            self.object.call("step", step, py)
        })
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.state.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    fn per_image(&self) -> Vec<String> {
        self.per_image.clone()
    }

    fn after_update(&mut self, input: &LossInput) -> Result<()> {
        if self.state.is_empty() {
            return Ok(());
        }
        let given = self.given(input)?;
        Python::attach(|py| {
            let after =
                |after: &Bound<'_, PyAny>, loss: &Bound<'_, PyAny>| given.call(py, after, loss, input).map(drop);
            self.object.call("after_update", after, py)
        })
    }

    fn after_epoch(&mut self) {
        let done =
            Python::attach(|py| self.object.call("after_epoch", |after, loss| after.call1((loss,)).map(drop), py));
        done.unwrap_or_else(|error| raise(error));
    }
}

/// What a loss gets, by name.
struct Given<'a> {
    logits: Vec<(&'a str, &'a Tensor)>,
    side: Vec<(&'a str, &'a Tensor)>,
    now: Vec<(&'a str, Tensor)>,
    features: Vec<((&'a str, &'a str), &'a Tensor)>,
    images: Vec<(&'a str, &'a Tensor)>,
    leaves: Vec<(&'a str, &'a Tensor)>,
}

impl Written {
    fn given<'a>(&'a self, input: &'a LossInput) -> Result<Given<'a>> {
        let mut logits = Vec::new();
        for pass in &self.passes {
            match pass {
                Forward::CleanAfterUpdate => {}
                Forward::Together => logits.extend([("clean", input.clean()?), ("adversarial", input.adversarial()?)]),
                pass => logits.push((name(*pass), input.logits(*pass)?)),
            }
        }
        let side = self.needs.iter().map(|name| Ok((*name, input.side(name)?))).collect::<Result<_>>()?;
        let now = self.numbers.iter().map(|(name, number)| (name.as_str(), input.now(number))).collect();
        // Only the passes before the update have features.
        let features = self.features.iter().filter_map(|(of, word)| {
            let feature = input.feature(*of, word).ok()?;
            Some(((name(*of), *word), feature))
        });
        // Nor are there leaves.
        let leaves = self.input_gradients.iter().filter_map(|pass| Some((name(*pass), input.leaf(*pass).ok()?)));
        let further = self.passes.iter().map(|pass| pass.images()).filter(|set| matches!(set, ImageSet::Named(_)));
        let sets: BTreeSet<ImageSet> = SETS.iter().map(|(_, set)| *set).chain(further).collect();
        let images = sets.into_iter().filter_map(|set| Some((set_name(set), input.images(set).ok()?)));
        let (features, images, leaves) = (features.collect(), images.collect(), leaves.collect());
        Ok(Given { logits, side, now, features, images, leaves })
    }
}

impl Given<'_> {
    /// Calls a helper that takes the loss and its input.
    fn call<'py>(
        &self,
        py: Python<'py>,
        helper: &Bound<'py, PyAny>,
        loss: &Bound<'py, PyAny>,
        input: &LossInput,
    ) -> PyResult<Bound<'py, PyAny>> {
        let of = |tensors: &[(&str, &Tensor)]| dict(py, tensors.iter().copied());
        let now = dict(py, self.now.iter().map(|(name, tensor)| (*name, tensor)))?;
        let index = input.index().ok().map(|index| to_python(py, index)).transpose()?;
        let world = input.world();
        let sum = world.is_joined().then(|| {
            PyCFunction::new_closure(py, None, None, move |arguments, _| {
                let py = arguments.py();
                let value = from_python(&arguments.get_item(0)?)?;
                let sum =
                    foil::loss::sum_over_ranks(world, &value).map_err(|error| crate::faults::raised(py, &error))?;
                Ok::<_, PyErr>(to_python(py, &sum)?.unbind())
            })
        });
        let features = PyDict::new(py);
        for (key, feature) in &self.features {
            features.set_item(key, to_python(py, feature)?)?;
        }
        let (y, side) = (to_python(py, input.y())?, of(&self.side)?);
        let (images, leaves) = (of(&self.images)?, of(&self.leaves)?);
        let arguments = (loss, of(&self.logits)?, y, side, now, index, sum.transpose()?, features, images, leaves);
        helper.call1(arguments)
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn Loss, Settings<dyn Loss>>("python", env!("CARGO_PKG_NAME"), "{ file: my_loss.py }")
        .keyed(schema_of::<dyn Loss>)
}
