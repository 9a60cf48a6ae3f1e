//! An attack in Python.

use super::scene::Scene;
use super::settings::{Manual, schema_of};
use super::{Object, Settings, dict};
use crate::tensors::{from_python, to_python};
use foil::attack::{Adversarial, Threat};
use foil::prelude::*;
use foil::registry::{Plugin, lasting};
use pyo3::prelude::*;

impl Manual for dyn Attack {
    const TEXT: &'static str = "An attack written in Python.\n\n\
        The file has a subclass of `foil.Attack`, whose annotated fields are further keys here. Its \
        `perturb(self, target, batch)` returns attacked images for `batch.x`, `[N, C, H, W]`, with labels `batch.y`, \
        `[N]`. `target.gradient(x, value)` gives the gradient of a function of the logits with respect to the images, \
        `target.logits(x)` the logits, `batch.uniform(name)` random numbers that follow from the run's seed, \
        `batch.now(name)` the value now of a key of type `foil.Scheduled`. What it names in `provides` it hands to the \
        loss: it returns a pair of the images and a dictionary.";
}

struct Written {
    object: Object,
    mode: Mode,
    capturable: bool,
    threats: Vec<Threat>,
    provides: Vec<&'static str>,
    needs_clean_logits: bool,
    /// Keys that take a number or a scheduler.
    numbers: Vec<(String, Scheduled)>,
}

impl Config<dyn Attack> for Settings<dyn Attack> {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let object = self.object(cx)?;
        Python::attach(|py| {
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
            let capturable = object.attribute(py, "capturable")?;
            let provides: Vec<String> = object.attribute(py, "provides")?;
            let needs_clean_logits = object.attribute(py, "needs_clean_logits")?;
            Ok(Box::new(Written {
                object,
                mode: if train { Mode::Train } else { Mode::Eval },
                capturable,
                provides: provides.iter().map(|name| lasting(name)).collect(),
                needs_clean_logits,
                numbers,
                threats: eps.into_iter().map(|eps| Threat { norm, eps }).collect(),
            }) as _)
        })
    }
}

impl Attack for Written {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let now: Vec<_> = self.numbers.iter().map(|(name, number)| (name.as_str(), batch.now(number))).collect();
        Python::attach(|py| {
            let perturb = |perturb: &Bound<'_, PyAny>, attack: &Bound<'_, PyAny>| {
                let (scene, _ends) = Scene::new(py, target, batch)?;
                let (x, y) = (to_python(py, &batch.x)?, to_python(py, &batch.y)?);
                let now = dict(py, now.iter().map(|(name, number)| (*name, number)))?;
                let index = to_python(py, &batch.index)?;
                let clean = batch.clean_logits.as_ref().map(|logits| to_python(py, logits)).transpose()?;
                let made = perturb.call1((attack, scene, x, y, now, index, clean))?;
                let (x, side): (Bound<'_, PyAny>, Vec<(String, Bound<'_, PyAny>)>) = made.extract()?;
                let attacked = Adversarial::new(from_python(&x)?);
                side.iter().try_fold(attacked, |attacked, (name, tensor)| Ok(attacked.with(name, from_python(tensor)?)))
            };
            self.object.call("perturb", perturb, py)
        })
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn capturable(&self) -> bool {
        self.capturable
    }

    fn provides(&self) -> Vec<&'static str> {
        self.provides.clone()
    }

    fn needs_clean_logits(&self) -> bool {
        self.needs_clean_logits
    }

    fn threats(&self) -> Vec<Threat> {
        self.threats.clone()
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn Attack, Settings<dyn Attack>>("python", env!("CARGO_PKG_NAME"), "{ file: my_attack.py }")
        .keyed(schema_of::<dyn Attack>)
}
