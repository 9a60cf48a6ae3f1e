//! `plugins.lock`: which libraries may be loaded from a folder's pipelines, byte for byte.

use super::library::{Library, file_name};
use crate::{AtPath, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const LOCK: &str = "plugins.lock";

/// Libraries by the name of their file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lock(BTreeMap<String, Pin>);

/// What is written down of a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Its package with version, for people.
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
    /// The lock in `folder`; none if there is none.
    ///
    /// # Errors
    /// When it cannot be read: a lock that is damaged locks.
    pub fn beside(folder: &Path) -> Result<Option<(PathBuf, Self)>> {
        let path = folder.join(LOCK);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).at("reading", &path)?;
        let lock = serde_yaml::from_str(&text).at("reading", &path);
        Ok(Some((path, lock.map_err(|error| error.help("write it again with `foil plugins lock`"))?)))
    }

    /// A lock that holds these libraries.
    pub fn of(libraries: impl IntoIterator<Item = (String, Pin)>) -> Self {
        Self(libraries.into_iter().collect())
    }

    /// The SHA-256 that it holds of the library at `path`.
    pub(crate) fn sha256(&self, path: &Path) -> Option<&str> {
        self.0.get(&file_name(path)).map(|pin| pin.sha256.as_str())
    }

    /// Whether it holds nothing.
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
        crate::record::atomic::write(&path, format!("{HEADER}{yaml}")).at("writing", &path)?;
        Ok(path)
    }

    /// Refuses a library that the lock at `path` does not hold as it is.
    pub(super) fn check(&self, path: &Path, library: &Library) -> Result<()> {
        let (lock, file) = (path.display(), library.path.display());
        let accept = "`foil plugins lock` accepts it, if you trust it";
        match self.0.get(&library.file_name()) {
            Some(pin) if pin.sha256 == library.sha256 => Ok(()),
            Some(pin) => Err(Error::new(format!(
                "{file} is not the library that {lock} holds; it was not loaded\n  locked     {}\n  found      {}",
                pin.sha256, library.sha256
            ))
            .help(accept)),
            None => Err(Error::new(format!("{file} is not in {lock}; it was not loaded")).help(accept)),
        }
    }
}
