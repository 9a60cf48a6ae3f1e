//! A list under the key of a row: one entry for each value, and its name in the list of names.

use foil_config::{Catalog, editor_schema, load_str};
use serde_json::{Value as Json, json};

fn schema() -> Json {
    let attacks = json!({ "type": "object", "additionalProperties": { "x-component": "attack" },
        "x-row": { "key": "eps", "listed": "evaluate" } });
    json!({ "type": "object", "additionalProperties": false, "properties": {
        "attacks": attacks, "evaluate": { "type": "array", "items": { "type": "string" } } } })
}

struct Pgd;

impl Catalog for Pgd {
    fn names(&self, _: &str) -> Vec<String> {
        vec!["pgd".into()]
    }
    fn schema(&self, _: &str, _: &str) -> Option<Json> {
        let number = json!({ "type": "number", "maximum": 1 });
        Some(
            json!({ "type": "object", "additionalProperties": false, "properties": { "eps": number, "steps": number } }),
        )
    }
}

fn load(text: &str, overrides: &[&str]) -> Result<serde_yaml::Value, String> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    let found = load_str("x.yaml", text, &overrides, &schema(), &Pgd);
    found.map(|checked| checked.value).map_err(|problems| problems.to_string())
}

const TEXT: &str =
    "attacks: { a: { type: pgd, eps: 8/255, steps: 1 }, b: { type: pgd, eps: 0.3 } }\nevaluate: [a, b]\n";

#[test]
fn a_list_becomes_an_entry_for_each_value() {
    let rows = "{ attacks: { a@2/255: { type: pgd, eps: 0.00784313725490196, steps: 1 },
        a@0.50: { type: pgd, eps: 0.5, steps: 1 }, b: { type: pgd, eps: 0.3 } }, evaluate: [a@2/255, a@0.50, b] }";
    let expected: serde_yaml::Value = serde_yaml::from_str(rows).unwrap();
    let found = load(TEXT, &["attacks.a.eps=[2/255, 0.50]"]).unwrap();
    assert_eq!(found, expected);
    let again = load(&serde_yaml::to_string(&found).unwrap(), &[]).unwrap();
    assert_eq!(again, expected, "what was written out stays");
    let one = load(TEXT, &["attacks.a.eps=[2/255, 0.50]", "attacks.a.eps=1"]).unwrap();
    assert_eq!(one["attacks"]["a"]["eps"], 1, "one number replaces a row");
}

#[test]
fn a_wrong_row_is_told_where_it_is_written() {
    for (row, message) in [
        ("[]", "`attacks.a.eps` is a list of 0; a row has 1 to 64 values"),
        ("[2/255, 2/255]", "`attacks.a.eps` names 2/255 twice"),
        ("[0.1, 8]", "8"),
        ("[[0.1]]", "`attacks.a.eps` holds a list, but a row is a list of numbers"),
    ] {
        let found = load(&TEXT.replace("eps: 8/255", &format!("eps: {row}")), &[]).unwrap_err();
        assert!(found.contains(message) && found.contains("x.yaml:1:"), "{row}: {found}");
    }
    let long = format!("attacks.a.eps=[{}]", (0..65).map(|n| format!("{n}/255, ")).collect::<String>());
    let found = load(TEXT, &[&long]).unwrap_err();
    assert!(found.contains("is a list of 65"), "{found}");
}

#[test]
fn editors_take_rows_too() {
    let schema = editor_schema(&schema(), &Pgd, &[]);
    let options = &schema["properties"]["attacks"]["additionalProperties"]["anyOf"];
    assert_eq!(options[0], json!({ "$ref": "#/$defs/component.attack" }));
    assert_eq!(options[1]["properties"]["eps"]["type"], "array");
}
