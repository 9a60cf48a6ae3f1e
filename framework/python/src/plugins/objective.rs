//! An objective in Python.

use super::settings::{Manual, schema_of};
use super::{Object, Settings, raise};
use crate::tensors::{from_python, to_python};
use foil::prelude::*;
use foil::registry::Plugin;
use pyo3::prelude::*;

impl Manual for dyn Objective {
    const TEXT: &'static str = "An objective written in Python.\n\n\
        The file has a subclass of `foil.Objective`, whose annotated fields are further keys here. Its \
        `value(self, logits, y, clean)` turns the logits `[N, K]` of the attacked images into a number for each, \
        `[N]`, which the attack ascends.";
}

struct Written {
    object: Object,
    least_classes: i64,
    needs_clean: bool,
    network: Option<String>,
    soft_labels: bool,
}

impl Config<dyn Objective> for Settings<dyn Objective> {
    fn build(&self, cx: &Build) -> Result<Box<dyn Objective>> {
        let object = self.object(cx)?;
        Python::attach(|py| {
            object.call("check_objective", |check, objective| check.call1((objective,)).map(drop), py)?;
            Ok(Box::new(Written {
                least_classes: object.attribute(py, "least_classes")?,
                needs_clean: object.attribute(py, "needs_clean")?,
                network: object.attribute(py, "network")?,
                soft_labels: object.attribute(py, "soft_labels")?,
                object,
            }) as _)
        })
    }
}

impl Objective for Written {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        let valued = Python::attach(|py| {
            let value = |value: &Bound<'_, PyAny>, objective: &Bound<'_, PyAny>| {
                let clean = reference.clean.map(|clean| to_python(py, clean)).transpose()?;
                from_python(&value.call1((objective, to_python(py, logits)?, to_python(py, reference.y)?, clean))?)
            };
            self.object.call("value", value, py)
        });
        valued.unwrap_or_else(|error| raise(error.context("objective `python`")))
    }

    fn needs_clean(&self) -> bool {
        self.needs_clean
    }

    fn network(&self) -> Option<String> {
        self.network.clone()
    }

    fn soft_labels(&self) -> bool {
        self.soft_labels
    }

    fn least_classes(&self) -> i64 {
        self.least_classes
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn Objective, Settings<dyn Objective>>("python", env!("CARGO_PKG_NAME"), "{ file: my_objective.py }")
        .keyed(schema_of::<dyn Objective>)
}
