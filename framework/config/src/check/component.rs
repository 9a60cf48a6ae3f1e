//! Components: a plugin's name, or a map with its `type` and its keys.

use super::{Checker, Spot};
use crate::node::{Kind, Map, Node};
use crate::problem::note;
use crate::schema::resolve;
use crate::{Written, show, suggest};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};
use std::rc::Rc;

impl Checker<'_> {
    /// Gives the map form, `type` first, whichever form was written.
    pub(super) fn component(&mut self, node: &Node, kind: &str, spot: &Spot<'_>) -> Yaml {
        let none = Map::new();
        let (name, place, keys) = match &node.kind {
            Kind::Str(name) => (name, spot.place, &none),
            Kind::Map(map) => match map.get("type") {
                Some(entry) => match &entry.node.kind {
                    Kind::Str(name) => (name, &entry.key, map),
                    _ => {
                        let found = entry.node.describe();
                        let message =
                            format!("`{}.type` is {found}, but takes the name of {}", spot.path, show::article(kind));
                        self.problem(&spot.child("type", &entry.key, false), message, self.known(kind));
                        return node.to_yaml();
                    }
                },
                None => {
                    if !self.ignore_missing {
                        let message =
                            format!("{} has no `type`, which says which {} it is", spot.name(), show::noun(kind));
                        self.problem(spot, message, self.meant_type(kind, map));
                    }
                    return node.to_yaml();
                }
            },
            _ => return node.to_yaml(),
        };
        let names = self.catalog.names(kind);
        if !names.contains(name) {
            let message = format!("no {} is called `{}`", show::noun(kind), show::short(name));
            let known = || {
                if name == "python" {
                    return "plugins in Python need the foil that pip installs: pip install foil-train".to_string();
                }
                let known = suggest::suggest(name, &names, &format!("known {}", show::plural(kind)));
                if known.starts_with("did you mean") { known } else { known + "; `plugins: [FILE]` loads more" }
            };
            let help = suggest::space_after_colon(name).unwrap_or_else(known);
            self.problem(&Spot { place, ..spot.clone() }, message, help);
            return node.to_yaml();
        }
        let before = self.problems.len();
        let mut whole = Mapping::new();
        whole.insert(Yaml::from("type"), Yaml::from(name.as_str()));
        let schema = match self.catalog.schema_of(kind, name, &written(keys)) {
            None => self.schema(kind, name),
            Some(Ok(schema)) => Some(Rc::new(schema)),
            Some(Err(problem)) => {
                let place = keys.get(&problem.path).map_or(place, |entry| &entry.key);
                self.problem(&Spot { place, ..spot.clone() }, problem.message, problem.help.unwrap_or_default());
                return node.to_yaml();
            }
        };
        match schema {
            Some(schema) => {
                let spot = Spot { plugin: Some((kind, name)), ..spot.clone() };
                whole.extend(self.object(keys, &resolve(&schema, &schema), &schema, &spot));
                fill(&mut whole, &schema);
            }
            None => whole.extend(keys.iter().map(|(key, entry)| (Yaml::from(key.as_str()), entry.node.to_yaml()))),
        }
        let whole = Yaml::Mapping(whole);
        if self.problems.len() == before && !self.ignore_missing {
            let place = |path: &str| node.nearest(path.strip_prefix(&spot.path).unwrap_or_default(), spot.place).0;
            for problem in self.catalog.check(kind, &spot.path, &whole, &|path| place(path).folder()) {
                let place = place(&problem.path);
                note(&mut self.problems, problem.at(&place));
            }
        }
        whole
    }

    /// Whether it is text that is neither a plugin's name nor similar to one.
    pub(super) fn names_nothing(&self, node: &Node, kind: &str) -> bool {
        let names = self.catalog.names(kind);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let Kind::Str(text) = &node.kind else { return false };
        !names.contains(&text.as_str()) && suggest::did_you_mean(text, &names).is_none()
    }

    /// A guess at what a map without `type` was meant to be: `typ: pgd`, or `pgd: { … }` as in
    /// other tools.
    fn meant_type(&self, kind: &str, map: &Map) -> String {
        let names = self.catalog.names(kind);
        let known = self.known(kind);
        if let Some(name) = map.keys().find(|key| names.contains(key)) {
            return format!("write `type: {name}` with its keys beside it; {known}");
        }
        match map.keys().find(|key| suggest::did_you_mean(key, &["type"]).is_some()) {
            Some(key) => format!("did you mean `type` in place of `{}`? {known}", show::short(key)),
            None => known,
        }
    }

    pub(super) fn known(&self, kind: &str) -> String {
        format!("known {}: {}", show::plural(kind), show::list(&self.catalog.names(kind)))
    }

    /// Cached: making a schema costs more than using it.
    fn schema(&mut self, kind: &str, name: &str) -> Option<Rc<Json>> {
        let catalog = self.catalog;
        let key = (kind.to_string(), name.to_string());
        self.schemas.entry(key).or_insert_with(|| catalog.schema(kind, name).map(Rc::new)).clone()
    }
}

/// The texts under a plugin's keys.
fn written(keys: &Map) -> Vec<Written> {
    let texts = keys.iter().filter_map(|(key, entry)| match &entry.node.kind {
        Kind::Str(text) => Some((key, text, &entry.node.place)),
        _ => None,
    });
    texts.map(|(key, text, place)| Written { key: key.clone(), text: text.clone(), folder: place.folder() }).collect()
}

/// Adds the defaults of keys that are left out, and writes numbers alike, where the schema asks
/// for that: the same settings then have the same text.
fn fill(whole: &mut Mapping, schema: &Json) {
    if schema.get("x-fill").is_none() {
        return;
    }
    for (key, about) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let number = about.get("type").and_then(Json::as_str) == Some("number");
        if let Some(value) = whole.get_mut(key.as_str())
            && let (true, Some(float)) = (number, value.as_f64())
        {
            *value = Yaml::from(float);
        }
        if let (Some(default), false) = (about.get("default"), whole.contains_key(key.as_str())) {
            whole.insert(Yaml::from(key.as_str()), serde_yaml::to_value(default).unwrap_or_default());
        }
    }
}
