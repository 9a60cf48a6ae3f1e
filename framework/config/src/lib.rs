//! **YAML pipelines, checked as a whole: every problem at once, each with its file, line and what
//! to write instead.**
//!
//! A pipeline is read in six steps, one module each:
//!
//! 1. `parse`: bytes to a tree whose keys and values know their line and column.
//! 2. `extends`, `merge`: the files it builds on, deeply merged; the child wins.
//! 3. `overrides`: `attack.inner.steps=7` from the command line.
//! 4. `libraries`: what is listed under `plugins` is loaded.
//! 5. `row`: a list of radii becomes an attack for each.
//! 6. `check`: the tree against a JSON Schema, as schemars makes it from the pipeline's structs;
//!    plugins are looked up by name in a [`Catalog`] and bring their own schemas.
//!
//! What comes out is [`Checked`], a plain `serde_yaml::Value` in normal form that deserialises
//! without surprises, or [`Problems`]. Checks that no schema can state are added by the caller with
//! [`Checked::problem`].
//!
//! # What is not JSON Schema here
//!
//! | keyword | means |
//! |---|---|
//! | `x-component: KIND` | the name of a plugin of that kind, or a map with `type: NAME` and the plugin's keys |
//! | `x-row: { key: eps, listed: evaluate }` | at a map of plugins: a list under `eps` is a row, one plugin for each value |
//! | `x-unit: image` | a number on the [0, 1] scale of images; `8` is refused with the advice `8/255` |
//!
//! Any number may be written as a fraction, `8/255`. Whole numbers may stand where a number is
//! asked for, but `10.0` may not stand for `10`. Infinities and NaN are refused. The keywords
//! `pattern`, `multipleOf`, `not` and `if` are ignored: nothing that schemars derives uses them.
//!
//! # Files are untrusted
//! No byte sequence makes this crate panic, overflow the stack or run for long: files end at 1 MiB,
//! nesting at 64 levels and `extends` at 64 files; anchors, aliases, tags and second documents are
//! refused.

mod check;
mod checked;
mod decode;
mod editor;
mod extends;
mod libraries;
mod merge;
mod node;
mod overrides;
mod parse;
mod place;
mod problem;
mod row;
mod scalar;
mod schema;
mod show;
mod site;
mod suggest;

pub use checked::Checked;
pub use editor::{OfFile, editor_schema};
pub use libraries::Library;
pub use place::Place;
pub use problem::{Problem, Problems};
pub use scalar::fraction;
pub use show::{article, misleads, noun, plural, shown};
pub use suggest::{did_you_mean, suggest};

use problem::note;
use site::Site;
use std::path::{Path, PathBuf};

/// A text that a pipeline has under a plugin's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The key.
    pub key: String,
    /// Its value.
    pub text: String,
    /// The folder of the file that it was written in; empty for the command line.
    pub folder: PathBuf,
}

/// The folder that paths are relative to at a key path of the pipeline: that of the file in which
/// the key was written; empty for the command line.
pub type FolderOf<'a> = &'a dyn Fn(&str) -> PathBuf;

/// The plugins that a pipeline may name.
pub trait Catalog {
    /// All names of a kind such as `attack`, in the order in which to list them.
    fn names(&self, kind: &str) -> Vec<String>;

    /// The JSON Schema of a plugin's keys, without `type`. `None` allows any keys.
    fn schema(&self, kind: &str, name: &str) -> Option<serde_json::Value>;

    /// The same for a plugin whose keys depend on what is written under some of them, such as the
    /// file that defines it; `None` for any other. `x-fill` at the schema's top makes keys that
    /// are left out appear in the normal form with their defaults.
    ///
    /// # Errors
    /// Why the keys cannot be known; the problem's path is a key of the plugin, or empty.
    fn schema_of(&self, kind: &str, name: &str, written: &[Written]) -> Option<Result<serde_json::Value, Problem>> {
        let _ = (kind, name, written);
        None
    }

    /// Problems that a schema cannot express, for a plugin that meets its schema: `component` is
    /// its normal form, written at `path`, in which paths of files are as they were written: see
    /// `folder`. The problems' paths begin with `path`.
    fn check(&self, kind: &str, path: &str, component: &serde_yaml::Value, folder: FolderOf<'_>) -> Vec<Problem> {
        let _ = (kind, path, component, folder);
        Vec::new()
    }

    /// More problems of a pipeline that has some, so that the author reads all of them at once.
    /// `rest` is its normal form without unknown keys and without values that were refused. `known`
    /// are the problems so far. What is reported about a key that was not written, or that is part
    /// of a known problem, is left out. `folder` is as for [`Catalog::check`].
    fn more(&self, rest: &serde_yaml::Value, known: &[Problem], folder: FolderOf<'_>) -> Vec<Problem> {
        let _ = (rest, known, folder);
        Vec::new()
    }

