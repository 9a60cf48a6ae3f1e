//! docs/methods.md has a section for each method, with what holds it, and names nothing that is not
//! there.

mod tiny;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What each section has, as list items `- NAME: …`.
const ROWS: [&str; 4] = ["printed", "official code", "foil", "held by"];

struct Section {
    title: String,
    rows: BTreeMap<String, String>,
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(ROOT).join(path)).ok()
}

/// The sections behind the one that explains the notation.
fn sections(page: &str) -> Vec<Section> {
    let (_, methods) = page.split_once("\n## How to read them\n").unwrap();
    let read = |section: &str| {
        let (title, body) = section.split_once('\n').unwrap();
        let mut rows = BTreeMap::new();
        let mut open = None;
        for line in body.lines() {
            if let Some((name, rest)) = line.strip_prefix("- ").and_then(|item| item.split_once(": ")) {
                rows.insert(name.to_string(), rest.to_string());
                open = Some(name);
            } else if let (Some(name), Some(more)) = (open, line.strip_prefix("  ")) {
                rows.get_mut(name).unwrap().extend([" ", more]);
            } else {
                open = None;
            }
        }
        Section { title: title.to_string(), rows }
    };
    methods.split("\n## ").skip(1).map(read).collect()
}

/// What stands between backquotes.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

impl Section {
    fn row(&self, name: &str) -> &str {
        self.rows.get(name).map_or("", String::as_str)
    }

    /// The files named where foil's form and its tests are, and the functions behind each.
    fn sources(&self) -> Vec<(&str, Vec<&str>)> {
        let mut sources: Vec<(&str, Vec<&str>)> = Vec::new();
        for span in spans(self.row("foil")).chain(spans(self.row("held by"))) {
            if span.ends_with(".rs") {
                sources.push((span, Vec::new()));
            } else if let (Some(function), Some((_, functions))) = (span.strip_suffix("()"), sources.last_mut()) {
                functions.push(function);
            }
        }
        sources
    }

    /// What holds it: (kind, name).
    fn holders(&self) -> Vec<(&str, &str)> {
        let parts = self.row("held by").split(';').filter_map(|part| part.trim().split_once(' '));
        parts.flat_map(|(kind, names)| spans(names).map(move |name| (kind, name))).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(ROWS.iter().filter(|row| self.row(row).is_empty()).map(|row| format!("has no row `{row}`")));
        for (file, functions) in self.sources() {
            let Some(code) = text(file) else {
                problems.push(format!("names the file {file}"));
                continue;
            };
            let defined = |name: &str| code.contains(&format!("fn {name}(")) || code.contains(&format!("fn {name}<"));
            let missing = functions.into_iter().filter(|name| !defined(name));
            problems.extend(missing.map(|name| format!("names the function {name} of {file}")));
        }
        if self.sources().iter().all(|(_, functions)| functions.is_empty()) {
            problems.push("names no function".to_string());
        }
        for (kind, name) in self.holders() {
            let there = match kind {
                "golden" => golden(name),
                "parity" => text(&format!("tests/parity/expected/{name}.json")).is_some(),
                "probe" => text(&format!("tests/probe/{name}.json")).is_some(),
                "test" => name.ends_with(".rs") || name.ends_with("()"), // held with the other sources
                _ => false,
            };
            if !there {
                problems.push(format!("names the {kind} {name}"));
            }
        }
        if self.holders().is_empty() {
            problems.push("is held by nothing".to_string());
        }
        problems.into_iter().map(|problem| format!("{} {problem}", self.title)).collect()
    }

    /// Whether it is about the plugin: says so, and names the file that registers it.
    fn is_about(&self, kind: &str, name: &str) -> bool {
        let registers =
            |(file, _): (&str, Vec<&str>)| text(file).is_some_and(|code| code.contains(&format!("\"{name}\"")));
        self.row("foil").contains(&format!("{kind} `{name}`")) && self.sources().into_iter().any(registers)
    }
}

