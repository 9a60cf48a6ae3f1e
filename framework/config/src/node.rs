//! A YAML value that remembers where it was written.

use crate::place::Place;
use crate::{scalar, show};
use indexmap::IndexMap;
use serde_yaml::{Mapping, Number, Value};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// Within `i64::MIN..=u64::MAX`.
    Int(i128),
    Float(f64),
    Str(String),
    Seq(Vec<Node>),
    Map(Map),
}

/// Keys in the order in which they were written.
pub(crate) type Map = IndexMap<String, Entry>;

/// What a key holds. Problems with it are shown at the key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: Place,
    pub node: Node,
}

/// Equal in value, wherever written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// Equal in value, wherever written.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Node {
    pub fn new(place: &Place, kind: Kind) -> Self {
        Self { place: place.clone(), kind }
    }

    /// The name under `type`, or the text itself, which is short for a map with that `type`.
    pub fn component_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(name) => Some(name),
            Kind::Map(map) => type_of(map),
            _ => None,
        }
    }

    /// The place of what stands at `path` below this node, or around it as far as that was written;
    /// and whether it was all. The node itself is shown at `here`.
    pub fn nearest(&self, path: &str, here: &Place) -> (Place, bool) {
        let (mut node, mut place) = (self, here);
        for key in path.split('.').filter(|key| !key.is_empty()) {
            let next = match &node.kind {
                Kind::Map(map) => map.get(key).map(|entry| (&entry.node, &entry.key)),
                Kind::Seq(items) => key.parse().ok().and_then(|n: usize| items.get(n)).map(|item| (item, &item.place)),
                Kind::Str(_) if key == "type" => Some((node, place)),
                _ => None,
            };
            match next {
                Some((inner, at)) => (node, place) = (inner, at),
                None => return (place.clone(), false),
            }
        }
        (place.clone(), true)
    }

    /// Its description in messages: `3`, `the text `ten``, `a list`.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "empty".to_string(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Int(_) | Kind::Float(_) => self.written(),
            Kind::Str(text) => format!("the text `{}`", show::short(text)),
            Kind::Seq(_) => "a list".to_string(),
            Kind::Map(_) => "a map of keys".to_string(),
        }
    }

    /// A number or a truth value as it was written, such as `1e5` or `0x1F`, so that quoting it
    /// gives exactly this text.
    pub fn written(&self) -> String {
        let word = self.place.word();
        match &self.kind {
            kind if scalar::plain(word) == *kind => word.to_string(),
            // BackgroundWriter a tag or an alias, say.
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => float(*value),
            Kind::Bool(value) => value.to_string(),
            _ => self.describe(),
        }
    }

    /// A scalar as it was written: `8/255`, `0.30`, `ten`.
    pub fn text(&self) -> String {
        match &self.kind {
            Kind::Str(text) => text.clone(),
            _ => self.written(),
        }
    }

    /// The value alone, as a message quotes it: `` `ten` ``, 3.
    pub fn quote(&self) -> String {
        match &self.kind {
            Kind::Str(text) => format!("`{}`", show::short(text)),
            _ => self.describe(),
        }
    }

    /// The same value without places.
    pub fn to_yaml(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => Value::Number(match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => Number::from(value),
                (_, Ok(value)) => Number::from(value),
                _ => Number::from(*value as f64),
            }),
            Kind::Float(value) => Value::Number(Number::from(*value)),
            Kind::Str(text) => Value::String(text.clone()),
            Kind::Seq(items) => Value::Sequence(items.iter().map(Self::to_yaml).collect()),
            Kind::Map(map) => {
                let pairs = map.iter().map(|(key, entry)| (Value::String(key.clone()), entry.node.to_yaml()));
                Value::Mapping(pairs.collect::<Mapping>())
            }
        }
    }
}

/// The text under `type`.
pub(crate) fn type_of(map: &Map) -> Option<&str> {
    match map.get("type").map(|entry| &entry.node.kind) {
        Some(Kind::Str(name)) => Some(name),
        _ => None,
    }
}

/// As YAML writes it.
fn float(value: f64) -> String {
    match value {
        _ if value.is_nan() => ".nan".to_string(),
        f64::INFINITY => ".inf".to_string(),
        f64::NEG_INFINITY => "-.inf".to_string(),
        _ => format!("{value:?}"),
    }
}
