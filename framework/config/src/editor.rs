//! One self-contained JSON Schema for editors, which complete and check while one types.
//!
//! It agrees with the checker, with one difference: no key is required, because a base or an
//! override may provide it. `foil check` finds missing keys.

use crate::{Catalog, show};
use serde_json::{Map, Value, json};

/// A fraction such as `8/255`, as [`fraction`](crate::fraction) reads it, except for a zero
/// denominator.
const FRACTION: &str = r"^\s*-?([0-9]+\.?[0-9]*|\.[0-9]+)\s*/\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*$";

/// A plugin whose keys depend on the file that a pipeline names under its key `file`.
#[derive(Debug, Clone)]
pub struct OfFile {
    /// The kind, such as `loss`.
    pub kind: String,
    /// The plugin's name, such as `python`.
    pub plugin: String,
    /// The file; a pipeline may name it with another folder.
    pub file: String,
    /// The schema of its keys.
    pub schema: Value,
}

impl OfFile {
    fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or_default()
    }

    /// What a pipeline writes under `file`.
    fn pattern(&self) -> String {
        let escaped = self.name().chars().map(|c| match r"\^$.*+?()[]{}|/".contains(c) {
            true => format!("\\{c}"),
            false => c.to_string(),
        });
        format!("(^|/){}$", escaped.collect::<String>())
    }
}

/// The schema of a whole pipeline (draft 2020-12) with every plugin of the catalog in it, and those
/// that are `of_files`.
///
/// `x-component: attack` becomes a reference to `$defs/component.attack`, which takes any attack's
/// name or its map; definitions of plugins are renamed to `component.attack.pgd.Start`, so that two
/// plugins may each have a `Start`.
pub fn editor_schema(root: &Value, catalog: &dyn Catalog, of_files: &[OfFile]) -> Value {
    let mut editor = Editor { catalog, of_files, definitions: Map::new(), kinds: Vec::new() };
    let mut whole = editor.part(root, "");
    editor.definitions_of(root, "");
    let mut done = 0;
    while let Some(kind) = editor.kinds.get(done).cloned() {
        editor.kind(&kind);
        done += 1;
    }
    if let Some(map) = whole.as_object_mut() {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        if let Some(properties) = map.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
            properties.insert("extends".into(), extends());
        }
        map.insert("$defs".into(), Value::Object(editor.definitions));
    }
    whole
}

fn extends() -> Value {
    json!({
        "description": "The file that this one builds on, or several; paths are relative to this file. Maps merge; values in this file win.",
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
    })
}

struct Editor<'c> {
    catalog: &'c dyn Catalog,
    of_files: &'c [OfFile],
    definitions: Map<String, Value>,
    /// Component kinds that were met, each once, in that order.
    kinds: Vec<String>,
}

