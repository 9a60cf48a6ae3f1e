//! Keys that depend on what is written under another key.

use foil_config::{Catalog, Problem, Written, load_str};
use serde_json::{Value as Json, json};

/// A loss whose file says which keys it has.
struct Keyed;

impl Catalog for Keyed {
    fn names(&self, _: &str) -> Vec<String> {
        vec!["python".into()]
    }

    fn schema(&self, _: &str, _: &str) -> Option<Json> {
        Some(json!({ "type": "object", "properties": { "file": { "type": "string" } } }))
    }

    fn schema_of(&self, kind: &str, name: &str, written: &[Written]) -> Option<Result<Json, Problem>> {
        assert_eq!((kind, name), ("loss", "python"));
        let file = written.iter().find(|one| one.key == "file")?;
        Some(match file.text.as_str() {
            "gone.py" => Err(Problem::new("file", format!("no file in `{}`", file.folder.display()), "look again")),
            _ => Ok(json!({
                "type": "object",
                "properties": {
                    "file": { "type": "string" },
                    "beta": { "type": "number", "default": 6.0, "minimum": 0 },
                    "name": { "type": "string", "default": "x" },
                },
                "additionalProperties": false,
                "x-fill": true,
            })),
        })
    }
}

fn loaded(text: &str, overrides: &[&str]) -> Result<serde_yaml::Value, String> {
    let schema = json!({ "type": "object", "properties": { "loss": { "x-component": "loss" } } });
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    let found = load_str("a/b/x.yaml", text, &overrides, &schema, &Keyed);
    found.map(|checked| checked.value).map_err(|problems| problems.to_string())
}

#[test]
fn the_same_settings_have_the_same_text() {
    let of = |text: &str, overrides: &[&str]| serde_yaml::to_string(&loaded(text, overrides).unwrap()).unwrap();
    let short = of("loss: { type: python, file: a.py }", &[]);
    assert!(short.contains("beta: 6.0") && short.contains("name: x"), "{short}");
    assert_eq!(
        short,
        of("loss: { type: python, file: a.py, name: x, beta: 1 }", &["loss.beta=6"])
            .replace("name: x\n  beta: 6.0", "beta: 6.0\n  name: x")
    );
}

#[test]
fn keys_are_those_of_the_file() {
    let said = |text: &str| loaded(text, &[]).unwrap_err();
    let unknown = said("loss: { type: python, file: a.py, betta: 1 }");
    assert!(unknown.contains("unknown key `betta`") && unknown.contains("did you mean `beta`?"), "{unknown}");
    assert!(said("loss: { type: python, file: a.py, beta: -1 }").contains("must be at least 0"));
    // Where the keys do not depend on anything written, the usual schema holds.
    assert!(loaded("loss: { type: python, other: 1 }", &[]).is_ok());
}

#[test]
fn what_is_wrong_with_the_file_is_said_at_its_key() {
    let said = loaded("loss:\n  type: python\n  file: gone.py", &[]).unwrap_err();
    assert!(
        said.contains("no file in `a/b`") && said.contains("a/b/x.yaml:3:3") && said.contains("look again"),
        "{said}"
    );
    let said = loaded("loss: { type: python }", &["loss.file=gone.py"]).unwrap_err();
    assert!(said.contains("no file in ``") && said.contains("override"), "{said}");
}
