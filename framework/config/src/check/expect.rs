//! What a schema takes, in words.

use crate::node::{Kind, Node};
use crate::schema::{Keywords, Shape, accepts, component, literals, types};
use crate::{show, suggest};
use serde_json::Value as Json;

/// `` a number from 0 to 1, or a scheduler (its name, or a map with `type`) ``.
pub(super) fn any_of(options: &[Keywords<'_>]) -> String {
    let mut phrases: Vec<String> = Vec::new();
    let listed: Vec<String> = options.iter().filter_map(literals).flatten().map(literal).collect();
    for option in options.iter().filter(|option| literals(option).is_none()) {
        for phrase in one(option) {
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
    }
    match listed.as_slice() {
        [] => {}
        [single] => phrases.push(format!("`{single}`")),
        many => phrases.push(format!("one of {}", show::list(many))),
    }
    if phrases.is_empty() { "another value".to_string() } else { phrases.join(", or ") }
}

/// `` `steps` takes a whole number from 0 to 100, 10 if left out: Number of steps ``.
pub(super) fn manual(name: &str, keywords: &Keywords<'_>, options: &[Keywords<'_>]) -> String {
    let default = match keywords.get("default") {
        Some(Json::Number(number)) => number.as_f64().map(|value| value.to_string()),
        Some(value @ (Json::String(_) | Json::Bool(_))) => Some(literal(value)),
        _ => None,
    };
    let default = default.map(|value| format!(", {value} if left out")).unwrap_or_default();
    // The first paragraph of the doc comment, however its lines are wrapped.
    let paragraph = |text: &str| text.lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
    let about = keywords.get("description").and_then(Json::as_str).map(paragraph);
    let about = about.map(|text| format!(": {}", text.trim_end_matches('.'))).unwrap_or_default();
    format!("{name} takes {}{default}{about}", any_of(options))
}

/// `null` is not listed: users leave the key out instead.
fn one(keywords: &Keywords<'_>) -> Vec<String> {
    if let Some(kind) = component(keywords) {
        return vec![format!("{} (its name, or a map with `type`)", show::article(kind))];
    }
    let phrase = |name: &&str| {
        Some(match *name {
            "number" => with_bounds("a number", keywords),
            "integer" => with_bounds("a whole number", keywords),
            "string" => "text".to_string(),
            "boolean" => "`true` or `false`".to_string(),
            "array" => "a list".to_string(),
            "object" => "a map of keys".to_string(),
            _ => return None,
        })
    };
    types(keywords).iter().filter_map(phrase).collect()
}

fn with_bounds(noun: &str, keywords: &Keywords<'_>) -> String {
    match bounds(keywords) {
        Some(bounds) if bounds.starts_with("at ") => format!("{noun} of {bounds}"),
        Some(bounds) => format!("{noun} {bounds}"),
        None => noun.to_string(),
    }
}

/// `from 0 to 1`, `above 0 and at most 1`, `at least 1`.
pub(super) fn bounds(keywords: &Keywords<'_>) -> Option<String> {
    let bound = |key: &str| keywords.get(key).and_then(Json::as_f64).map(|value| value.to_string());
    if let (Some(low), Some(high), None, None) =
        (bound("minimum"), bound("maximum"), bound("exclusiveMinimum"), bound("exclusiveMaximum"))
    {
        return Some(format!("from {low} to {high}"));
    }
    let phrases =
        [("at least", "minimum"), ("above", "exclusiveMinimum"), ("at most", "maximum"), ("below", "exclusiveMaximum")];
    let said: Vec<String> =
        phrases.iter().filter_map(|(words, key)| bound(key).map(|value| format!("{words} {value}"))).collect();
    (!said.is_empty()).then(|| said.join(" and "))
}

/// `2 to 4`, `at least 1`.
pub(super) fn count(least: usize, most: usize) -> String {
    match (least, most) {
        _ if least == most => least.to_string(),
        (_, usize::MAX) => format!("at least {least}"),
        (0, _) => format!("at most {most}"),
        _ => format!("{least} to {most}"),
    }
}

/// A listed value as YAML writes it.
pub(super) fn literal(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How to turn the value into a valid one, if that can be guessed.
pub(super) fn repair(node: &Node, options: &[Keywords<'_>], optional: bool) -> String {
    let takes = |shape| {
        let plain = options.iter().filter(|option| literals(option).is_none() && component(option).is_none());
        plain.into_iter().any(|option| accepts(option, shape))
    };
    match &node.kind {
        Kind::Null if optional => "give it a value, or leave the key out".to_string(),
        Kind::Null => "give it a value".to_string(),
        Kind::Str(text) if takes(Shape::Map) => suggest::space_after_colon(text).unwrap_or_default(),
        Kind::Str(text) if takes(Shape::Bool) => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" => "write `true`".to_string(),
            "no" | "off" | "n" => "write `false`".to_string(),
            _ => String::new(),
        },
        Kind::Str(text) if takes(Shape::Number) && text.contains('/') => {
            "a fraction is two plain numbers, the second not 0: `8/255`".to_string()
        }
        Kind::Str(text) if takes(Shape::List) => format!("write a list: [{}]", show::short(text)),
        Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) if takes(Shape::Text) => {
            format!("quote it to make it text: \"{}\"", node.written())
        }
        _ => String::new(),
    }
}
