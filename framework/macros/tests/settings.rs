//! What a struct under `#[settings]` reads, refuses, writes and says about itself. Compile errors
//! are tested in `src/`.

extern crate self as foil;

#[doc(hidden)]
pub mod __private {
    pub use schemars;
    pub use serde;
}

use foil_macros::settings;
use serde_json::{Value, json};

/// Projected gradient descent inside a ball.
///
/// Madry et al. 2018.
#[settings]
#[derive(PartialEq)]
pub struct Pgd {
    /// Radius of the ball.
    #[set(unit = "image", above = 0.0, range = ..=1.0)]
    pub eps: f64,
    /// Number of steps.
    #[set(default = 10, range = 1..)]
    pub steps: u32,
    /// Where it starts.
    #[set(default = Start::Uniform)]
    pub start: Start,
    /// What it ascends.
    #[set(default = "ce")]
    #[serde(alias = "goal")]
    pub objective: String,
    /// Seed of its noise.
    #[set(default)]
    pub seed: Option<u64>,
}

/// Where an attack starts.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Start {
    /// Uniform noise in the ball.
    Uniform,
    /// No noise.
    NoNoise,
}

/// Adversarial training has no settings.
#[settings]
pub struct At {}

/// A section that may be left out.
#[settings]
#[derive(PartialEq)]
pub struct Select {
    /// Epochs between two evaluations.
    #[set(default = 1, range = 1..100)]
    pub every: u32,
    /// A file to read first.
    pub from: Option<String>,
}

/// A pipeline with a section.
#[settings]
pub struct Pipeline {
    /// How the best epoch is found.
    #[set(default)]
    pub select: Select,
}

fn schema<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

#[test]
fn defaults_fill_what_is_left_out() {
    let pgd: Pgd = serde_yaml::from_str("eps: 0.1").expect("only `eps` is required");
    assert_eq!(pgd, Pgd { eps: 0.1, steps: 10, start: Start::Uniform, objective: "ce".into(), seed: None });
    let other: Pgd = serde_yaml::from_str("{ eps: 0.1, start: no_noise, goal: cw }").expect("serde's alias is kept");
    assert_eq!((other.start, other.objective.as_str()), (Start::NoNoise, "cw"));
    assert!(serde_yaml::from_str::<At>("{}").is_ok());
}

#[test]
fn unknown_and_missing_keys_are_refused() {
    let error = serde_yaml::from_str::<Pgd>("{ eps: 0.1, step: 3 }").expect_err("`step` is no key");
    assert!(error.to_string().contains("unknown field `step`"), "{error}");
    assert!(serde_yaml::from_str::<Pgd>("steps: 3").is_err(), "`eps` is required");
    assert!(serde_yaml::from_str::<At>("{ a: 1 }").is_err());
}

#[test]
fn a_section_of_defaults_is_default() {
    assert_eq!(Select::default(), Select { every: 1, from: None });
    let empty: Pipeline = serde_yaml::from_str("{}").expect("everything has a default");
    assert_eq!(empty.select, Select::default());
}

#[test]
fn the_schema_carries_bounds_units_defaults_and_docs() {
    let schema = schema::<Pgd>();
    assert_eq!(schema["description"], "Projected gradient descent inside a ball.\n\nMadry et al. 2018.");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["eps"]));
    let keys = &schema["properties"];
    assert_eq!(
        keys["eps"],
        json!({
            "description": "Radius of the ball.", "type": "number", "format": "double",
            "exclusiveMinimum": 0.0, "maximum": 1.0, "x-unit": "image",
        })
    );
    assert_eq!((&keys["steps"]["default"], &keys["steps"]["minimum"]), (&json!(10), &json!(1)));
    assert_eq!(keys["start"]["default"], "uniform");
    assert_eq!(keys["objective"]["default"], "ce");
    let start = &schema["$defs"]["Start"]["oneOf"];
    assert_eq!(start[1], json!({ "description": "No noise.", "type": "string", "const": "no_noise" }));
}

#[test]
fn half_open_ranges_exclude_their_end() {
    let schema = schema::<Select>();
    assert_eq!(schema["properties"]["every"]["exclusiveMaximum"], 100);
    assert_eq!(schema["required"], Value::Null);
}

#[test]
fn a_whole_default_section_appears_in_the_schema() {
    assert_eq!(schema::<Pipeline>()["properties"]["select"]["default"], json!({ "every": 1, "from": null }));
}