impl Editor<'_> {
    /// A schema with its references renamed. `prefix` is empty for the pipeline,
    /// `component.attack.pgd.` for a plugin.
    fn part(&mut self, schema: &Value, prefix: &str) -> Value {
        let Value::Object(map) = schema else { return schema.clone() };
        let mut part = Map::new();
        for (keyword, value) in map {
            match (keyword.as_str(), value) {
                ("$schema" | "$defs" | "required", _) => {}
                ("const" | "enum" | "default" | "examples", _) => {
                    part.insert(keyword.clone(), value.clone());
                }
                ("$ref", Value::String(target)) => {
                    part.insert(keyword.clone(), renamed(target, prefix));
                }
                ("x-component", Value::String(kind)) => {
                    if !self.kinds.contains(kind) {
                        self.kinds.push(kind.clone());
                    }
                    part.insert("$ref".into(), reference(&format!("component.{kind}")));
                }
                ("properties" | "patternProperties", Value::Object(keys)) => {
                    let keys = keys.iter().map(|(key, schema)| (key.clone(), self.part(schema, prefix)));
                    part.insert(keyword.clone(), Value::Object(keys.collect()));
                }
                ("additionalProperties", _) if map.contains_key("x-row") => {
                    let row = map["x-row"].get("key").and_then(Value::as_str).unwrap_or_default();
                    let one = self.part(value, prefix);
                    let list = json!({ "type": "array", "minItems": 1 });
                    let many = json!({ "type": "object", "required": [row], "properties": { row: list } });
                    part.insert(keyword.clone(), json!({ "anyOf": [one, many] }));
                }
                (_, Value::Array(items)) => {
                    let items = items.iter().map(|item| self.part(item, prefix));
                    part.insert(keyword.clone(), Value::Array(items.collect()));
                }
                _ => {
                    part.insert(keyword.clone(), self.part(value, prefix));
                }
            }
        }
        allow_fractions(&mut part);
        Value::Object(part)
    }

    fn definitions_of(&mut self, root: &Value, prefix: &str) {
        for (name, schema) in root.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            let schema = self.part(schema, prefix);
            self.definitions.insert(format!("{prefix}{name}"), schema);
        }
    }

    /// Defines a kind: the names of its plugins, or one of their maps.
    fn kind(&mut self, kind: &str) {
        let names = self.catalog.names(kind);
        let mut options = match names.is_empty() {
            true => vec![json!({ "type": "string" })],
            false => vec![json!({ "type": "string", "enum": &names })],
        };
        for name in &names {
            let definition = format!("component.{kind}.{name}");
            options.push(json!({ "$ref": reference(&definition) }));
            let schema = self.catalog.schema(kind, name).unwrap_or_else(|| json!({}));
            let mut plugin = self.plugin(name, &schema, &format!("{definition}."));
            for one in self.of_files.iter().filter(|one| one.kind == kind && one.plugin == *name) {
                let named = json!({ "properties": { "file": { "pattern": one.pattern() } }, "required": ["file"] });
                let own = format!("{definition}.{}", one.name());
                let mut whole = self.plugin(name, &one.schema, &format!("{own}."));
                add(&mut whole, "allOf", named.clone());
                add(&mut plugin, "allOf", json!({ "not": named }));
                options.push(json!({ "$ref": reference(&own) }));
                self.definitions.insert(own, whole);
            }
            self.definitions.insert(definition, plugin);
        }
        let description = format!("The name of {}, or a map with its `type` and its keys.", show::article(kind));
        self.definitions.insert(format!("component.{kind}"), json!({ "description": description, "anyOf": options }));
    }

    /// A plugin's map: its own keys and `type`.
    fn plugin(&mut self, name: &str, schema: &Value, prefix: &str) -> Value {
        self.definitions_of(schema, prefix);
        let own = self.part(schema, prefix);
        let mut keys = Map::new();
        keys.insert("type".into(), json!({ "const": name }));
        let mut map = own.as_object().cloned().unwrap_or_default();
        if let Some(Value::Object(properties)) = map.remove("properties") {
            keys.extend(properties);
        }
        map.insert("type".into(), json!("object"));
        map.insert("properties".into(), Value::Object(keys));
        Value::Object(map)
    }
}

/// Adds a schema to a list of them under a keyword.
fn add(schema: &mut Value, keyword: &str, one: Value) {
    let list = schema.as_object_mut().map(|map| map.entry(keyword).or_insert_with(|| json!([])));
    if let Some(Value::Array(list)) = list {
        list.push(one);
    }
}

/// A number may also be text of the right form; `minimum` and similar keywords ignore text.
fn allow_fractions(part: &mut Map<String, Value>) {
    let is_number = |value: &Value| value == "number";
    let types = match part.get("type") {
        Some(value) if is_number(value) => vec![value.clone()],
        Some(Value::Array(types)) if types.iter().any(is_number) => types.clone(),
        _ => return,
    };
    let text = json!("string");
    if !types.contains(&text) {
        part.insert("type".into(), types.into_iter().chain([text]).collect());
        part.insert("pattern".into(), json!(FRACTION));
    }
}

fn reference(definition: &str) -> Value {
    Value::String(format!("#/$defs/{}", definition.replace('~', "~0").replace('/', "~1")))
}

