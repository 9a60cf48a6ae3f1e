//! `attack.inner.steps=7` on the command line: a child of one line, merged by the same rules as a
//! file.

use crate::merge::{is_name, merged, named};
use crate::node::{Entry, Kind, Map, Node, type_of};
use crate::place::{Place, Source};
use crate::problem::Problem;
use crate::site::Site;
use crate::{parse, show};

/// Longer paths are refused, as deeper nesting is.
const SEGMENTS: usize = 64;

/// One override, read.
pub(crate) struct Override {
    keys: Vec<String>,
    value: Node,
}

impl Override {
    /// Reads `a.b.c=VALUE`, where the value is YAML: `3`, `8/255`, `[fgsm, pgd20]`, `{ type: cw,
    /// kappa: 50 }`.
    ///
    /// # Errors
    /// No `=`, an empty key, no value, `extends`, or a value that is not YAML.
    pub fn read(argument: &str, order: usize) -> Result<Self, Vec<Problem>> {
        let (path, value) = argument.split_once('=').unwrap_or((argument, ""));
        let source = Source::argument(argument, value, order);
        let place = Place::new(&source, 1, 1);
        let wrong = |message: &str, help: &str| Err(vec![Problem::new("", message, help).at(&place)]);
        let shown = show::short(path);
        if !argument.contains('=') {
            return wrong(&format!("`{shown}` is not an override: it has no `=`"), "write `attack.eps=8/255`");
        }
        let keys: Vec<String> = path.split('.').map(|key| key.trim().to_string()).collect();
        if keys.iter().any(String::is_empty) {
            return wrong("the override has an empty key", "write keys with dots between them: `attack.eps=8/255`");
        }
        if keys.len() > SEGMENTS {
            return wrong(&format!("the override's path has more than {SEGMENTS} keys"), "");
        }
        if keys[0] == "extends" {
            return wrong(
                "`extends` cannot be overridden",
                "give the other file itself, or write a file that extends it",
            );
        }
        if value.trim().is_empty() {
            return wrong("the override has no value", &format!("write `{shown}=null` to remove the key"));
        }
        let mut problems = Vec::new();
        match parse::parse(&source, &mut problems) {
            Some(value) if problems.is_empty() => Ok(Self { keys, value }),
            _ => Err(problems),
        }
    }

    /// Merges the value into `root`, which is the whole tree, at `top`.
    ///
    /// # Errors
    /// When the path leads into a value that has no such place.
    pub fn apply(self, root: &mut Node, top: &Site<'_>) -> Result<(), Problem> {
        let place = self.value.place.clone();
        set(root, top, &self.keys, 0, self.value).map_err(|problem| problem.at(&place))
    }
}

/// `depth` keys have been followed to `node`, which is at `site`.
fn set(node: &mut Node, site: &Site<'_>, keys: &[String], depth: usize, value: Node) -> Result<(), Problem> {
    let Some(key) = keys.get(depth) else {
        let base = std::mem::replace(node, Node::new(&value.place, Kind::Null));
        *node = merged(base, value, site);
        return Ok(());
    };
    let place = value.place.clone();
    // `lr.type=cosine` chooses a component, whatever was there.
    let chooses = key == "type" && depth + 1 == keys.len() && value.component_name().is_some();
    let old = std::mem::replace(&mut node.kind, Kind::Null);
    node.kind = match old {
        Kind::Null => Kind::Map(Map::new()),
        Kind::Str(name) if site.takes_names() && is_name(&name) => {
            Kind::Map(named(Node::new(&node.place, Kind::Str(name))))
        }
        Kind::Str(_) | Kind::Int(_) | Kind::Float(_) if chooses && site.is_component() => Kind::Map(Map::new()),
        // Where no name is short for a map, a map of keys is just another form.
        Kind::Str(_) | Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) if !site.takes_names() && site.takes_maps() => {
            Kind::Map(Map::new())
        }
        other => other,
    };
    let here = || show::short(&keys[..depth].join("."));
    let described = node.describe();
    match &mut node.kind {
        Kind::Map(map) => set_key(map, site, keys, depth, value, &place),
        Kind::Seq(items) => {
            let index = key.parse::<usize>().ok().filter(|index| *index < items.len());
            let inner = site.item(index.unwrap_or_default());
            let Some(item) = index.and_then(|index| items.get_mut(index)) else {
                let message = format!("`{}` is a list and has no entry `{}`", here(), show::short(key));
                let help = match items.len() {
                    0 => "the list is empty: give all of it".to_string(),
                    1 => "its only entry is 0".to_string(),
                    count => format!("its entries are 0 to {}", count - 1),
                };
                return Err(Problem::new(here(), message, help));
            };
            set(item, &inner, keys, depth + 1, value)
        }
        _ => {
            let message = format!("`{}` is {described}, which has no key `{}`", here(), show::short(key));
            Err(Problem::new(here(), message, format!("give all of it: `{}={{ … }}`", here())))
        }
    }
}

