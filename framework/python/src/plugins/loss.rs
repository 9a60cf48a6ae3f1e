//! A loss in Python.

use super::settings::{Manual, schema_of};
use super::{Object, Settings, lasting, warn_once};
use crate::tensors::{from_python, to_python};
use foil::prelude::*;
use foil::registry::Entry;
use pyo3::prelude::*;
use pyo3::types::PyDict;

impl Manual for dyn Loss {
    const TEXT: &'static str = "A loss written in Python.\n\n\
        The file has a subclass of `foil.Loss`, whose annotated fields are further keys here. Its \
        `forward(self, batch)` gets the logits `batch.clean` and `batch.adversarial`, `[N, K]`, of the passes that \
        it lists, and the labels `batch.y`, `[N]`. It returns a scalar, or a scalar and a dictionary of named scalars \
        for the log. `foil explain FILE.py` prints its own manual.";
}

/// The names of passes in Python.
const PASSES: [(&str, Forward); 6] = [
    ("clean_first", Forward::CleanFirst),
    ("clean", Forward::Clean),
    ("adversarial", Forward::Adversarial),
    ("clean_again", Forward::CleanAgain),
    ("together", Forward::Together),
    ("clean_after_update", Forward::CleanAfterUpdate),
];

struct Written {
    object: Object,
    passes: Vec<Forward>,
    needs: Vec<&'static str>,
    least_classes: i64,
    capturable: bool,
    /// Keys that take a number or a scheduler.
    numbers: Vec<(String, Scheduled)>,
}

impl Config<dyn Loss> for Settings<dyn Loss> {
    fn build(&self, cx: &Build) -> Result<Box<dyn Loss>> {
        let object = self.object(cx)?;
        Python::attach(|py| {
            let (capturable, said): (bool, Vec<String>) = object.call(
                "trial",
                |trial, loss| trial.call1((loss, &object.file, cx.data.classes))?.extract(),
                py,
            )?;
            said.iter().for_each(|text| warn_once(text));
            let names: Vec<String> = object.call("scheduled", |names, loss| names.call1((loss,))?.extract(), py)?;
            let numbers = names.into_iter().map(|name| {
                let number =
                    serde_json::from_value(self.keys.get(&name).cloned().unwrap_or_default()).map_err(Error::of)?;
                Ok((name, number))
            });
            let asked: Vec<String> = object.attribute(py, "passes")?;
            let needs: Vec<String> = object.attribute(py, "needs")?;
            Ok(Box::new(Written {
                passes: asked
                    .iter()
                    .filter_map(|one| PASSES.iter().find(|(name, _)| name == one))
                    .map(|(_, pass)| *pass)
                    .collect(),
                needs: needs.iter().map(|name| lasting(name)).collect(),
                least_classes: object.attribute(py, "least_classes")?,
                capturable,
                numbers: numbers.collect::<Result<_>>()?,
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

    fn least_classes(&self) -> i64 {
        self.least_classes
    }

    fn capturable(&self) -> bool {
        self.capturable
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let mut logits = Vec::new();
        for pass in &self.passes {
            match pass {
                Forward::CleanAfterUpdate => {}
                Forward::Together => logits.extend([("clean", input.clean()?), ("adversarial", input.adversarial()?)]),
                pass => logits.push((name(*pass), input.logits(*pass)?)),
            }
        }
        let side = self.needs.iter().map(|name| Ok((*name, input.side(name)?))).collect::<Result<Vec<_>>>()?;
        let now: Vec<(&str, Tensor)> =
            self.numbers.iter().map(|(name, number)| (name.as_str(), input.now(number))).collect();
        Python::attach(|py| {
            let step = |step: &Bound<'_, PyAny>, loss: &Bound<'_, PyAny>| {
                let now = now.iter().map(|(name, tensor)| (*name, tensor));
                let arguments = (dict(py, logits)?, to_python(py, input.y())?, dict(py, side)?, dict(py, now)?);
                let (logits, y, side, now) = arguments;
                let made = step.call1((loss, logits, y, side, now))?;
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
}

/// The name of a pass in Python.
fn name(pass: Forward) -> &'static str {
    PASSES.iter().find(|(_, one)| *one == pass).map_or("", |(name, _)| name)
}

/// A dictionary of tensors.
fn dict<'py, 'a>(
    py: Python<'py>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    for (name, tensor) in tensors {
        made.set_item(name, to_python(py, tensor)?)?;
    }
    Ok(made)
}

foil::__private::inventory::submit! {
    Entry::new::<dyn Loss, Settings<dyn Loss>>("python", env!("CARGO_PKG_NAME"), "{ file: my_loss.py }")
        .keyed(schema_of::<dyn Loss>)
}
