//! The tree against the schema: every problem is noted, and valid values are normalised on the
//! way.

mod component;
mod expect;
mod number;
mod object;

use crate::Catalog;
use crate::node::{Kind, Node};
use crate::place::Place;
use crate::problem::{Problem, Problems, note};
use crate::scalar;
use crate::schema::{Keywords, Shape, accepts, alternatives, component, equals, literals, resolve, types};
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;
use std::collections::HashMap;
use std::rc::Rc;

/// Entries of longer lists are not compared with each other: the time grows with the square.
const COMPARED: usize = 1000;

/// Checks values and collects what is wrong.
pub(crate) struct Checker<'c> {
    catalog: &'c dyn Catalog,
    /// Schemas of plugins that were asked for, by kind and name.
    schemas: HashMap<(String, String), Option<Rc<Json>>>,
    pub problems: Vec<Problem>,
    /// Set when a base could not be read: then a missing key may well be there.
    pub ignore_missing: bool,
}

/// The value being checked, as messages name it.
#[derive(Clone)]
struct Spot<'p> {
    path: String,
    place: &'p Place,
    /// Whether the key may be left out.
    optional: bool,
    /// Kind and name of the plugin whose keys are being checked, if this is one.
    plugin: Option<(&'p str, &'p str)>,
}

impl<'p> Spot<'p> {
    fn child(&self, key: &str, place: &'p Place, optional: bool) -> Spot<'p> {
        let key = crate::show::short(key);
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Spot { path, place, optional, plugin: None }
    }

    /// `` `attack.eps` ``, or the name of the whole.
    fn name(&self) -> String {
        if self.path.is_empty() { "the top level".to_string() } else { format!("`{}`", self.path) }
    }
}

impl<'c> Checker<'c> {
    pub fn new(catalog: &'c dyn Catalog) -> Self {
        Self { catalog, schemas: HashMap::new(), problems: Vec::new(), ignore_missing: false }
    }

    /// Checks the whole tree and gives its normal form, which means something only if there are no
    /// problems.
    pub fn root(&mut self, node: &Node, schema: &Json) -> Yaml {
        let spot = Spot { path: String::new(), place: &node.place, optional: false, plugin: None };
        self.value(node, schema, schema, &spot)
    }

    /// `root` is where the schema's references point into.
    fn value(&mut self, node: &Node, schema: &Json, root: &Json, spot: &Spot<'_>) -> Yaml {
        // Without its base it is unknown whether null would have removed a key.
        if self.is_full() || (self.ignore_missing && node.kind == Kind::Null) {
            return node.to_yaml();
        }
        let options = alternatives(resolve(schema, root), root);
        let as_number = matches!(&node.kind, Kind::Str(text) if scalar::fraction(text).is_some())
            && options.iter().any(|option| accepts(option, Shape::Number));
        let shape = if as_number { Shape::Number } else { Shape::of(&node.kind) };
        // `8/` is a broken number, not the name of a scheduler.
        let broken = !as_number && is_like_fraction(&node.kind) && options.iter().any(|o| accepts(o, Shape::Number));
        let fits = |option: &&Keywords<'_>| accepts(option, shape) && !(broken && component(option).is_some());
        let fitting: Vec<&Keywords<'_>> = options.iter().filter(fits).collect();

        let listed: Vec<&Json> = fitting.iter().filter_map(|option| literals(option)).flatten().collect();
        if listed.iter().any(|literal| equals(&node.kind, literal)) {
            return node.to_yaml();
        }
        let open = fitting.iter().copied().filter(|option| literals(option).is_none());
        // The last of equals would win with `max_by_key`; the first one should.
        let best = open.rev().max_by_key(|option| likeness(option, node));
        match best {
            Some(option) => match component(option).filter(|_| options.iter().any(|o| accepts(o, Shape::Number))) {
                Some(kind) if self.names_nothing(node, kind) => self.no_number(node, kind, &options, spot),
                _ => self.fitting(node, option, root, spot),
            },
            None => {
                match listed.is_empty() {
                    true => self.mismatch(node, &options, spot),
                    false => self.not_listed(node, &listed, spot),
                }
                node.to_yaml()
            }
        }
    }

    /// The shape is right; now the value.
    fn fitting(&mut self, node: &Node, keywords: &Keywords<'_>, root: &Json, spot: &Spot<'_>) -> Yaml {
        if let Some(kind) = component(keywords) {
            return self.component(node, kind, spot);
        }
        match &node.kind {
            Kind::Map(map) => Yaml::Mapping(self.object(map, keywords, root, spot)),
            Kind::Seq(items) => self.list(items, keywords, root, spot),
            Kind::Int(_) | Kind::Float(_) => self.number(node, keywords, spot),
            Kind::Str(text) => match scalar::fraction(text) {
                Some(value) if !types(keywords).is_empty() && !types(keywords).contains(&"string") => {
                    self.fraction(text, value, keywords, spot)
                }
                _ => self.text(text, keywords, spot),
            },
            Kind::Null | Kind::Bool(_) => node.to_yaml(),
        }
    }

