//! Reading a JSON Schema as schemars writes it.

use crate::node::Kind;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A schema's keywords, with `$ref` and `allOf` folded in.
pub(crate) type Keywords<'s> = Cow<'s, Map<String, Value>>;

/// How many references are followed before it must be a cycle.
const HOPS: usize = 32;

/// The keywords of `schema`; `$ref` points into `root`. A boolean schema has none.
pub(crate) fn resolve<'s>(schema: &'s Value, root: &Value) -> Keywords<'s> {
    match schema.as_object() {
        None => Cow::Owned(Map::new()),
        Some(map) if !map.contains_key("$ref") && !map.contains_key("allOf") => Cow::Borrowed(map),
        Some(map) => {
            let mut folded = Map::new();
            fold(map, root, HOPS, &mut folded);
            Cow::Owned(folded)
        }
    }
}

/// Keywords beside a `$ref` refine it: later keywords replace, `properties` and `required` add up.
fn fold(map: &Map<String, Value>, root: &Value, hops: usize, into: &mut Map<String, Value>) {
    if hops == 0 {
        return;
    }
    let target = map.get("$ref").and_then(Value::as_str).and_then(|pointer| lookup(pointer, root));
    let parts = map.get("allOf").and_then(Value::as_array).into_iter().flatten();
    for part in target.into_iter().chain(parts).filter_map(Value::as_object) {
        fold(part, root, hops - 1, into);
    }
    for (key, value) in map.iter().filter(|(key, _)| !matches!(key.as_str(), "$ref" | "allOf")) {
        match (into.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) if key == "properties" => old.extend(new.clone()),
            (Some(Value::Array(old)), Value::Array(new)) if key == "required" => old.extend(new.iter().cloned()),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// `#` or `#/$defs/Name`.
fn lookup<'s>(pointer: &str, root: &'s Value) -> Option<&'s Value> {
    root.pointer(pointer.strip_prefix('#')?)
}

/// The schemas of which a value must meet one: nested `anyOf` and `oneOf` flattened, keywords
/// beside them copied in.
pub(crate) fn alternatives<'s>(keywords: Keywords<'s>, root: &Value) -> Vec<Keywords<'s>> {
    let mut found = Vec::new();
    flatten(keywords, root, HOPS, &mut found);
    found
}

fn flatten<'s>(keywords: Keywords<'s>, root: &Value, hops: usize, found: &mut Vec<Keywords<'s>>) {
    let options = keywords.get("anyOf").or_else(|| keywords.get("oneOf")).and_then(Value::as_array);
    let Some(options) = options.filter(|_| hops > 0) else {
        found.push(keywords);
        return;
    };
    for option in options {
        let mut merged = resolve(option, root).into_owned();
        for (key, value) in keywords.iter() {
            let own = matches!(key.as_str(), "anyOf" | "oneOf" | "title" | "$defs" | "$schema");
            if !own && !merged.contains_key(key) {
                merged.insert(key.clone(), value.clone());
            }
        }
        flatten(Cow::Owned(merged), root, hops - 1, found);
    }
}

/// The shapes of JSON values; integers are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
}

impl Shape {
    pub fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Null => Self::Null,
            Kind::Bool(_) => Self::Bool,
            Kind::Int(_) | Kind::Float(_) => Self::Number,
            Kind::Str(_) => Self::Text,
            Kind::Seq(_) => Self::List,
            Kind::Map(_) => Self::Map,
        }
    }

    fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Map,
        }
    }

    fn of_type(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Bool,
            "number" | "integer" => Self::Number,
            "string" => Self::Text,
            "array" => Self::List,
            "object" => Self::Map,
            _ => return None,
        })
    }
}

/// The component kind that a schema asks for.
pub(crate) fn component<'k>(keywords: &'k Keywords<'_>) -> Option<&'k str> {
    keywords.get("x-component").and_then(Value::as_str)
}

/// The values that a schema lists, if it lists them.
pub(crate) fn literals<'k>(keywords: &'k Keywords<'_>) -> Option<Vec<&'k Value>> {
    match (keywords.get("const"), keywords.get("enum").and_then(Value::as_array)) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(values)) => Some(values.iter().collect()),
        (None, None) => None,
    }
}

/// The names under `type`.
pub(crate) fn types<'k>(keywords: &'k Keywords<'_>) -> Vec<&'k str> {
    match keywords.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value of this shape can meet the schema at all.
pub(crate) fn accepts(keywords: &Keywords<'_>, shape: Shape) -> bool {
    if component(keywords).is_some() {
        return matches!(shape, Shape::Text | Shape::Map);
    }
    if let Some(values) = literals(keywords) {
        return values.iter().any(|value| Shape::of_json(value) == shape);
    }
    let named = types(keywords);
    if !named.is_empty() {
        return named.iter().any(|name| Shape::of_type(name) == Some(shape));
    }
    if keywords.contains_key("properties") { shape == Shape::Map } else { true }
}

/// Whether a value equals a listed one.
pub(crate) fn equals(kind: &Kind, literal: &Value) -> bool {
    match (kind, literal) {
        (Kind::Null, Value::Null) => true,
        (Kind::Bool(a), Value::Bool(b)) => a == b,
        (Kind::Str(a), Value::String(b)) => a == b,
        (Kind::Int(a), Value::Number(b)) => b.as_i128() == Some(*a),
        (Kind::Float(a), Value::Number(b)) => b.as_f64() == Some(*a),
        _ => false,
    }
}
