//! What an attack in Python keeps, and how it learns.

use super::{Named, Written};
use crate::plugins::scene::Scene;
use crate::plugins::{dict, raise};
use crate::tensors::{from_python, to_python};
use foil::attack::{Adversarial, Learning};
use foil::prelude::*;
use foil::registry::lasting;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::collections::BTreeMap;

/// What `foil.Adversarial` takes.
fn attacked<'py>(py: Python<'py>, of: &Adversarial) -> PyResult<Bound<'py, PyTuple>> {
    let [side, images] = [&of.side, &of.images].map(|named| dict(py, named.iter().map(|(name, t)| (name.as_str(), t))));
    (to_python(py, &of.x)?, side?, images?).into_pyobject(py)
}

impl Learning for Written {
    fn after_update(
        &mut self,
        target: &Target,
        batch: &Batch,
        adversarial: &Adversarial,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        Python::attach(|py| {
            let learn = |learn: &Bound<'_, PyAny>, attack: &Bound<'_, PyAny>| {
                let (scene, _ends) = Scene::new(py, target, batch)?;
                let made = learn.call1((attack, scene, self.given(py, batch)?, attacked(py, adversarial)?))?;
                let scalars: Named<'_> = made.extract()?;
                scalars.into_iter().map(|(name, scalar)| Ok((lasting(&name), from_python(&scalar)?))).collect()
            };
            self.object.call("learn", learn, py)
        })
    }

    fn takes_gradient(&self) -> bool {
        self.takes_gradient
    }

    fn after_gradient(
        &mut self,
        target: &Target,
        batch: &Batch,
        adversarial: &Adversarial,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        Python::attach(|py| {
            let after = |after: &Bound<'_, PyAny>, attack: &Bound<'_, PyAny>| {
                let (scene, _ends) = Scene::new(py, target, batch)?;
                let (given, attacked) = (self.given(py, batch)?, attacked(py, adversarial)?);
                from_python(&after.call1((attack, scene, given, attacked, to_python(py, gradient)?))?)
            };
            self.object.call("after_gradient", after, py)
        })
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        self.state.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    fn per_image(&self) -> Vec<String> {
        self.per_image.clone()
    }

    fn remark(&self, means: &BTreeMap<String, f64>) -> Option<String> {
        let remark =
            |remark: &Bound<'_, PyAny>, attack: &Bound<'_, PyAny>| remark.call1((attack, means.clone()))?.extract();
        Python::attach(|py| self.object.call("remark", remark, py)).unwrap_or_else(|error| raise(error))
    }
}