    fn list(&mut self, items: &[Node], keywords: &Keywords<'_>, root: &Json, spot: &Spot<'_>) -> Yaml {
        let count = items.len();
        let limit = |key: &str| keywords.get(key).and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok());
        let (least, most) = (limit("minItems").unwrap_or(0), limit("maxItems").unwrap_or(usize::MAX));
        if count < least || count > most {
            let expected = expect::count(least, most);
            self.problem(spot, format!("{} has {count} entries, but takes {expected}", spot.name()), "");
        }
        let unique = keywords.get("uniqueItems").and_then(Json::as_bool) == Some(true) && count <= COMPARED;
        let repeated = items.iter().enumerate().find(|(n, item)| unique && items[..*n].contains(item));
        if let Some((_, item)) = repeated {
            let message = format!("{} lists {} twice", spot.name(), item.quote());
            self.problem(&Spot { place: &item.place, ..spot.clone() }, message, "");
        }
        let prefix = keywords.get("prefixItems").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let rest = keywords.get("items").unwrap_or(&Json::Bool(true));
        let checked = items.iter().enumerate().map(|(n, item)| {
            let schema = prefix.get(n).unwrap_or(rest);
            self.value(item, schema, root, &spot.child(&n.to_string(), &item.place, false))
        });
        Yaml::Sequence(checked.collect())
    }

    fn text(&mut self, text: &str, keywords: &Keywords<'_>, spot: &Spot<'_>) -> Yaml {
        let limit = |key: &str| keywords.get(key).and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok());
        let (least, most) = (limit("minLength").unwrap_or(0), limit("maxLength").unwrap_or(usize::MAX));
        let length = text.chars().count();
        if length < least || length > most {
            let expected = expect::count(least, most);
            self.problem(spot, format!("{} has {length} characters, but takes {expected}", spot.name()), "");
        }
        Yaml::String(text.to_string())
    }

    fn mismatch(&mut self, node: &Node, options: &[Keywords<'_>], spot: &Spot<'_>) {
        let message = format!("{} is {}, but takes {}", spot.name(), node.describe(), expect::any_of(options));
        self.problem(spot, message, expect::repair(node, options, spot.optional));
    }

    /// `eps: large`, where a number or a scheduler belongs.
    fn no_number(&mut self, node: &Node, kind: &str, options: &[Keywords<'_>], spot: &Spot<'_>) -> Yaml {
        let message = format!("{} is {}, but takes {}", spot.name(), node.describe(), expect::any_of(options));
        let example = if options.iter().any(number::is_image_unit) { "8/255" } else { "0.1" };
        let help = format!(
            "write a number such as `{example}`, or {} as `{{ type: NAME, … }}`; {}",
            crate::show::article(kind),
            self.known(kind)
        );
        self.problem(spot, message, help);
        node.to_yaml()
    }

    fn not_listed(&mut self, node: &Node, listed: &[&Json], spot: &Spot<'_>) {
        let words: Vec<String> = listed.iter().map(|literal| expect::literal(literal)).collect();
        let word = if let Kind::Str(text) = &node.kind { text.as_str() } else { "" };
        self.problem(
            spot,
            format!("{} cannot be {}", spot.name(), node.quote()),
            crate::suggest(word, &words, "choices"),
        );
    }

    /// Enough problems have been found: no one reads more, and a hostile file should not cost
    /// time.
    fn is_full(&self) -> bool {
        self.problems.len() >= Problems::KEPT
    }

    fn problem(&mut self, spot: &Spot<'_>, message: impl Into<String>, help: impl Into<String>) {
        note(&mut self.problems, Problem::new(spot.path.clone(), message, help).at(spot.place));
    }
}

fn is_like_fraction(kind: &Kind) -> bool {
    let Kind::Str(text) = kind else { return false };
    text.contains('/') && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '/' | '.' | '-' | '+' | ' '))
}

/// How well the keys of a map fit a schema, to choose between several: its `type` first, then how
/// many keys it knows.
fn likeness(keywords: &Keywords<'_>, node: &Node) -> (bool, usize) {
    let Kind::Map(map) = &node.kind else { return (false, 0) };
    if component(keywords).is_some() {
        return (map.contains_key("type"), 0);
    }
    let Some(properties) = keywords.get("properties").and_then(Json::as_object) else { return (false, 0) };
    let tag = properties.get("type").and_then(|schema| schema.get("const"));
    let same = tag.zip(map.get("type")).is_some_and(|(tag, entry)| equals(&entry.node.kind, tag));
    (same, map.keys().filter(|key| properties.contains_key(*key)).count())
}