    /// Called first for each library that the pipeline lists under `plugins`; its plugins are in
    /// the catalog from then on.
    ///
    /// # Errors
    /// Message and help.
    fn load(&self, library: &Library) -> Result<(), (String, String)> {
        let _ = library;
        Ok(())
    }
}

/// The libraries that the pipeline at `path` lists under `plugins`, with what it extends; nothing
/// else is checked.
///
/// # Errors
/// What keeps the files from being read.
pub fn libraries(path: impl AsRef<Path>) -> Result<Vec<Library>, Problems> {
    let mut loader = extends::Loader::new(Site::unknown());
    match loader.file(path.as_ref()) {
        Some(root) if loader.problems.is_empty() => Ok(libraries::listed(&root)),
        _ => Err(loader.problems.into()),
    }
}

/// Reads the pipeline at `path` with what it extends, applies `overrides` in order, and checks the
/// whole.
///
/// # Errors
/// All problems, sorted by place.
pub fn load(
    path: impl AsRef<Path>,
    overrides: &[String],
    schema: &serde_json::Value,
    catalog: &dyn Catalog,
) -> Result<Checked, Problems> {
    finish(&|loader| loader.file(path.as_ref()), overrides, schema, catalog)
}

/// As [`load`] for a text that is not a file; `name` is its path in messages. It cannot extend
/// anything.
///
/// # Errors
/// All problems, sorted by place.
pub fn load_str(
    name: &str,
    text: impl AsRef<[u8]>,
    overrides: &[String],
    schema: &serde_json::Value,
    catalog: &dyn Catalog,
) -> Result<Checked, Problems> {
    finish(&|loader| loader.bytes(name, text.as_ref(), None), overrides, schema, catalog)
}

/// Reads the pipeline's own file with what it extends.
type Read<'a> = &'a dyn Fn(&mut extends::Loader<'_>) -> Option<node::Node>;

fn finish(
    read: Read,
    overrides: &[String],
    schema: &serde_json::Value,
    catalog: &dyn Catalog,
) -> Result<Checked, Problems> {
    let (mut loader, root) = put_together(read, overrides, schema, catalog);
    let Some(mut root) = root else { return Err(loader.problems.into()) };
    let known = loader.problems.len();
    libraries::load(&mut root, &|library| catalog.load(library), &mut loader.problems);
    if loader.problems.len() > known {
        // The plugins of a library that was not loaded are unknown anyway.
        return Err(loader.problems.into());
    }
    if let Some(listed) = libraries::take(&mut root) {
        // Merging depends on which keys take a component, and only now does the catalog know that
        // for the libraries' plugins.
        let again = put_together(read, overrides, schema, catalog);
        let (again, Some(whole)) = again else { return Err(again.0.problems.into()) };
        (loader, root) = (again, whole);
        libraries::put(&mut root, listed);
    }
    let extends::Loader { mut problems, sources, incomplete, .. } = loader;
    row::expand(&mut root, schema, &mut problems);
    let mut checker = check::Checker::new(catalog);
    checker.ignore_missing = incomplete;
    let value = checker.root(&root, schema);
    problems.append(&mut checker.problems);
    if problems.is_empty() {
        return Ok(Checked { value, sources, root });
    }
    if !incomplete {
        let folder = |path: &str| root.nearest(path, &root.place).0.folder();
        for problem in catalog.more(&value, &problems, &folder) {
            let (place, found) = root.nearest(&problem.path, &root.place);
            if found && !problems.iter().any(|known| known.concerns(&problem.path)) {
                note(&mut problems, problem.at(&place));
            }
        }
    }
    Err(problems.into())
}

/// The files, merged, with the overrides.
fn put_together<'c>(
    read: Read,
    overrides: &[String],
    schema: &serde_json::Value,
    catalog: &'c dyn Catalog,
) -> (extends::Loader<'c>, Option<node::Node>) {
    let top = Site::top(schema, catalog);
    let mut loader = extends::Loader::new(top.clone());
    let mut root = read(&mut loader);
    for (n, argument) in overrides.iter().enumerate() {
        match overrides::Override::read(argument, loader.sources.len() + n) {
            Ok(change) => {
                let applied = root.as_mut().map_or(Ok(()), |root| change.apply(root, &top));
                loader.problems.extend(applied.err());
            }
            Err(found) => loader.problems.extend(found),
        }
    }
    (loader, root)
}