/// `#/$defs/Start` under a prefix; `#` itself is the plugin's definition.
fn renamed(target: &str, prefix: &str) -> Value {
    match target.strip_prefix("#/$defs/") {
        Some(name) => {
            let prefix = prefix.replace('~', "~0").replace('/', "~1");
            Value::String(format!("#/$defs/{prefix}{name}"))
        }
        None if target == "#" && !prefix.is_empty() => reference(prefix.trim_end_matches('.')),
        None => Value::String(target.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Catalog for Two {
        fn names(&self, kind: &str) -> Vec<String> {
            if kind == "attack" { vec!["pgd".into(), "calibrated".into()] } else { Vec::new() }
        }

        fn schema(&self, _: &str, name: &str) -> Option<Value> {
            let start = |words: [&str; 2]| json!({ "Start": { "type": "string", "enum": words } });
            Some(match name {
                "pgd" => json!({
                    "description": "Steps.", "type": "object", "additionalProperties": false, "required": ["eps"],
                    "properties": { "eps": { "type": "number", "maximum": 1 }, "start": { "$ref": "#/$defs/Start" } },
                    "$defs": start(["uniform", "none"]),
                }),
                _ => json!({
                    "properties": { "inner": { "x-component": "attack" }, "start": { "$ref": "#/$defs/Start" } },
                    "$defs": start(["a", "b"]),
                }),
            })
        }
    }

    fn schema() -> Value {
        let root = json!({
            "type": "object", "additionalProperties": false, "required": ["attack"],
            "properties": {
                "attack": { "description": "What perturbs.", "x-component": "attack" },
                "required": { "type": "boolean" },
                "lr": { "anyOf": [{ "type": "number" }, { "x-component": "scheduler" }] },
                "start": { "$ref": "#/$defs/Start" },
            },
            "$defs": { "Start": { "type": ["number", "null"] } },
        });
        editor_schema(&root, &Two, &[])
    }

    // A pipeline that names the file gets that file's keys, and no others; any other file, all.
    #[test]
    fn a_plugin_has_the_keys_of_its_file() {
        let file = OfFile {
            kind: "attack".into(),
            plugin: "calibrated".into(),
            file: "mine/my-attack.py".into(),
            schema: json!({
                "properties": { "file": { "type": "string" }, "beta": { "type": "number", "minimum": 0 } },
                "required": ["file"], "additionalProperties": false,
            }),
        };
        let root = json!({ "properties": { "attack": { "x-component": "attack" } } });
        let definitions = &editor_schema(&root, &Two, &[file])["$defs"];
        let own = &definitions["component.attack.calibrated.my-attack.py"];
        assert_eq!(own["properties"]["beta"]["minimum"], 0);
        assert_eq!(own["additionalProperties"], false);
        let named = json!({ "properties": { "file": { "pattern": r"(^|/)my-attack\.py$" } }, "required": ["file"] });
        assert_eq!(own["allOf"], json!([named]));
        assert_eq!(definitions["component.attack.calibrated"]["allOf"], json!([{ "not": named }]));
        let options = definitions["component.attack"]["anyOf"].as_array().unwrap();
        assert!(options.contains(&json!({ "$ref": "#/$defs/component.attack.calibrated.my-attack.py" })));
        assert!(definitions["component.attack.pgd"].get("allOf").is_none());
    }

    #[test]
    fn every_reference_has_its_definition() {
        fn targets(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => found.push(target.clone()),
                    _ => targets(value, found),
                }),
                Value::Array(items) => items.iter().for_each(|item| targets(item, found)),
                _ => {}
            }
        }
        let schema = schema();
        let mut found = Vec::new();
        targets(&schema, &mut found);
        assert_eq!(found.len(), 8, "{found:?}");
        for target in found {
            assert!(schema.pointer(&target[1..]).is_some(), "{target} leads nowhere");
        }
        assert!(!schema.to_string().contains("x-component"));
    }

    #[test]
    fn plugins_with_the_same_definition_keep_their_own() {
        let definitions = &schema()["$defs"];
        assert_eq!(definitions["component.attack.pgd.Start"]["enum"], json!(["uniform", "none"]));
        assert_eq!(definitions["component.attack.calibrated.Start"]["enum"], json!(["a", "b"]));
        assert_eq!(definitions["Start"]["type"], json!(["number", "null", "string"]));
    }

    #[test]
    fn a_component_is_a_name_or_a_map_with_its_type() {
        let schema = schema();
        let attack = &schema["properties"]["attack"];
        assert_eq!(*attack, json!({ "description": "What perturbs.", "$ref": "#/$defs/component.attack" }));
        let options = &schema["$defs"]["component.attack"]["anyOf"];
        assert_eq!(options[0]["enum"], json!(["pgd", "calibrated"]));
        let pgd = &schema["$defs"]["component.attack.pgd"];
        assert_eq!(pgd["properties"]["type"], json!({ "const": "pgd" }));
        assert_eq!(pgd["description"], "Steps.");
        assert_eq!(pgd["additionalProperties"], false);
    }

    #[test]
    fn nothing_is_required_and_a_base_may_be_named() {
        let schema = schema();
        assert!(schema.get("required").is_none());
        assert_eq!(
            schema["properties"]["required"],
            json!({ "type": "boolean" }),
            "a key called `required` stays a key"
        );
        assert!(schema["properties"]["extends"].is_object());
    }

    #[test]
    fn numbers_may_be_fractions() {
        let eps = &schema()["$defs"]["component.attack.pgd"]["properties"]["eps"];
        assert_eq!(*eps, json!({ "type": ["number", "string"], "maximum": 1, "pattern": FRACTION }));
    }
}
