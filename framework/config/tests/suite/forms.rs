//! Keys that take a name or a map, where names are not those of components: either replaces the
//! other. What belongs into a library's plugin is known once it is loaded.

use foil_config::{Catalog, Library, load_str};
use serde_json::{Value as Json, json};
use std::cell::Cell;

/// `data`, or a mean and a deviation.
fn normalize() -> Json {
    let given = json!({ "type": "object", "additionalProperties": false, "required": ["mean"],
        "properties": { "mean": { "type": "number" }, "std": { "type": "number" } } });
    json!({ "anyOf": [{ "enum": ["none", "data"] }, { "type": "number" }, given] })
}

fn schema() -> Json {
    let plugins = json!({ "type": "array", "items": { "type": "string" } });
    json!({ "type": "object", "additionalProperties": false, "properties": {
        "normalize": normalize(), "plugins": plugins, "many": { "type": "array", "items": normalize() },
        "attack": { "x-component": "attack" } } })
}

/// Knows `mine` once the library is loaded.
#[derive(Default)]
struct Late(Cell<bool>);

impl Catalog for Late {
    fn names(&self, _: &str) -> Vec<String> {
        if self.0.get() { vec!["mine".into()] } else { Vec::new() }
    }
    fn schema(&self, _: &str, _: &str) -> Option<Json> {
        self.0.get().then(|| json!({ "type": "object", "properties": { "before": normalize() } }))
    }
    fn load(&self, _: &Library) -> Result<(), (String, String)> {
        self.0.set(true);
        Ok(())
    }
}

/// What the text and the overrides give, or the first problem.
fn load(text: &str, overrides: &[&str]) -> Result<serde_yaml::Value, String> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    let found = load_str("x.yaml", text, &overrides, &schema(), &Late::default());
    found.map(|checked| checked.value).map_err(|problems| problems.to_string())
}

#[test]
fn forms_replace_each_other() {
    let table: &[(&str, &[&str], &str)] = &[
        ("{ normalize: data }", &["normalize={ mean: 1 }"], "{ normalize: { mean: 1 } }"),
        ("{ normalize: data }", &["normalize.mean=1", "normalize.std=2"], "{ normalize: { mean: 1, std: 2 } }"),
        ("{ normalize: 3 }", &["normalize.mean=1"], "{ normalize: { mean: 1 } }"),
        ("{ normalize: { mean: 1 } }", &["normalize=data"], "{ normalize: data }"),
        ("{ normalize: { mean: 1 } }", &["normalize.std=2"], "{ normalize: { mean: 1, std: 2 } }"),
        // The name is the one that the map replaced.
        ("{ normalize: data }", &["normalize={ mean: 1 }", "normalize=data"], "{ normalize: data }"),
        ("{ many: [data, none] }", &["many.1.mean=1"], "{ many: [data, { mean: 1 }] }"),
        (
            "{ plugins: [mine.so], attack: { type: mine, before: data } }",
            &["attack.before={ mean: 1 }"],
            "{ plugins: [mine.so], attack: { type: mine, before: { mean: 1 } } }",
        ),
        (
            "{ attack: { type: mine, before: data } }",
            &["plugins=[mine.so]", "attack={ before: { mean: 1 } }"],
            "{ attack: { type: mine, before: { mean: 1 } }, plugins: [mine.so] }",
        ),
    ];
    for (text, overrides, expected) in table {
        let expected: serde_yaml::Value = serde_yaml::from_str(expected).expect("YAML");
        assert_eq!(load(text, overrides), Ok(expected), "{text} {overrides:?}");
    }
}

#[test]
fn a_map_that_lacks_something_says_what() {
    let message = load("{ normalize: data }", &["normalize.std=1"]).expect_err("no mean");
    assert!(message.contains("missing key `mean` in `normalize`"), "{message}");
    let message = load("{ normalize: data }", &["normalize.meen=1"]).expect_err("misspelt");
    assert!(message.contains("unknown key `meen` in `normalize`"), "{message}");
    let message = load("{ plugins: [a.so] }", &["plugins.0.x=1"]).expect_err("no map");
    assert!(message.contains("`plugins.0` is the text `a.so`, which has no key `x`"), "{message}");
}
