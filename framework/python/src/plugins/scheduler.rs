//! A scheduler in Python: a class in a file, or an expression.

mod expression;

use super::settings::{Manual, schema_of};
use super::{Object, Settings};
use expression::Expression;
use foil::prelude::*;
use foil::registry::Plugin;
use foil::scheduler::Progress;
use foil_config::Problem;
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;

impl Manual for dyn Scheduler {
    const TEXT: &'static str = "A scheduler written in Python: an expression, or a class in a file.\n\n\
        The expression under `value` is computed on the host before each step, as in `lr: { type: python, value: \
        \"0.1 * min(1, done / 5)\" }`. It may use `epoch` and `step`, from 0, `done`, the epochs done with fraction, \
        `epochs` and `steps_per_epoch` of the run, and Python's `math`. The file under `file` has a subclass of \
        `foil.Scheduler`, whose annotated fields are further keys here. Its `value(self, progress)` returns the number; \
        `progress` has the same names, without `math`.";
}

/// What a pipeline says of it.
#[derive(Debug, Serialize, Deserialize)]
struct Chosen {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// `file` and the keys of its class.
    #[serde(flatten)]
    of_class: BTreeMap<String, serde_json::Value>,
}

const VALUE: &str = "A Python expression of epoch, step, done, epochs, steps_per_epoch and math. Or \
                     write `file`, a Python file with a class.";
const HELP: &str = "write value: 0.1 * min(1, done / 5), or file: my_schedule.py";

impl schemars::JsonSchema for Chosen {
    fn schema_name() -> Cow<'static, str> {
        "PythonScheduler".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Settings::<dyn Scheduler>::json_schema(generator);
        schema.remove("required");
        if let Some(keys) = schema.pointer_mut("/properties").and_then(serde_json::Value::as_object_mut) {
            keys.insert("value".into(), json!({ "type": ["string", "null"], "default": null, "description": VALUE }));
            keys["file"]["type"] = json!(["string", "null"]);
            keys["file"]["default"] = json!(null);
        }
        schema
    }
}

/// The keys of an expression, or of the class that is written.
fn keys(written: &[foil_config::Written]) -> Result<serde_json::Value, Problem> {
    let has = |key: &str| written.iter().any(|one| one.key == key);
    match (has("value"), has("file")) {
        (true, true) => Err(Problem::new("value", "a scheduler in Python has `value` or `file`, not both", HELP)),
        (_, true) => schema_of::<dyn Scheduler>(written),
        // `file` is here only if it is not text: then its type says what belongs there.
        (_, false) => Ok(json!({
            "type": "object",
            "properties": { "value": { "type": "string", "description": VALUE }, "file": { "type": "string" } },
            "required": ["value"],
            "additionalProperties": false,
        })),
    }
}

/// A made-up run, to call a scheduler before training. How long the run will be is not known then.
const TRIED: Progress = Progress { epoch: 0, step: 0, steps_per_epoch: 100, epochs: 100 };

impl Config<dyn Scheduler> for Chosen {
    fn build(&self, cx: &Build) -> Result<Box<dyn Scheduler>> {
        let scheduler = match &self.value {
            Some(value) => Written::Expression(Expression::compiled(value)?),
            None => {
                let keys = serde_json::Value::Object(self.of_class.clone().into_iter().collect());
                let class: Settings<dyn Scheduler> = serde_json::from_value(keys).map_err(Error::of)?;
                Written::Class(class.object(cx)?)
            }
        };
        scheduler.compute(&TRIED)?;
        scheduler.compute(&Progress { epoch: TRIED.epochs - 1, step: TRIED.steps_per_epoch - 1, ..TRIED })?;
        Ok(Box::new(scheduler))
    }
}

enum Written {
    Expression(Expression),
    Class(Object),
}

impl Written {
    fn compute(&self, at: &Progress) -> Result<f64> {
        let object = match self {
            Self::Expression(expression) => return expression.compute(at),
            Self::Class(object) => object,
        };
        let number = |number: &Bound<'_, PyAny>, scheduler: &Bound<'_, PyAny>| {
            number.call1((scheduler, at.epoch, at.step, at.epochs, at.steps_per_epoch))?.extract()
        };
        Python::attach(|py| object.call("number", number, py))
    }
}

impl Scheduler for Written {
    fn value(&self, progress: &Progress) -> f64 {
        foil::raise(self.compute(progress).map_err(|error| error.context("scheduler `python`")))
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn Scheduler, Chosen>("python", env!("CARGO_PKG_NAME"), "{ value: 0.1 * min(1, done / 5) }")
        .keyed(keys)
}