/// Whether tests/goldens has the case `FILE/CASE`.
fn golden(name: &str) -> bool {
    let Some((file, case)) = name.split_once('/') else { return false };
    let path = Path::new(ROOT).join(format!("tests/goldens/{file}.safetensors"));
    let Ok((_, metadata)) = foil::tensors::read(&path) else { return false };
    serde_json::from_str::<BTreeMap<String, String>>(&metadata["cases"]).unwrap().contains_key(case)
}

/// Every loss, and every attack of a method's own crate: (kind, name).
fn registered() -> Vec<(String, String)> {
    let listed: Vec<Value> = serde_json::from_str(&tiny::Place::with("").foil(&["list", "--json"]).ok().out).unwrap();
    let of_a_method =
        |entry: &&Value| entry["kind"] == "loss" || entry["kind"] == "attack" && entry["crate"] != "foil-attacks";
    let name = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_string();
    listed.iter().filter(of_a_method).map(|entry| (name(entry, "kind"), name(entry, "name"))).collect()
}

/// The methods of the CAT paper's Table 9.
fn table9() -> Vec<String> {
    let table = text("framework/cli/src/report/paper/tables/table9.yaml").unwrap();
    table.lines().filter_map(|line| line.trim().strip_prefix("- label: ")).map(str::to_string).collect()
}

/// Everything that is wrong with the page.
fn problems(page: &str, registered: &[(String, String)]) -> Vec<String> {
    let sections = sections(page);
    let mut problems: Vec<String> = sections.iter().flat_map(Section::problems).collect();
    for (kind, name) in registered {
        if !sections.iter().any(|section| section.is_about(kind, name)) {
            problems.push(format!("no section has {kind} {name} and where it is registered"));
        }
    }
    for label in table9() {
        if !sections.iter().any(|section| section.title == label) {
            problems.push(format!("Table 9's {label} has no section"));
        }
    }
    for case in fs::read_dir(Path::new(ROOT).join("tests/parity/expected")).unwrap() {
        let case = case.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string();
        if !sections.iter().any(|section| section.holders().contains(&("parity", &case))) {
            problems.push(format!("no section names the parity case {case}"));
        }
    }
    problems
}

#[test]
fn every_method_has_a_section_and_everything_it_names_is_there() {
    let registered = registered();
    assert!(registered.len() >= 11 && table9().len() == 5, "{registered:?} {:?}", table9());
    let problems = problems(&text("docs/methods.md").unwrap(), &registered);
    assert!(problems.is_empty(), "docs/methods.md\n{}", problems.join("\n"));
}

#[test]
fn what_is_missing_or_wrong_is_noticed() {
    let page = text("docs/methods.md").unwrap();
    let mut registered = registered();
    for (is, becomes, problem) in [
        ("\n## MART\n", "\n## Mart\n", "Table 9's MART has no section"),
        ("loss `trades` in", "loss `traces` in", "no section has loss trades and where it is registered"),
        (
            "attack `calibrated` in",
            "attack `calibre` in",
            "no section has attack calibrated and where it is registered",
        ),
        ("- printed: Kannan", "- prints: Kannan", "ALP has no row `printed`"),
        ("`losses/omma`", "`losses/oma`", "MMA names the golden losses/oma"),
        ("`fattrades2`", "`fattrades3`", "FAT names the parity fattrades3"),
        ("`fattrades2`", "`fattrades1`", "no section names the parity case fattrades2"),
        ("`cat_cw_bn`", "`cat_cw_bm`", "CAT names the probe cat_cw_bm"),
        (
            "`plugins/at/src/lib.rs` `forward()`",
            "`plugins/at/src/loss.rs` `forward()`",
            "AT names the file plugins/at/src/loss.rs",
        ),
        ("`after_update()`", "`after_updates()`", "CAT names the function after_updates of plugins/cat/src/attack.rs"),
    ] {
        let changed = page.replacen(is, becomes, 1);
        let found = problems(&changed, &registered);
        assert!(changed != page && found.iter().any(|said| said == problem), "{is} as {becomes}: {found:?}");
    }
    registered.push(("loss".to_string(), "new_loss".to_string()));
    assert_eq!(problems(&page, &registered), ["no section has loss new_loss and where it is registered"]);
}
