//! The whole manual as Markdown, a page for each kind of plugin: `docs/reference`.

use super::snippet;
use foil::atomic;
use foil::registry::manual::{Fallback, Key, keys};
use foil::registry::{KINDS, Plugin, article, plugins};
use foil::{AtPath, Result};
use std::path::{Path, PathBuf};

/// Writes the pages into `folder`, and returns their paths.
///
/// # Errors
/// When a page cannot be written.
pub(super) fn write(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).at("making", folder)?;
    let mut written = Vec::new();
    for (kind, about) in KINDS {
        let path = folder.join(format!("{kind}.md"));
        atomic::write(&path, page(kind, about)).at("writing", &path)?;
        written.push(path);
    }
    Ok(written)
}

fn page(kind: &str, about: &str) -> String {
    let a_kind = article(kind);
    let a_kind = a_kind[..1].to_uppercase() + &a_kind[1..];
    let of_kind: Vec<&Plugin> = plugins().into_iter().filter(|plugin| plugin.kind() == kind).collect();
    let kinds = foil_config::plural(kind);
    let mut text = format!(
        "# {}\n\n<!-- Written by `foil explain --markdown docs/reference` from doc comments; do not edit. -->\n\n{a_kind} {about}.\n",
        kinds[..1].to_uppercase() + &kinds[1..]
    );
    for plugin in of_kind {
        text += &section(plugin);
    }
    text
}

fn section(plugin: &Plugin) -> String {
    let mut text = format!("\n## `{}`\n\n{}\n\nFrom {}.", plugin.name(), plugin.description().trim(), plugin.origin());
    let keys = keys(&plugin.schema());
    if keys.is_empty() {
        text += " It has no keys.\n";
    } else {
        text += "\n\n| key | takes | default | meaning |\n|---|---|---|---|\n";
        text.extend(keys.iter().map(row));
    }
    if let Ok(example) = snippet::yaml(plugin) {
        text += &format!("\n```yaml\n{example}```\n");
    }
    text
}

fn row(key: &Key) -> String {
    let unit = match key.unit.as_deref() {
        Some("image") => "on the scale [0, 1]".to_string(),
        Some(unit) => format!("in {unit}"),
        None => String::new(),
    };
    let takes = [key.takes.as_str(), &key.bounds, &unit];
    let takes: Vec<&str> = takes.into_iter().filter(|part| !part.is_empty()).collect();
    let fallback = match &key.fallback {
        Fallback::Required => "required".to_string(),
        Fallback::Unset => String::new(),
        Fallback::Value(value) => format!("`{value}`"),
    };
    let words = key.choices.iter().map(|(word, about)| format!("<br>`{word}`: {}", cell(about)));
    format!(
        "| `{}` | {} | {fallback} | {}{} |\n",
        key.path,
        cell(&takes.join(", ")),
        cell(&key.about),
        words.collect::<String>()
    )
}

/// One line, without characters that end a cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
