//! A config's keys for the manual, made from the JSON Schema that the checker uses, so that they
//! cannot disagree.

use super::article;
use serde_json::Value;

/// One key of a config.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its path: `eps`, or `train.epochs` inside a map.
    pub path: String,
    /// The values it takes: `a number or a scheduler`.
    pub takes: String,
    /// Its bounds, such as `at least 0`; empty if it has none.
    pub bounds: String,
    /// `image` for the [0, 1] scale of images, or a word such as `epochs`.
    pub unit: Option<String>,
    /// Its default.
    pub fallback: Fallback,
    /// What it means: its doc comment.
    pub about: String,
    /// The words it takes, each with its meaning; empty when it takes something else.
    pub choices: Vec<(String, String)>,
    /// The kinds of plugin it takes, such as `attack`.
    pub components: Vec<String>,
}

/// What happens when a key is left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Fallback {
    /// It is required.
    Required,
    /// It stays unset; the key's doc comment says what that means.
    Unset,
    /// This value, as in a config.
    Value(String),
}

/// The keys of a config's JSON Schema, in the order of its fields. Those of a map inside follow
/// that map.
pub fn keys(schema: &Value) -> Vec<Key> {
    let mut found = Vec::new();
    collect(schema, schema, "", &mut found);
    found
}

/// How deep maps inside maps are followed; recursive settings would never end.
const DEEPEST: usize = 4;

fn collect(root: &Value, schema: &Value, above: &str, found: &mut Vec<Key>) {
    let required: Vec<&str> = items(schema, "required").iter().filter_map(Value::as_str).collect();
    for (name, key) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner = resolved(root, key);
        let about = Some(text(key, "description")).filter(|text| !text.is_empty());
        let mut components = Vec::new();
        plugins(root, key, &mut components);
        found.push(Key {
            path: format!("{above}{name}"),
            takes: takes(root, key),
            bounds: bounds(key),
            unit: key.get("x-unit").and_then(Value::as_str).map(str::to_string),
            fallback: match key.get("default") {
                _ if required.contains(&name.as_str()) => Fallback::Required,
                None | Some(Value::Null) => Fallback::Unset,
                Some(value) => Fallback::Value(written(value)),
            },
            about: about.unwrap_or_else(|| text(inner, "description")).to_string(),
            choices: choices(inner),
            components,
        });
        if above.matches('.').count() < DEEPEST {
            collect(root, inner, &format!("{above}{name}."), found);
        }
    }
}

/// Resolves a reference, and `X or null`.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    if let Some(definition) = target.and_then(|at| root.pointer(at)) {
        return definition;
    }
    match alternatives(schema).as_slice() {
        [one] => resolved(root, one),
        _ => schema,
    }
}

/// The schemas of an `anyOf`, without null.
fn alternatives(schema: &Value) -> Vec<&Value> {
    items(schema, "anyOf").iter().filter(|one| text(one, "type") != "null").collect()
}

/// The values it takes, in words.
fn takes(root: &Value, schema: &Value) -> String {
    if let Some(kind) = schema.get("x-component").and_then(Value::as_str) {
        return article(kind);
    }
    let inner = resolved(root, schema);
    if !std::ptr::eq(inner, schema) {
        return takes(root, inner);
    }
    let several: Vec<String> = alternatives(schema).into_iter().map(|one| takes(root, one)).collect();
    if !several.is_empty() {
        return several.join(" or ");
    }
    if !choices(schema).is_empty() {
        return "one of these words".into();
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => Vec::new(),
    };
    let one = |name: &&str| match *name {
        "integer" => "a whole number".to_string(),
        "number" => "a number".to_string(),
        "boolean" => "true or false".to_string(),
        "string" => "text".to_string(),
        "array" => match schema.get("items") {
            Some(item) => match takes(root, item) {
                each if each.is_empty() => "a list".to_string(),
                each => format!("a list, each {each}"),
            },
            None => "a list".to_string(),
        },
        _ => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => format!("a map from names of your own, each to {}", takes(root, values)),
            None => "a map".to_string(),
        },
    };
    types.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// The kinds of plugin that a value, or the values in it, may be.
fn plugins(root: &Value, schema: &Value, kinds: &mut Vec<String>) {
    let inner = resolved(root, schema);
    if let Some(kind) = inner.get("x-component").and_then(Value::as_str) {
        kinds.push(kind.to_string());
    }
    let parts = items(inner, "anyOf").iter().chain(inner.get("items")).chain(inner.get("additionalProperties"));
    parts.filter(|part| part.is_object()).for_each(|part| plugins(root, part, kinds));
}

fn bounds(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).map(written);
    match (bound("minimum"), bound("exclusiveMinimum"), bound("maximum"), bound("exclusiveMaximum")) {
        (Some(low), _, Some(high), _) => format!("{low} to {high}"),
        (low, above, high, below) => [("at least", low), ("above", above), ("at most", high), ("below", below)]
            .into_iter()
            .filter_map(|(word, bound)| Some(format!("{word} {}", bound?)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The words of an enum, each with its doc comment.
fn choices(schema: &Value) -> Vec<(String, String)> {
    let word = |one: &Value| Some((one.get("const")?.as_str()?.to_string(), text(one, "description").to_string()));
    items(schema, "oneOf").iter().filter_map(word).collect()
}

/// A default or a bound as one would write it: `8/255`, `ce`, `[1, 2]`, `{ type: pgd, steps: 10 }`.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().filter(|n| n.abs() < 1e15).map_or(number.to_string(), |n| n.to_string())
        }
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => match map.get("type").filter(|_| map.len() == 1) {
            Some(name) => written(name),
            None if map.is_empty() => "{}".into(),
            None => {
                let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", written(value))).collect();
                format!("{{ {} }}", pairs.join(", "))
            }
        },
        other => other.to_string(),
    }
}

fn items<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_follow_a_scheduler() {
        let schema = schemars::schema_for!(crate::scheduler::Scheduled).to_value();
        let lr = keys(&serde_json::json!({ "properties": { "lr": schema } })).remove(0);
        assert_eq!(lr.takes, "a number or a scheduler");
        assert_eq!(lr.components, ["scheduler"]);
    }
}