fn set_key(
    map: &mut Map,
    site: &Site<'_>,
    keys: &[String],
    depth: usize,
    value: Node,
    place: &Place,
) -> Result<(), Problem> {
    let (key, last) = (keys[depth].as_str(), depth + 1 == keys.len());
    if last && value.kind == Kind::Null && map.shift_remove(key).is_some() {
        return Ok(());
    }
    if last && key == "type" && site.takes_names() && value.component_name() != type_of(map) {
        map.clear();
    }
    let inner = site.key(key, map);
    let entry =
        map.entry(key.to_string()).or_insert_with(|| Entry { key: place.clone(), node: Node::new(place, Kind::Null) });
    if last {
        entry.key = place.clone();
    }
    set(&mut entry.node, &inner, keys, depth + 1, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse::parse(&Source::file("x.yaml", text.into(), 0), &mut Vec::new()).expect("valid YAML")
    }

    fn apply(text: &str, argument: &str) -> Result<Node, String> {
        let first = |problems: Vec<Problem>| problems[0].to_string();
        let mut root = tree(text);
        let change = Override::read(argument, 1).map_err(first)?;
        change.apply(&mut root, &Site::unknown()).map_err(|problem| problem.to_string())?;
        Ok(root)
    }

    #[test]
    fn an_override_is_a_child_of_one_line() {
        let table = [
            ("{a: {b: 1}}", "a.b=2", "{a: {b: 2}}", "replaces a scalar"),
            ("{}", "a.b.c=8/255", "{a: {b: {c: 8/255}}}", "makes maps on the way"),
            ("{a: [1, {b: 2}]}", "a.1.b=3", "{a: [1, {b: 3}]}", "goes into lists"),
            ("{a: [x]}", "a.0.b=3", "{a: [{type: x, b: 3}]}", "a name in a list is short for its map"),
            ("{loss: trades}", "loss.beta=3", "{loss: {type: trades, beta: 3}}", "a name is short for its map"),
            ("{a: {type: x, b: 1}}", "a.type=y", "{a: {type: y}}", "another type drops the old keys"),
            ("{a: {type: x, b: 1}}", "a.type=x", "{a: {type: x, b: 1}}", "the same type changes nothing"),
            ("{a: {type: x, b: 1}}", "a={b: 2}", "{a: {type: x, b: 2}}", "a map merges"),
            ("{a: {type: x, b: 1}}", "a=y", "{a: y}", "another name replaces"),
            ("{a: {b: 1, c: 2}}", "a.b=null", "{a: {c: 2}}", "null removes"),
            ("{a: 1}", "a=x=y", "{a: x=y}", "only the first `=` counts"),
            ("{a: [1]}", "a=[2, 3]", "{a: [2, 3]}", "lists replace"),
        ];
        for (text, argument, expected, why) in table {
            assert_eq!(apply(text, argument), Ok(tree(expected)), "{text} {argument}: {why}");
        }
    }

    #[test]
    fn mistakes_say_what_would_do() {
        let table = [
            ("a.b", "`a.b` is not an override: it has no `=`"),
            ("=1", "empty key"),
            ("a..b=1", "empty key"),
            ("a.b=", "write `a.b=null` to remove the key"),
            ("extends=x.yaml", "cannot be overridden"),
            ("a=[1", "not valid YAML"),
            ("a={b: 1, b: 2}", "key `b` is given twice"),
            ("a.b=1", "`a` is 3, which has no key `b`"),
            ("l.2=1", "its entries are 0 to 1"),
            ("l.x=1", "`l` is a list and has no entry `x`"),
            ("f.x=1", "`f` is the text `8/255`, which has no key `x`"),
        ];
        for (argument, expected) in table {
            let message = apply("{a: 3, l: [1, 2], f: 8/255}", argument).expect_err("a mistake");
            assert!(message.contains(expected), "{argument}: {message}");
            assert!(message.contains(&format!("--> override `{argument}`")), "{message}");
        }
    }
}
