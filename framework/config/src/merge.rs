//! A child file over its base.
//!
//! Maps merge key by key and the child wins; everything else replaces, whatever form the base has.
//! Two rules make components behave, where the schema takes one: a map whose `type` differs
//! replaces the base's wholly, because another plugin's keys mean nothing to it; and text is short
//! for a map with that `type`. A key that is null in the child removes the base's key.

use crate::node::{Entry, Kind, Map, Node, type_of};
use crate::scalar;
use crate::site::Site;

/// `child` over `base`, both at `site`.
pub(crate) fn merged(base: Node, child: Node, site: &Site<'_>) -> Node {
    let kind = match (base.kind, child.kind) {
        (Kind::Map(below), Kind::Map(above)) => Kind::Map(maps(below, above, site)),
        (Kind::Str(name), Kind::Map(above)) if site.takes_names() && is_name(&name) && !above.contains_key("type") => {
            Kind::Map(maps(named(Node::new(&base.place, Kind::Str(name))), above, site))
        }
        (Kind::Map(below), Kind::Str(name)) if site.takes_names() && type_of(&below) == Some(&name) => Kind::Map(below),
        (_, above) => above,
    };
    Node { place: child.place, kind }
}

fn maps(mut below: Map, above: Map, site: &Site<'_>) -> Map {
    if site.takes_names() && type_of(&above).is_some_and(|name| type_of(&below) != Some(name)) {
        return above;
    }
    let mut removed = Vec::new();
    for (key, entry) in above {
        let inner = below.contains_key(&key).then(|| site.key(&key, &below));
        match below.get_mut(&key) {
            Some(_) if entry.node.kind == Kind::Null => removed.push(key),
            Some(old) => {
                let base = std::mem::replace(&mut old.node, Node::new(&entry.key, Kind::Null));
                let inner = inner.unwrap_or_else(Site::unknown);
                *old = Entry { key: entry.key, node: merged(base, entry.node, &inner) };
            }
            None => {
                below.insert(key, entry);
            }
        }
    }
    if !removed.is_empty() {
        let removed: std::collections::HashSet<String> = removed.into_iter().collect();
        below.retain(|key, _| !removed.contains(key));
    }
    below
}

/// Whether a text may be short for a map. A fraction is a number.
pub(crate) fn is_name(text: &str) -> bool {
    scalar::fraction(text).is_none()
}

/// `{ type: name }`.
pub(crate) fn named(name: Node) -> Map {
    Map::from([("type".to_string(), Entry { key: name.place.clone(), node: name })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::place::Source;

    fn node(text: &str) -> Node {
        let mut problems = Vec::new();
        let node = parse(&Source::file("x.yaml", text.into(), 0), &mut problems).expect("valid YAML");
        assert!(problems.is_empty(), "{problems:?}");
        node
    }

    // Rules that depend on the schema are tested on whole pipelines: tests/suite/forms.rs.
    #[test]
    fn the_child_wins_by_these_rules() {
        let table = [
            ("{a: 1, b: 2}", "{b: 3, c: 4}", "{a: 1, b: 3, c: 4}", "maps merge"),
            ("{a: {b: {c: 1}}}", "{a: {b: {d: 2}}}", "{a: {b: {c: 1, d: 2}}}", "deeply"),
            ("{a: [1, 2]}", "{a: [3]}", "{a: [3]}", "lists replace"),
            ("{a: {type: x, b: 1}}", "{a: {c: 2}}", "{a: {type: x, b: 1, c: 2}}", "no type keeps the base's"),
            ("{a: {type: x, b: 1}}", "{a: {type: x, c: 2}}", "{a: {type: x, b: 1, c: 2}}", "the same type merges"),
            ("{a: {type: x, b: 1}}", "{a: {type: y, c: 2}}", "{a: {type: y, c: 2}}", "another type replaces"),
            ("{a: {type: x, b: 1}}", "{a: y}", "{a: y}", "another name replaces"),
            ("{a: {type: x, b: 1}}", "{a: x}", "{a: {type: x, b: 1}}", "the same name is the same type"),
            ("{a: x}", "{a: {c: 2}}", "{a: {type: x, c: 2}}", "a name is short for its map"),
            ("{a: x}", "{a: {type: y, c: 2}}", "{a: {type: y, c: 2}}", "a name gives way to another type"),
            ("{a: 8/255}", "{a: {c: 2}}", "{a: {c: 2}}", "a fraction is no name"),
            ("{a: 1}", "{a: {c: 2}}", "{a: {c: 2}}", "neither is a number"),
            ("{a: 1, b: 2}", "{a: null}", "{b: 2}", "null removes"),
            ("{b: 2}", "{a: null}", "{b: 2, a: null}", "null with nothing to remove stays and is checked"),
        ];
        for (base, child, expected, why) in table {
            assert_eq!(merged(node(base), node(child), &Site::unknown()), node(expected), "{base} <- {child}: {why}");
        }
    }

    #[test]
    fn keys_point_to_who_wrote_them_last() {
        let base = node("a:\n  b: 1\n  c: 2\n");
        let Kind::Map(map) = merged(base, node("\n\n\na:\n  c: 3\n"), &Site::unknown()).kind else { panic!("a map") };
        let Kind::Map(inner) = &map["a"].node.kind else { panic!("a map") };
        let lines = (map["a"].key.line(), inner["b"].key.line(), inner["c"].key.line());
        assert_eq!(lines, (Some(4), Some(2), Some(5)));
    }
}
