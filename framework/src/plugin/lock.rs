//! `plugins.lock`: which libraries may be loaded from a folder's pipelines, byte for byte.

use super::library::{Library, file_name};
use crate::{AtPath, Error, Result, regular};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const LOCK: &str = "plugins.lock";

/// The most bytes of a lock, as for a pipeline.
const LONGEST: u64 = 1 << 20;

/// A lock names no plugins and loads none.
struct NoPlugins;

impl foil_config::Catalog for NoPlugins {
    fn names(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, _: &str, _: &str) -> Option<serde_json::Value> {
        None
    }
}

/// Libraries by the name of their file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lock(BTreeMap<String, Pin>);

/// A library's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its package with version, for the reader.
    pub plugin: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Pin {
    pub(super) fn of(path: &Path, package: &str, version: &str, sha256: &str) -> (String, Self) {
        (file_name(path), Self { plugin: format!("{package} {version}"), sha256: sha256.to_string() })
    }
}

const HEADER: &str =
    "# The plugin libraries that this folder's pipelines may load, byte for byte. Written by `foil plugins lock`.\n";

impl Lock {
    /// The lock in `folder`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read: a damaged lock refuses everything.
    pub fn beside(folder: &Path) -> Result<Option<(PathBuf, Self)>> {
        let path = folder.join(LOCK);
        let file = match regular::open(&path) {
            // A dangling link is a lock that cannot be read.
            Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
            found => found.at("reading", &path)?,
        };
        let text = regular::content(file, LONGEST).at("reading", &path)?;
        let lock = Self::parse(&path.display().to_string(), &text)?;
        Ok(Some((path, lock)))
    }

    /// Parses it like a pipeline, with the parser that is safe against hostile input.
    fn parse(name: &str, text: &[u8]) -> Result<Self> {
        let text_value = serde_json::json!({ "type": "string" });
        let pin = serde_json::json!({
            "type": "object",
            "properties": { "plugin": text_value, "sha256": text_value },
            "required": ["plugin", "sha256"],
            "additionalProperties": false,
        });
        let schema = serde_json::json!({ "type": "object", "additionalProperties": pin });
        let checked = foil_config::load_str(name, text, &[], &schema, &NoPlugins).map_err(|problems| {
            let text = problems.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Error::new(format!("{name} is not a lock file for libraries: {first}"))
        })?;
        serde_yaml::from_value(checked.value).at("reading", Path::new(name))
    }

    /// A lock that holds these libraries.
    pub fn of(libraries: impl IntoIterator<Item = (String, Pin)>) -> Self {
        Self(libraries.into_iter().collect())
    }

    /// The SHA-256 that it lists for the library at `path`.
    pub fn sha256(&self, path: &Path) -> Option<&str> {
        self.0.get(&file_name(path)).map(|pin| pin.sha256.as_str())
    }

    /// Whether it lists no library.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(LOCK);
        let yaml = serde_yaml::to_string(self).at("writing", &path)?;
        // Unquoted, a digest of digits around an `e` would be a number.
        let quoted = |line: &str| match line.strip_prefix("  sha256: ") {
            Some(digest) => format!("  sha256: \"{}\"\n", digest.trim_matches(['"', '\''])),
            None => format!("{line}\n"),
        };
        let yaml: String = yaml.lines().map(quoted).collect();
        crate::atomic::write(&path, format!("{HEADER}{yaml}")).at("writing", &path)?;
        Ok(path)
    }

    /// Refuses a library that the lock at `path` does not list with this SHA-256; `command` writes
    /// the lock with it.
    pub(super) fn check(&self, path: &Path, library: &Library, command: &str) -> Result<()> {
        let (lock, file) = (path.display(), library.path.display());
        let accept = format!("if you trust it: {command}");
        match self.0.get(&library.file_name()) {
            Some(pin) if pin.sha256 == library.sha256 => Ok(()),
            Some(pin) => Err(Error::new(format!(
                "{file} is not the library that {lock} holds; it was not loaded\n  locked     {}\n  found      {}",
                pin.sha256, library.sha256
            ))
            .help(accept)),
            None => {
                // The command names libraries by their paths, of which the lock knows the last
                // part.
                let others: Vec<&str> = self.0.keys().map(String::as_str).collect();
                let others = match command.contains("--plugins") && !others.is_empty() {
                    true => format!(", with --plugins for what it holds already: {}", others.join(", ")),
                    false => String::new(),
                };
                Err(Error::new(format!("{file} is not in {lock}; it was not loaded")).help(accept + &others))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(text: &str) -> Result<Option<(PathBuf, Lock)>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(LOCK), text).unwrap();
        Lock::beside(folder.path())
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lock::beside(folder.path()).unwrap().is_none());
        // A digest of digits alone must be a string too.
        for sha256 in ["1".repeat(64), format!("{}e{}", "1".repeat(30), "2".repeat(33))] {
            let pin = Pin { plugin: "at 0.1.0".into(), sha256 };
            Lock::of([("libat.so".to_string(), pin.clone())]).write(folder.path()).unwrap();
            assert_eq!(Lock::beside(folder.path()).unwrap().unwrap().1.0["libat.so"], pin);
        }
    }

    /// A lock that cannot be read refuses everything, and reading it never blocks.
    #[test]
    fn a_lock_that_is_none_is_refused_at_once() {
        let started = std::time::Instant::now();
        let deep = |open: &str| open.repeat(100_000);
        for text in [
            &deep("["),
            &deep("{a: "),
            &deep("- "),
            "plugins: [x.so]",
            "libat.so: 5",
            "libat.so: { plugin: a }",
            "",
            "- a",
        ] {
            let error = lock(text).unwrap_err();
            let help = format!("{error}");
            assert!(help.contains(LOCK), "{error}");
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_locks() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("gone", folder.path().join(LOCK)).unwrap();
        assert!(Lock::beside(folder.path()).is_err());
    }
}
