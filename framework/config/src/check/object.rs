//! Maps: keys that are known, unknown or missing.

use super::{Checker, Spot, expect};
use crate::node::{Kind, Map};
use crate::place::Place;
use crate::schema::{Keywords, Shape, accepts, alternatives, component, resolve};
use crate::{show, suggest};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};

impl Checker<'_> {
    /// Checks the keys of a map. In a component, `type` has been checked before and is not a key
    /// of the plugin's schema.
    pub(super) fn object(&mut self, map: &Map, keywords: &Keywords<'_>, root: &Json, spot: &Spot<'_>) -> Mapping {
        let nothing = serde_json::Map::new();
        let properties = keywords.get("properties").and_then(Json::as_object).unwrap_or(&nothing);
        let required: Vec<&str> =
            keywords.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
        let closed = keywords.get("additionalProperties").or_else(|| keywords.get("unevaluatedProperties"));
        let of_plugin = spot.plugin.is_some();

        let mut checked = Mapping::new();
        let mut meant: Vec<&str> = Vec::new();
        for (key, entry) in map.iter().filter(|(key, _)| !(of_plugin && *key == "type")) {
            if self.is_full() {
                break;
            }
            let optional = !required.contains(&key.as_str());
            if entry.node.kind == Kind::Null
                && properties.get(key).is_some_and(|schema| optional && is_left_out(schema, root, &entry.key))
            {
                continue;
            }
            let child = spot.child(key, &entry.key, optional);
            let before = self.problems.len();
            let value = match (properties.get(key), closed) {
                (Some(schema), _) => self.value(&entry.node, schema, root, &child),
                (None, Some(Json::Bool(false))) => {
                    // A key in the same file cannot be the one that was meant; one in a base may
                    // be.
                    let beside = |key: &str| map.get(key).is_some_and(|e| e.key.source() == entry.key.source());
                    let free: Vec<&str> = properties.keys().map(String::as_str).filter(|key| !beside(key)).collect();
                    let suggestion = suggest::did_you_mean(key, &free);
                    meant.extend(suggestion);
                    self.unknown_key(key, suggestion, properties, &child, spot);
                    continue;
                }
                (None, Some(schema @ Json::Object(_))) => self.value(&entry.node, schema, root, &child),
                (None, _) => entry.node.to_yaml(),
            };
            // The rest is looked at as if a value that is refused had not been written.
            let whole = matches!(entry.node.kind, Kind::Seq(_));
            let refused = self.problems[before..].iter().any(|problem| whole || problem.path == child.path);
            if !(refused && properties.contains_key(key)) {
                checked.insert(Yaml::String(key.clone()), value);
            }
        }
        // A key that was misspelt is not reported a second time as missing.
        for key in required.into_iter().filter(|key| !map.contains_key(*key) && !meant.contains(key)) {
            if !self.ignore_missing {
                self.missing_key(key, properties.get(key), root, spot);
            }
        }
        checked
    }

    fn unknown_key(
        &mut self,
        key: &str,
        suggestion: Option<&str>,
        properties: &serde_json::Map<String, Json>,
        child: &Spot<'_>,
        spot: &Spot<'_>,
    ) {
        let mut keys: Vec<&str> = properties.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let owner = match spot.plugin {
            Some((_, name)) => format!("`{name}`"),
            None => spot.name(),
        };
        let takes = match keys.is_empty() {
            true => format!("{owner} takes no keys"),
            false => format!("{owner} takes: {}", show::list(&keys)),
        };
        let odd = suggest::look_alike(key).map_or(String::new(), |odd| odd + "; ");
        let help = match (suggestion, suggest::space_after_colon(key)) {
            _ if key == "extends" => "`extends` belongs at the top level of a file".to_string(),
            (Some(meant), _) => format!("{odd}did you mean `{meant}`? {takes}"),
            (None, Some(space)) => space,
            (None, None) => odd + &takes,
        };
        self.problem(child, format!("unknown key `{}` {}", show::short(key), container(spot)), help);
    }

    fn missing_key(&mut self, key: &str, schema: Option<&Json>, root: &Json, spot: &Spot<'_>) {
        let help = schema.map(|schema| {
            let keywords = resolve(schema, root);
            expect::manual(&format!("`{key}`"), &keywords, &alternatives(keywords.clone(), root))
        });
        self.problem(spot, format!("missing key `{key}` {}", container(spot)), help.unwrap_or_default());
    }
}

/// Whether an optional key without a value is as good as none: a section whose lines are all
/// comments, or an override `key=null`. A number without its value was more likely forgotten.
fn is_left_out(schema: &Json, root: &Json, key: &Place) -> bool {
    let options = alternatives(resolve(schema, root), root);
    let section = |option: &Keywords<'_>| component(option).is_none() && accepts(option, Shape::Map);
    !options.iter().any(|option| accepts(option, Shape::Null)) && (key.line().is_none() || options.iter().any(section))
}

/// `at the top level`, `in `train``, `in `attack` (attack `pgd`)`.
fn container(spot: &Spot<'_>) -> String {
    match spot.plugin {
        Some((kind, name)) => format!("in {} ({kind} `{name}`)", spot.name()),
        None if spot.path.is_empty() => "at the top level".to_string(),
        None => format!("in {}", spot.name()),
    }
}
