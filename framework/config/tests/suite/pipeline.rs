//! A pipeline like foil's, with two or three plugins of each kind.

use foil_config::{Catalog, Checked, FolderOf, Problem, Problems, load_str};
use foil_macros::settings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A training run.
#[settings]
pub struct Pipeline {
    /// What the run is called.
    #[set(default = "run")]
    pub name: String,
    /// What it learns from.
    pub data: DataSet,
    /// What perturbs the images.
    pub attack: Attack,
    /// What a step descends.
    pub loss: Loss,
    /// How long and how fast.
    #[set(default)]
    pub train: Train,
    /// What the model is tested with.
    #[set(default)]
    pub evaluate: Vec<Attack>,
    /// Notes, by name.
    #[set(default)]
    pub notes: BTreeMap<String, String>,
    /// Labels, each once.
    #[set(default)]
    pub labels: BTreeSet<String>,
    /// Smallest and largest scale of a crop.
    #[set(default)]
    pub crop: Option<(f64, f64)>,
}

/// A data set.
#[settings]
pub enum DataSet {
    /// Digits.
    Mnist,
    /// Ten kinds of things.
    Cifar10,
}

/// How training goes.
#[settings]
pub struct Train {
    /// Passes over the data.
    #[set(default = 10, range = 1..)]
    pub epochs: u32,
    /// Step size.
    #[set(default = Scheduled(0.1.into()), range = 0.0..)]
    pub lr: Scheduled,
    /// Whether images are shuffled.
    #[set(default = true)]
    pub shuffle: bool,
    /// Largest norm of a gradient.
    #[set(default, above = 0.0)]
    pub clip: Option<f64>,
    /// An attack for the first epochs.
    #[set(default)]
    pub warmup: Option<Attack>,
}

/// Projected gradient descent inside a ball.
#[settings]
pub struct Pgd {
    /// Radius of the ball.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: f64,
    /// Step size.
    #[set(default = 0.007, unit = "image", above = 0.0, range = ..=1.0)]
    pub alpha: f64,
    /// Number of steps.
    #[set(default = 10, range = 1..=1000)]
    pub steps: u32,
    /// Where it starts.
    #[set(default = Start::Uniform)]
    pub start: Start,
    /// What it ascends.
    #[set(default = Objective("ce".into()))]
    pub objective: Objective,
}

/// Where an attack starts.
#[settings]
pub enum Start {
    /// Uniform noise in the ball.
    Uniform,
    /// No noise.
    None,
}

/// An attack around another one.
#[settings]
pub struct Calibrated {
    /// The attack inside.
    pub inner: Attack,
    /// Weight.
    #[set(default = 0.05)]
    pub beta1: f64,
}

/// Plain adversarial training.
#[settings]
pub struct At {}

/// Clean loss plus robust loss.
#[settings]
pub struct Trades {
    /// Weight of the robust loss.
    #[set(default = Scheduled(6.into()), range = 0.0..)]
    pub beta: Scheduled,
}

/// A line between two numbers.
#[settings]
pub struct Ramp {
    /// Where it starts.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
}

/// Carlini and Wagner's margin.
#[settings]
pub struct Cw {
    /// Confidence, in logits.
    #[set(default = 0.0)]
    pub kappa: f64,
}

macro_rules! holders {
    ($($name:ident: $schema:expr;)*) => {$(
        /// Holds a plugin's part of the config.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $name(pub serde_yaml::Value);
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

holders! {
    Attack: json_schema!({ "x-component": "attack" });
    Loss: json_schema!({ "x-component": "loss" });
    Objective: json_schema!({ "x-component": "objective" });
    Scheduled: json_schema!({ "anyOf": [{ "type": "number" }, { "x-component": "scheduler" }] });
}

/// The plugins above, by kind.
pub struct Plugins;

impl Catalog for Plugins {
    fn names(&self, kind: &str) -> Vec<String> {
        let names: &[&str] = match kind {
            "attack" => &["calibrated", "fgsm", "pgd"],
            "loss" => &["at", "trades"],
            "objective" => &["ce", "cw"],
            "scheduler" => &["ramp"],
            _ => &[],
        };
        names.iter().map(|name| (*name).to_string()).collect()
    }

    fn schema(&self, kind: &str, name: &str) -> Option<Json> {
        let schema = match (kind, name) {
            ("attack", "calibrated") => schema_for!(Calibrated),
            ("attack", "pgd") => schema_for!(Pgd),
            ("loss", "trades") => schema_for!(Trades),
            ("scheduler", "ramp") => schema_for!(Ramp),
            ("objective", "cw") => schema_for!(Cw),
            ("attack", "fgsm") => return None,
            _ => schema_for!(At),
        };
        Some(schema.to_value())
    }

    fn check(&self, kind: &str, path: &str, component: &serde_yaml::Value, _: FolderOf<'_>) -> Vec<Problem> {
        let key = |key: &str| component[key].as_f64().expect("a checked number");
        if kind == "scheduler" && key("from") >= key("to") {
            let message = format!("`{path}.to` is {}, but the ramp begins at {}", key("to"), key("from"));
            return vec![Problem::new(format!("{path}.to"), message, "a ramp goes up")];
        }
        Vec::new()
    }
}

/// The pipeline's schema.
pub fn schema() -> Json {
    schema_for!(Pipeline).to_value()
}

/// Loads a text called `x.yaml`.
pub fn check(text: impl AsRef<[u8]>, overrides: &[&str]) -> Result<Checked, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    load_str("x.yaml", text, &overrides, &schema(), &Plugins)
}

/// A pipeline that uses everything.
pub const FULL: &str = "\
name: full
data: cifar10
attack:
  type: calibrated
  inner: { type: pgd, objective: { type: cw, kappa: 50 }, eps: 8/255, alpha: 2/255, steps: 10, start: uniform }
  beta1: 1/20
loss: { type: trades, beta: { type: ramp, from: 0, to: 6 } }
train:
  epochs: 140
  lr: 0.1
  clip: null
  warmup: fgsm
evaluate: [fgsm, { type: pgd, eps: 8/255, start: none }]
notes: { paper: \"Huang et al. 2021\", table: '2' }
labels: [a, b]
crop: [0.5, 1]
";
