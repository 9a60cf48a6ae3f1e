//! Keys that name files and folders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A file that a plugin reads: in configs its path, relative to the config's folder.
///
/// `foil train` copies it into the run's folder, and fills in the plugin's key `sha256` if it has
/// one, so that a run is self-contained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilePath(String);

impl FilePath {
    /// Its path, resolved from `folder`.
    pub fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }
}

impl JsonSchema for FilePath {
    fn schema_name() -> Cow<'static, str> {
        "FilePath".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "x-file": true })
    }
}

/// Where a data set lies: in configs a path, relative to the config's folder.
///
/// Unlike a [`FilePath`] it is not copied, and it is not part of a run's identity: the same images
/// elsewhere are the same data, see `images.content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DataPath(String);

impl<'de> Deserialize<'de> for DataPath {
    /// Also from null, to which a run's identity sets it.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<String>::deserialize(deserializer).map(|path| Self(path.unwrap_or_default()))
    }
}

impl DataPath {
    /// The path itself, resolved from `folder`.
    pub fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }
}

impl JsonSchema for DataPath {
    fn schema_name() -> Cow<'static, str> {
        "DataPath".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "x-data": true })
    }
}
