//! From text to a tree with places. A stack instead of recursion, so that no nesting can overflow
//! ours.

use crate::node::{Entry, Kind, Map, Node};
use crate::place::{Place, Source};
use crate::problem::{Problem, note};
use crate::{scalar, show, suggest};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::sync::Arc;

/// Deeper nesting is refused; real pipelines stay below ten.
const DEPTH: usize = 64;

/// Reads one document. `None` after a problem that leaves no usable tree; an empty document is
/// `Null`.
pub(crate) fn parse(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut builder = Builder { source, problems, stack: Vec::new(), root: None };
    let mut parser = Parser::new_from_str(source.text());
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, &builder.place(span.start)),
            Err(error) => Err(builder.syntax(error.info(), &builder.place(*error.marker()))),
        };
        if let Err(problem) = outcome {
            builder.problems.push(problem);
            return None;
        }
    }
    Some(builder.root.unwrap_or_else(|| Node::new(&Place::new(source, 1, 1), Kind::Null)))
}

/// A collection that is still open.
enum Open {
    Seq(Place, Vec<Node>),
    Map(Place, Map, Option<Key>),
}

/// A key that waits for its value. Without text it cannot be used, and was reported.
struct Key {
    place: Place,
    text: Option<String>,
}

struct Builder<'b> {
    source: &'b Arc<Source>,
    problems: &'b mut Vec<Problem>,
    stack: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn place(&self, marker: Marker) -> Place {
        Place::new(self.source, marker.line(), marker.col() + 1)
    }

    /// The parser's error, with its usual cause.
    fn syntax(&self, info: &str, place: &Place) -> Problem {
        // YAML reads `loss:at` as the start of a longer text, and reports an error only at a later
        // line.
        if info.contains("simple key") || info.contains("mapping values") {
            let lines = (1..=place.line().unwrap_or(1)).rev().map(|line| Place::new(self.source, line, 1));
            let written = lines.filter(|place| place.line_text().is_some_and(|text| !text.trim().is_empty())).take(2);
            let help = |place: Place| Some((suggest::space_after_colon(place.line_text()?)?, place));
            if let Some((help, place)) = written.filter_map(help).next() {
                return Problem::new("", "not valid YAML: this is not `key: value`", help).at(&place);
            }
        }
        let opened = match self.stack.last() {
            Some(Open::Seq(place, _) | Open::Map(place, ..)) if place.line().is_some() => format!(" opened at {place}"),
            _ => String::new(),
        };
        let help = match info {
            _ if info.contains("mapping values are not allowed") => {
                "quote a value that contains `: `, and align keys that belong together"
            }
            _ if info.contains("simple key") => "write `key: value`, with a colon and a space",
            _ if info.contains("tabs disallowed") => "indent with spaces",
            _ if info.contains("unexpected character") => "quote a value that starts with one of YAML's own signs",
            _ if info.contains("quoted scalar") => "close the quotation mark; in \"…\", write a backslash as \\\\",
            _ if info.contains("unknown anchor") => "quote text that starts with `*`",
            _ if info.contains("flow") || info.contains("node content") => {
                &format!("the `[` or `{{`{opened} is not closed, or a `,` is missing")
            }
            _ => "",
        };
        Problem::new("", format!("not valid YAML: {}", show::sentence(info)), help).at(place)
    }

    /// # Errors
    /// A problem that makes the rest of the file meaningless.
    fn event(&mut self, event: Event<'_>, place: &Place) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), place);
                if let Some(c) = text.chars().find(|c| matches!(c, '\u{2028}' | '\u{2029}')) {
                    let message = format!("the character {} is not supported", c.escape_default());
                    let help = "some YAML readers take it for a line break, others do not";
                    note(self.problems, Problem::new("", message, help).at(place));
                }
                let kind = match style {
                    ScalarStyle::Plain => scalar::plain(&text),
                    _ => Kind::Str(text.into_owned()),
                };
                self.add(Node::new(place, kind));
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), place);
                self.open(Open::Seq(place.clone(), Vec::new()), place)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), place);
                self.open(Open::Map(place.clone(), Map::new(), None), place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::Seq(start, items)) => self.add(Node::new(&start, Kind::Seq(items))),
                Some(Open::Map(start, map, _)) => self.add(Node::new(&start, Kind::Map(map))),
                None => {}
            },
            Event::Alias(_) => {
                let message = "aliases (`*name`) are not supported";
                return Err(Problem::new("", message, "repeat the value, or share it with `extends`").at(place));
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a second document starts here; a pipeline is one document";
                return Err(Problem::new("", message, "remove the `---`").at(place));
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, open: Open, place: &Place) -> Result<(), Problem> {
        if self.stack.len() == DEPTH {
            let message = format!("nested more than {DEPTH} levels deep");
            return Err(Problem::new("", message, "a pipeline needs only a few levels").at(place));
        }
        self.stack.push(open);
        Ok(())
    }

    fn refuse_extras(&mut self, anchor: usize, tagged: bool, place: &Place) {
        if anchor != 0 {
            let help = "share values between files with `extends`, and quote text that starts with `&`";
            note(self.problems, Problem::new("", "anchors (`&name`) are not supported", help).at(place));
        }
        if tagged {
            let help = "quote the value to make it text, and quote text that starts with `!`";
            note(self.problems, Problem::new("", "tags (`!name`) are not supported", help).at(place));
        }
    }

    /// Puts a finished value where it belongs: into the open collection, as a key, or at the root.
    fn add(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq(_, items)) => items.push(node),
            Some(Open::Map(_, map, key)) => match key.take() {
                None => *key = Some(self::key(node, self.problems)),
                Some(Key { text: None, .. }) => {}
                Some(Key { text: Some(text), place }) => match map.get(&text) {
                    Some(first) => note(self.problems, twice(&text, &first.key, &place)),
                    None => {
                        map.insert(text, Entry { key: place, node });
                    }
                },
            },
        }
    }
}

fn key(node: Node, problems: &mut Vec<Problem>) -> Key {
    let place = node.place.clone();
    if let Kind::Str(text) = node.kind {
        return Key { place, text: Some(text) };
    }
    let help = match &node.kind {
        Kind::Seq(_) | Kind::Map(_) => "quote text that starts with `[` or `{`".to_string(),
        Kind::Null => "write the key before the `:`".to_string(),
        _ => format!("quote it: \"{}\"", node.written()),
    };
    note(problems, Problem::new("", format!("a key is {}; keys are text", node.describe()), help).at(&place));
    Key { place, text: None }
}

fn twice(text: &str, first: &Place, second: &Place) -> Problem {
    let help = format!("it was first given at {first}");
    Problem::new("", format!("key `{}` is given twice", show::short(text)), help).at(second)
}
