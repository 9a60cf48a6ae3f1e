//! A subject as a page for the terminal.

use super::{Subject, snippet};
use crate::commands::{data, text};
use foil::registry::manual::{Fallback, Key, keys};
use foil::registry::{Plugin, article, plugins};
use foil_runs::pipeline::root_schema;

pub(super) fn of(subject: &Subject) -> String {
    match subject {
        Subject::Plugin(one) => plugin(one),
        Subject::Kind(kind, about) => self::kind(kind, about),
        Subject::Pipeline => {
            let schema = root_schema();
            let about = schema.get("description").and_then(|text| text.as_str()).unwrap_or_default();
            let hint = "`foil explain KIND` lists the plugins of a kind. `extends: base.yaml` builds on another file.";
            let about = text::wrap(&format!("{about}\n\n{hint}"), text::width(), 0);
            format!("{}, a YAML file\n\n{about}\n{}", text::bold("pipeline"), list(&keys(&schema)))
        }
        Subject::Keys(keys) => list(keys),
        Subject::PluginKeys(found) => {
            let of_one = |(plugin, one): &(&Plugin, Key)| format!("{} {}\n{}", plugin.kind(), plugin.name(), key(one));
            found.iter().map(of_one).collect::<Vec<_>>().join("\n")
        }
    }
}

fn plugin(plugin: &Plugin) -> String {
    let (kind, name) = (plugin.kind(), plugin.name());
    let mut page = format!("{}, {} from {}\n\n", text::bold(name), article(kind), plugin.origin());
    page += &text::wrap(&plugin.description(), text::width(), 0);
    if let Some(set) = data::built(plugin) {
        page += &format!("\n{}", data::page(plugin, set.as_ref()));
    }
    let keys = keys(&plugin.schema());
    page += if keys.is_empty() { "\nIt has no keys.\n" } else { "\nKeys\n" };
    page += &list(&keys);
    if let Ok(example) = snippet::yaml(plugin) {
        page += "\nExample\n";
        page.extend(example.lines().map(|line| format!("  {line}\n")));
    }
    if let Some(curve) = snippet::curve(plugin) {
        page.push('\n');
        page.extend(curve.lines().map(|line| format!("  {line}").trim_end().to_string() + "\n"));
    }
    page
}

/// A plugin in Python, from the schema of its class.
pub(super) fn in_python(kind: &str, file: &str, schema: &serde_json::Value) -> String {
    let text = |key: &str| schema.get(key).and_then(|text| text.as_str()).unwrap_or_default();
    let mut page = format!("{}, {} from {file}\n\n", text::bold(text("title")), article(kind));
    page += &text::wrap(text("description"), text::width(), 0);
    page += "\nKeys\n";
    page += &list(&keys(schema));
    page + &format!("\nExample\n  {kind}: {{ type: python, file: {file} }}\n")
}

fn kind(kind: &str, about: &str) -> String {
    let noun = foil_config::noun(kind);
    let article = article(kind);
    let an = if article.starts_with("an ") { "An" } else { "A" };
    let mut page = format!("{an} {} {about}.\n\n", text::bold(noun));
    let of_kind: Vec<&Plugin> = plugins().into_iter().filter(|plugin| plugin.kind() == kind).collect();
    let width = of_kind.iter().map(|plugin| plugin.name().len()).max().unwrap_or(0) + 4;
    for plugin in of_kind {
        page += &labelled(plugin.name(), &plugin.summary(), 2, width);
    }
    page += &format!("\nIt is chosen by name, `{kind}: NAME`, or with keys, `{kind}: {{ type: NAME, … }}`");
    page += &places(kind);
    page + "`foil explain NAME` describes one and its keys.\n"
}

/// The keys other than its own name that take a kind.
fn places(kind: &str) -> String {
    let takes = |key: &Key| key.components.iter().any(|component| component == kind);
    let mut places: Vec<String> =
        keys(&root_schema()).into_iter().filter(takes).map(|key| key.path).filter(|path| path != kind).collect();
    for plugin in plugins() {
        let inside = keys(&plugin.schema()).into_iter().filter(takes);
        places.extend(inside.map(|key| format!("{} of {} {}", key.path, plugin.kind(), plugin.name())));
    }
    if places.is_empty() {
        return ".\n".into();
    }
    let list = text::wrap(&format!("Also accepted by: {}.", places.join(", ")), text::width(), 0);
    format!(".\n{list}")
}

/// Keys below each other, each with what it takes and what it means.
fn list(keys: &[Key]) -> String {
    keys.iter().map(key).collect()
}

fn key(key: &Key) -> String {
    let scale = match key.unit.as_deref() {
        None => String::new(),
        Some("image") => "in image units such as 8/255".into(),
        Some(unit) => format!("in {unit}"),
    };
    let facts: Vec<&str> =
        [&key.takes, &key.bounds, &scale].map(String::as_str).into_iter().filter(|s| !s.is_empty()).collect();
    let fallback = match &key.fallback {
        Fallback::Required => "Required.".to_string(),
        Fallback::Unset => "Optional.".to_string(),
        Fallback::Value(value) => format!("Default: {value}."),
    };
    let head = text::wrap(&format!("{}: {}. {fallback}", key.path, facts.join(", ")), text::width(), 6);
    let mut out = format!("  {}", head.trim_start().replacen(&key.path, &text::bold(&key.path), 1));
    out += &text::wrap(&key.about, text::width(), 6);
    let width = key.choices.iter().map(|(word, _)| word.len()).max().unwrap_or(0) + 10;
    for (word, about) in &key.choices {
        out += &labelled(word, about, 8, width);
    }
    out
}

/// A word, and its meaning from column `column` on.
fn labelled(word: &str, about: &str, indent: usize, column: usize) -> String {
    let label = format!("{}{word}", " ".repeat(indent));
    format!("{label:<column$}{}", text::wrap(about, text::width(), column).trim_start())
}
