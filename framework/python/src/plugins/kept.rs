//! What a loss or an attack in Python keeps between steps.

use super::Object;
use crate::tensors::{from_python, to_python};
use foil::Result;
use foil::registry::Build;
use pyo3::prelude::*;
use tch::{Device, Tensor};

/// The tensors that a plugin keeps, by name, as attributes of the object: first in the host's
/// memory, where it is tried.
pub(super) fn kept(py: Python<'_>, object: &Object, cx: &Build) -> Result<Vec<(String, Tensor)>> {
    let data = cx.data;
    let sizes = (data.train, data.classes, data.channels, data.height, data.width, cx.batch_size());
    let keep = |state: &Bound<'_, PyAny>, plugin: &Bound<'_, PyAny>| {
        let (train, classes, channels, height, width, batch_size) = sizes;
        let named: Vec<(String, Bound<'_, PyAny>)> =
            state.call1((plugin, train, classes, channels, height, width, batch_size))?.extract()?;
        named
            .into_iter()
            .map(|(name, tensor)| {
                // A copy: two objects of the class must not share what they keep.
                let own = from_python(&tensor)?.to_device(Device::Cpu).copy();
                plugin.setattr(name.as_str(), to_python(py, &own)?)?;
                Ok((name, own))
            })
            .collect()
    };
    object.call("state", keep, py)
}

/// The same tensors on `device`.
pub(super) fn moved(
    py: Python<'_>,
    object: &Object,
    state: Vec<(String, Tensor)>,
    device: Device,
) -> Result<Vec<(String, Tensor)>> {
    if device == Device::Cpu {
        return Ok(state);
    }
    let put = |(name, tensor): (String, Tensor)| {
        let there = tensor.to_device(device);
        let put = to_python(py, &there).and_then(|value| object.object.bind(py).setattr(name.as_str(), value));
        put.map_err(|error| crate::faults::of_plugin(py, &error, &object.file))?;
        Ok((name, there))
    };
    state.into_iter().map(put).collect()
}
