//! A row of one entry by one of its keys: `pgd20: { eps: [2/255, 4/255] }` under `attacks` is short
//! for `pgd20@2/255` and `pgd20@4/255`, and `evaluate: [pgd20]` for both.
//!
//! The schema says where: `x-row: { key: eps, listed: evaluate }` at a map whose values are
//! plugins.

use crate::node::{Entry, Kind, Map, Node};
use crate::problem::Problem;
use serde_json::Value as Json;

/// A row is for a table; more values are a sweep.
const LONGEST: usize = 64;

/// Writes the rows of the whole tree out, and what is wrong with them to `problems`.
pub(crate) fn expand(root: &mut Node, schema: &Json, problems: &mut Vec<Problem>) {
    let Kind::Map(top) = &mut root.kind else { return };
    let properties = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
    let rows = properties.filter_map(|(name, schema)| {
        let row = schema.get("x-row")?;
        Some((name, row.get("key")?.as_str()?, row.get("listed")?.as_str()?))
    });
    for (name, key, listed) in rows {
        let Some(Kind::Map(entries)) = top.get_mut(name).map(|entry| &mut entry.node.kind) else { continue };
        let written = write_out(entries, name, key, problems);
        if let Some(Kind::Seq(items)) = top.get_mut(listed).map(|entry| &mut entry.node.kind) {
            list(items, &written);
        }
    }
}

/// A row's name, and those of what it is short for.
type Row = (String, Vec<String>);

/// Replaces the rows among `entries`, which are under `path`.
fn write_out(entries: &mut Map, path: &str, key: &str, problems: &mut Vec<Problem>) -> Vec<Row> {
    let mut written = Vec::new();
    for (name, entry) in std::mem::take(entries) {
        let values = match &entry.node.kind {
            Kind::Map(map) => map.get(key).and_then(|value| match &value.node.kind {
                Kind::Seq(values) => Some((value.key.clone(), values.clone())),
                _ => None,
            }),
            _ => None,
        };
        let Some((place, values)) = values else {
            entries.insert(name, entry);
            continue;
        };
        let at = format!("{path}.{name}.{key}");
        if values.is_empty() || values.len() > LONGEST {
            let message = format!("`{at}` is a list of {}; a row has 1 to {LONGEST} values", values.len());
            problems
                .push(Problem::new(at, message, "write one number, or several: `[2/255, 4/255, 8/255]`").at(&place));
            continue;
        }
        let mut row = Vec::new();
        for value in values {
            if matches!(value.kind, Kind::Seq(_) | Kind::Map(_)) {
                let message = format!("`{at}` holds {}, but a row is a list of numbers", value.describe());
                problems.push(Problem::new(&at, message, "write `[2/255, 4/255, 8/255]`").at(&value.place));
                continue;
            }
            let one = format!("{name}@{}", value.text());
            if entries.contains_key(&one) {
                let message = format!("`{at}` names {} twice", value.text());
                problems.push(Problem::new(&at, message, "leave one out").at(&value.place));
                continue;
            }
            let mut of_one = entry.clone();
            if let Kind::Map(map) = &mut of_one.node.kind {
                map.insert(key.to_string(), Entry { key: place.clone(), node: value });
            }
            entries.insert(one.clone(), of_one);
            row.push(one);
        }
        written.push((name, row));
    }
    written
}

/// Names in a list what its rows are short for.
fn list(items: &mut Vec<Node>, rows: &[Row]) {
    let of = |item: &Node| rows.iter().find(|(name, _)| item.kind == Kind::Str(name.clone()));
    *items = std::mem::take(items)
        .into_iter()
        .flat_map(|item| match of(&item) {
            Some((_, names)) => names.iter().map(|name| Node::new(&item.place, Kind::Str(name.clone()))).collect(),
            None => vec![item],
        })
        .collect();
}
