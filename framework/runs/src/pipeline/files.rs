//! Files that a pipeline names: resolving their paths, and copying them into a run's folder.

use super::Pipeline;
use super::extra::checkpoint;
use foil::atomic;
use foil::plugin::{Lock, loaded};
use foil::registry::{Names, admitting, key_of_plugin, reading_in};
use foil::{AtPath, Result, regular};
use foil_config::{Checked, FolderOf};
use serde_yaml::Value;
use std::path::{Path, PathBuf, absolute};

/// Whether this is the path of a pipeline's own file: `init`, `networks.NAME.init`, `extra.labels`.
/// Others are keys of plugins.
pub(super) fn is_own(path: &str) -> bool {
    let of_network = |path: &str| path.strip_suffix(".init").is_some_and(|name| !name.contains('.'));
    ["init", "extra.labels"].contains(&path) || path.strip_prefix("networks.").is_some_and(of_network)
}

/// Calls `change` with the key path and the map of the pipeline and of every component that names a
/// file or the place of a data set, the key, and which of both it is.
fn each(
    value: &mut Value,
    path: &str,
    change: &mut impl FnMut(&str, &mut serde_yaml::Mapping, &str, Names) -> Result<()>,
) -> Result<()> {
    let Value::Mapping(map) = value else { return Ok(()) };
    let keys: Vec<String> = map.keys().filter_map(|key| key.as_str().map(String::from)).collect();
    let plugin = map.get("type").and_then(Value::as_str).map(String::from);
    for key in keys {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let is_own = is_own(&inner) && map.get(key.as_str()).is_some_and(Value::is_string);
        let named = plugin.as_ref().and_then(|name| key_of_plugin(name, &key)).unwrap_or(Names::Nothing);
        let named = if is_own { Names::File } else { named };
        if named != Names::Nothing {
            change(&inner, map, &key, named)?;
        } else if let Some(value) = map.get_mut(key.as_str()) {
            each(value, &inner, change)?;
        }
    }
    Ok(())
}

/// The same part of a pipeline, written at `path`, with every file named by its path from the
/// current folder.
pub(super) fn found(value: &Value, path: &str, folder: FolderOf<'_>) -> Value {
    let mut value = value.clone();
    let named = each(&mut value, path, &mut |at, map, key, named| {
        if let (Names::File, Some(Value::String(text))) = (named, map.get_mut(key)) {
            *text = folder(at).join(&*text).display().to_string();
        }
        Ok(())
    });
    debug_assert!(named.is_ok(), "nothing above fails");
    value
}

/// Makes paths that were not written in `main` relative to its folder: those of a base in another
/// folder, and those of the command line, which are relative to the current folder.
pub(super) fn locate(checked: &Checked, main: &Path) -> Result<Value> {
    let folder_of = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut value = checked.value.clone();
    each(&mut value, "", &mut |path, map, key, _| {
        let Some(Value::String(text)) = map.get_mut(key) else { return Ok(()) };
        let from = checked.locate(path).map(|place| place.folder()).unwrap_or_default();
        if from != folder_of(main) {
            let whole = from.join(&*text);
            *text = absolute(&whole).at("finding", &whole)?.display().to_string();
        }
        Ok(())
    })?;
    Ok(value)
}

impl Pipeline {
    /// The checkpoint with the model's initial weights.
    pub fn begins_with(&self) -> Option<PathBuf> {
        self.init.as_ref().map(|init| init.within(&self.folder))
    }

    /// The same pipeline with every file and library named by its content, for comparisons. A file
    /// that does not exist is named by its `sha256`, or keeps its path. Where data lie is left out.
    ///
    /// # Errors
    /// When a plugin's settings have no YAML form.
    pub(super) fn by_content(&self) -> Result<Self> {
        let mut value = serde_yaml::to_value(self).at("comparing", &self.folder)?;
        each(&mut value, "", &mut |_, map, key, named| {
            if named == Names::Data {
                map.insert(key.into(), Value::Null);
                return Ok(());
            }
            let source = self.folder.join(map.get(key).and_then(Value::as_str).unwrap_or_default());
            let source = checkpoint(source);
            let said = map.remove("sha256").and_then(|said| said.as_str().map(String::from));
            if let Some(sum) = foil::hash::file_hash(&source).ok().or(said) {
                map.insert(key.into(), sum.into());
            }
            Ok(())
        })?;
        // It was valid when it was read, including parts of libraries that are not loaded.
        let named: Self = admitting(|| serde_yaml::from_value(value)).at("comparing", &self.folder)?;
        Ok(Self { plugins: self.libraries_by_content()?, ..named })
    }

    /// The SHA-256 of its libraries: from the lock of a run's folder, otherwise of the loaded
    /// files.
    fn libraries_by_content(&self) -> Result<Vec<String>> {
        let lock = Lock::beside(&self.folder).ok().flatten().map(|(_, lock)| lock);
        let loaded = loaded();
        let sum = |path: &String| {
            let locked = lock.as_ref().and_then(|lock| lock.sha256(Path::new(path)));
            let found = || loaded.iter().find(|l| l.path.display().to_string() == *path).map(|l| l.pin().1.sha256);
            locked.map(String::from).or_else(found).unwrap_or_else(|| path.clone())
        };
        let mut sums: Vec<String> = self.plugins.iter().map(sum).collect();
        sums.sort();
        Ok(sums)
    }

    /// The same pipeline with its files copied into `folder`, where each is named after its key;
    /// their SHA-256 is filled in. Data stay where they are.
    ///
    /// # Errors
    /// When one of them cannot be read or written.
    pub fn carried_into(&self, folder: &Path) -> Result<Self> {
        let mut value = serde_yaml::to_value(self).at("writing", folder)?;
        each(&mut value, "", &mut |path, map, key, named| {
            let Some(text) = map.get(key).and_then(Value::as_str) else { return Ok(()) };
            let source = self.folder.join(text);
            if named == Names::Data {
                let whole = absolute(&source).at("finding", &source)?;
                map.insert(key.into(), whole.display().to_string().into());
                return Ok(());
            }
            let source = checkpoint(source);
            let part = path.rsplit_once('.').map_or(path, |(part, _)| part);
            let name = match source.extension() {
                Some(extension) => format!("{part}.{}", extension.display()),
                None => part.to_string(),
            };
            let mut from = regular::open(&source).at("reading", &source)?;
            atomic::write_with(folder.join(&name), |to| std::io::copy(&mut from, to).map(drop))
                .at("copying", &source)?;
            let hash = foil::hash::file_hash(&folder.join(&name)).at("reading", &source)?;
            let has_hash = map.get("type").and_then(Value::as_str).and_then(|plugin| key_of_plugin(plugin, "sha256"));
            map.insert(key.into(), name.into());
            if has_hash.is_some() {
                map.insert("sha256".into(), hash.into());
            }
            Ok(())
        })?;
        let carried: Self = reading_in(folder, || serde_yaml::from_value(value)).at("reading", folder)?;
        Ok(Self { folder: folder.to_path_buf(), ..carried })
    }
}
