//! `plugins:`, the one key that is read before anything is checked, because the rest may name
//! plugins of the listed libraries.

use crate::node::{Entry, Kind, Node};
use crate::place::Place;
use crate::problem::Problem;
use std::path::{Path, PathBuf};

pub(crate) const KEY: &str = "plugins";

/// A library that a pipeline lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its path, or that of a folder of libraries; what is relative in a file is relative to that
    /// file.
    pub path: PathBuf,
    /// The file that lists it; `None` for an override.
    pub file: Option<PathBuf>,
}

impl Library {
    fn new(text: &str, place: &Place) -> Self {
        let file = place.line().map(|_| PathBuf::from(place.source()));
        let from = file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Self { path: from.join(text), file }
    }
}

/// The listed libraries. The schema checks that it is a list of texts.
pub(crate) fn listed(root: &Node) -> Vec<Library> {
    let Kind::Map(map) = &root.kind else { return Vec::new() };
    let Some(Kind::Seq(items)) = map.get(KEY).map(|entry| &entry.node.kind) else { return Vec::new() };
    let library = |item: &Node| match &item.kind {
        Kind::Str(text) => Some(Library::new(text, &item.place)),
        _ => None,
    };
    items.iter().filter_map(library).collect()
}

/// Takes the list out of the tree, if it lists something.
pub(crate) fn take(root: &mut Node) -> Option<Entry> {
    let Kind::Map(map) = &mut root.kind else { return None };
    let listed = map.get(KEY).is_some_and(|entry| matches!(&entry.node.kind, Kind::Seq(items) if !items.is_empty()));
    if listed { map.shift_remove(KEY) } else { None }
}

/// Replaces the list.
pub(crate) fn put(root: &mut Node, listed: Entry) {
    if let Kind::Map(map) = &mut root.kind {
        map.insert(KEY.to_string(), listed);
    }
}

/// Loads a library, or says why not: message and help.
type Loading<'a> = &'a dyn Fn(&Library) -> Result<(), (String, String)>;

/// Loads what is listed with `load`, and makes the paths absolute, so that the checked pipeline
/// means the same anywhere.
pub(crate) fn load(root: &mut Node, load: Loading, problems: &mut Vec<Problem>) {
    let Kind::Map(map) = &mut root.kind else { return };
    let Some(Kind::Seq(items)) = map.get_mut(KEY).map(|entry| &mut entry.node.kind) else { return };
    for (n, item) in items.iter_mut().enumerate() {
        let Kind::Str(text) = &mut item.kind else { continue };
        let library = Library::new(text, &item.place);
        match load(&library) {
            Ok(()) => {
                if let Ok(path) = library.path.canonicalize() {
                    *text = path.display().to_string();
                }
            }
            Err((message, help)) => {
                problems.push(Problem::new(format!("{KEY}.{n}"), message, help).at(&item.place));
            }
        }
    }
}
