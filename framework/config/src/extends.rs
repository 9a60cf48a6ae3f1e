//! A file and everything it extends, merged into one tree.

use crate::decode::{MAX_BYTES, decode};
use crate::merge::merged;
use crate::node::{Kind, Node};
use crate::parse::parse;
use crate::place::Place;
use crate::problem::Problem;
use crate::show;
use crate::site::Site;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// A pipeline that reads more files than this extends the same ones again and again.
const FILES: usize = 64;

/// Reads files, collects problems, and records which file extends which.
pub(crate) struct Loader<'c> {
    /// The top level, to which files are merged.
    top: Site<'c>,
    /// What was found, in no order.
    pub problems: Vec<Problem>,
    /// The files that were read, the pipeline's own first.
    pub sources: Vec<String>,
    /// Whether something could not be read, so that missing keys prove nothing.
    pub incomplete: bool,
    /// The files that are being read, each extended by the one before.
    chain: Vec<(PathBuf, String)>,
}

impl<'c> Loader<'c> {
    pub fn new(top: Site<'c>) -> Self {
        Self { top, problems: Vec::new(), sources: Vec::new(), incomplete: false, chain: Vec::new() }
    }

    /// Reads the file that the user named.
    pub fn file(&mut self, path: &Path) -> Option<Node> {
        let name = path.display().to_string();
        match read(path) {
            Ok(bytes) => {
                self.chain.push((path.canonicalize().unwrap_or_else(|_| path.to_path_buf()), name.clone()));
                self.bytes(&name, &bytes, path.parent())
            }
            Err(reason) => {
                self.problems.push(Problem::new("", format!("cannot read `{name}`: {reason}"), ""));
                None
            }
        }
    }

    /// Reads text; `extends` is looked up in `folder`, and refused without one.
    pub fn bytes(&mut self, name: &str, bytes: &[u8], folder: Option<&Path>) -> Option<Node> {
        let order = self.sources.len();
        self.sources.push(name.to_string());
        let source = decode(name, bytes, order).map_err(|problem| self.problems.push(problem)).ok()?;
        let mut root = parse(&source, &mut self.problems)?;
        let map = match &mut root.kind {
            Kind::Map(map) => map,
            // A base may be all comments; a pipeline may not.
            Kind::Null if order > 0 => return Some(Node { kind: Kind::Map(Default::default()), ..root }),
            Kind::Null => {
                let help = "start from a copy of configs/mnist/trades.yaml; `foil explain pipeline` lists the keys";
                self.problems.push(Problem::new("", "the file is empty", help).at(&root.place));
                return None;
            }
            _ => {
                let message = format!("the file holds {}, but a pipeline is a map of keys", root.describe());
                self.problems.push(Problem::new("", message, "write lines such as `loss: trades`").at(&root.place));
                return None;
            }
        };
        let Some(extends) = map.shift_remove("extends") else { return Some(root) };
        let mut base: Option<Node> = None;
        for (path, place) in self.paths(&extends.node, &extends.key) {
            match self.base(&path, &place, folder) {
                Some(next) => {
                    base = Some(match base {
                        Some(before) => merged(before, next, &self.top),
                        None => next,
                    });
                }
                None => self.incomplete = true,
            }
        }
        Some(match base {
            Some(base) => merged(base, root, &self.top),
            None => root,
        })
    }

    /// The files named by `extends`, which is one path or a list.
    fn paths(&mut self, node: &Node, key: &Place) -> Vec<(String, Place)> {
        let items = match &node.kind {
            Kind::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut paths = Vec::new();
        for item in items {
            match &item.kind {
                Kind::Str(path) => paths.push((path.clone(), item.place.clone())),
                _ => {
                    let message = format!("`extends` is {}, but takes a path or a list of paths", item.describe());
                    self.problems.push(Problem::new("extends", message, "write `extends: base.yaml`").at(key));
                    self.incomplete = true;
                }
            }
        }
        paths
    }

    fn base(&mut self, path: &str, place: &Place, folder: Option<&Path>) -> Option<Node> {
        match self.try_base(path, folder) {
            Ok((name, bytes, path)) => {
                let node = self.bytes(&name, &bytes, path.parent());
                self.chain.pop();
                node
            }
            Err((message, help)) => {
                self.problems.push(Problem::new("extends", message, help).at(place));
                None
            }
        }
    }

    /// # Errors
    /// Message and help.
    fn try_base(&mut self, path: &str, folder: Option<&Path>) -> Result<(String, Vec<u8>, PathBuf), (String, String)> {
        let Some(folder) = folder else {
            return Err(("`extends` needs a pipeline that is a file".into(), String::new()));
        };
        let path = tidy(&folder.join(path));
        let name = path.display().to_string();
        let chain = |name: &str| {
            let names = self.chain.iter().map(|(_, name)| name.as_str()).chain([name]);
            names.map(show::short).collect::<Vec<_>>().join(" -> ")
        };
        if self.sources.len() >= FILES {
            return Err((format!("the pipeline extends more than {FILES} files"), chain(&name)));
        }
        let bytes = read(&path).map_err(|reason| {
            let help = format!("paths are relative to the file that says `extends`: {}", chain(&name));
            (format!("cannot read `{}`: {reason}", show::short(&name)), help)
        })?;
        let canonical = path.canonicalize().unwrap_or_else(|_| path.clone());
        if self.chain.iter().any(|(known, _)| *known == canonical) {
            return Err((format!("`extends` goes in a circle: {}", chain(&name)), "remove one of them".into()));
        }
        self.chain.push((canonical, name.clone()));
        Ok((name, bytes, path))
    }
}

/// At most one byte more than a file may have. Pipes and devices are refused: reading them might
/// never end.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let reason = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_string(),
        _ => error.to_string(),
    };
    let meta = std::fs::metadata(path).map_err(reason)?;
    if !meta.is_file() {
        return Err(if meta.is_dir() { "it is a folder".to_string() } else { "it is not a regular file".to_string() });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(reason)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(reason)?;
    Ok(bytes)
}

/// `configs/mnist/../base.yaml` as `configs/base.yaml`, unless a symbolic link makes that another
/// file.
fn tidy(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            _ => short.push(part),
        }
    }
    match (short.canonicalize(), path.canonicalize()) {
        (Ok(a), Ok(b)) if a != b => path.to_path_buf(),
        _ => short,
    }
}
