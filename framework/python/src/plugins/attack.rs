//! An attack in Python.

mod learning;

use super::kept::{kept, moved};
use super::scene::Scene;
use super::settings::{Manual, schema_of};
use super::{Object, Settings, dict};
use crate::tensors::{from_python, to_python};
use foil::attack::{Adversarial, Learning, Threat};
use foil::prelude::*;
use foil::registry::{Plugin, lasting};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

impl Manual for dyn Attack {
    const TEXT: &'static str = "An attack written in Python.\n\n\
        The file has a subclass of `foil.Attack`, whose annotated fields are further keys here. Its \
        `perturb(self, target, batch)` returns attacked images for `batch.x`, `[N, C, H, W]`, with labels `batch.y`, \
        `[N]`. `target.gradient(x, value)` gives the gradient of a function of the logits with respect to the images, \
        `target.logits(x)` the logits, `batch.uniform(name)` random numbers that follow from the run's seed, \
        `batch.now(name)` the value now of a key of type `foil.Scheduled`. What it names in `provides` and in \
        `images` it hands to the loss: it returns `foil.Adversarial(x, side={…}, images={…})`. Tensors that its \
        `state(self, data)` returns are kept between steps, saved and resumed.";
}

struct Written {
    object: Object,
    mode: Mode,
    capturable: bool,
    soft_labels: bool,
    threats: Vec<Threat>,
    provides: Vec<&'static str>,
    images: Vec<&'static str>,
    networks: Vec<String>,
    needs_clean_logits: bool,
    /// Keys that take a number or a scheduler.
    numbers: Vec<(String, Scheduled)>,
    /// Whether it changes between steps.
    learns: bool,
    takes_gradient: bool,
    /// What it keeps; the object's attributes of these names are the same tensors.
    state: Vec<(String, Tensor)>,
    per_image: Vec<String>,
}

impl Config<dyn Attack> for Settings<dyn Attack> {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let object = self.object(cx)?;
        Python::attach(|py| {
            let state = moved(py, &object, kept(py, &object, cx)?, cx.device)?;
            let keeps = !state.is_empty();
            let learns = object.call("learns", |learns, attack| learns.call1((attack, keeps))?.extract(), py)?;
            let (train, norm): (bool, String) = (object.attribute(py, "train")?, object.attribute(py, "norm")?);
            let norm = match norm.as_str() {
                "Linf" => Norm::Linf,
                "L2" => Norm::L2,
                "L1" => Norm::L1,
                other => {
                    let error = Error::new(format!("its `norm` is `{other}`"));
                    return Err(error.help("write \"Linf\", \"L2\" or \"L1\""));
                }
            };
            let numbers = self.numbers(&object, cx, py)?;
            let scheduled = numbers.iter().find(|(name, _)| name == "eps").map(|(_, eps)| eps.constant());
            let eps = scheduled.unwrap_or_else(|| self.keys.get("eps").and_then(serde_json::Value::as_f64));
            let names = |variable: &str| {
                let names: Vec<String> = object.attribute(py, variable)?;
                Ok::<_, Error>(names.iter().map(|name| lasting(name)).collect())
            };
            Ok(Box::new(Written {
                mode: if train { Mode::Train } else { Mode::Eval },
                capturable: object.attribute(py, "capturable")?,
                soft_labels: object.attribute(py, "soft_labels")?,
                provides: names("provides")?,
                images: names("images")?,
                networks: object.attribute(py, "networks")?,
                needs_clean_logits: object.attribute(py, "needs_clean_logits")?,
                numbers,
                threats: eps.into_iter().map(|eps| Threat { norm, eps }).collect(),
                learns,
                takes_gradient: object.attribute(py, "takes_gradient")?,
                state,
                per_image: object.attribute(py, "per_image")?,
                object,
            }) as _)
        })
    }
}

/// Tensors in Python by name.
type Named<'py> = Vec<(String, Bound<'py, PyAny>)>;

/// What a method in Python made: images, side tensors, further images, and which are broken.
fn made(made: &Bound<'_, PyAny>) -> PyResult<Adversarial> {
    let (x, side, images, broken): (Bound<'_, PyAny>, Named<'_>, Named<'_>, Option<Bound<'_, PyAny>>) =
        made.extract()?;
    let mut attacked = Adversarial::new(from_python(&x)?);
    for (name, tensor) in side {
        attacked = attacked.with(&name, from_python(&tensor)?);
    }
    for (name, tensor) in images {
        attacked = attacked.with_images(&name, from_python(&tensor)?);
    }
    attacked.broken = broken.map(|broken| from_python(&broken)).transpose()?;
    Ok(attacked)
}

impl Written {
    /// What `foil.AttackBatch` takes but the scene: images, labels, numbers now, indices and clean
    /// logits.
    fn given<'py>(&self, py: Python<'py>, batch: &Batch) -> PyResult<Bound<'py, PyTuple>> {
        let now: Vec<_> = self.numbers.iter().map(|(name, number)| (name.as_str(), batch.now(number))).collect();
        let now = dict(py, now.iter().map(|(name, number)| (*name, number)))?;
        let clean = batch.clean_logits.as_ref().map(|logits| to_python(py, logits)).transpose()?;
        let (x, y, index) = (to_python(py, &batch.x)?, to_python(py, &batch.y)?, to_python(py, &batch.index)?);
        (x, y, now, index, clean).into_pyobject(py)
    }
}

impl Attack for Written {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        Python::attach(|py| {
            let perturb = |perturb: &Bound<'_, PyAny>, attack: &Bound<'_, PyAny>| {
                let (scene, _ends) = Scene::new(py, target, batch)?;
                made(&perturb.call1((attack, scene, self.given(py, batch)?))?)
            };
            self.object.call("perturb", perturb, py)
        })
    }

    fn complete(&mut self, target: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        Python::attach(|py| {
            let complete = |complete: &Bound<'_, PyAny>, attack: &Bound<'_, PyAny>| {
                let (scene, _ends) = Scene::new(py, target, batch)?;
                made(&complete.call1((attack, scene, self.given(py, batch)?, to_python(py, &x_adv)?))?)
            };
            self.object.call("complete", complete, py)
        })
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn capturable(&self) -> bool {
        self.capturable
    }

    fn soft_labels(&self) -> bool {
        self.soft_labels
    }

    fn provides(&self) -> Vec<&'static str> {
        self.provides.clone()
    }

    fn images(&self) -> Vec<&'static str> {
        self.images.clone()
    }

    fn networks(&self) -> Vec<String> {
        self.networks.clone()
    }

    fn needs_clean_logits(&self) -> bool {
        self.needs_clean_logits
    }

    fn threats(&self) -> Vec<Threat> {
        self.threats.clone()
    }

    fn learning(&self) -> Option<&dyn Learning> {
        self.learns.then_some(self)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        self.learns.then_some(self)
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn Attack, Settings<dyn Attack>>("python", env!("CARGO_PKG_NAME"), "{ file: my_attack.py }")
        .keyed(schema_of::<dyn Attack>)
}
