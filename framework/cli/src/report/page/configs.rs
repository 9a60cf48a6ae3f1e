//! The runs' configs, with what differs between them.

use super::Report;
use maud::{Markup, html};
use serde_yaml::Value;
use std::collections::BTreeMap;

/// Maximum length of a value, in characters.
const LONGEST: usize = 90;

pub(super) fn section(report: &Report) -> Markup {
    let configs: Vec<(usize, BTreeMap<String, String>)> = report
        .views
        .iter()
        .enumerate()
        .filter_map(|(n, view)| Some((n, flat(&serde_yaml::to_value(&view.group.runs.first()?.pipeline).ok()?))))
        .collect();
    let mut keys: Vec<&String> = configs.iter().flat_map(|(_, config)| config.keys()).collect();
    keys.sort_by_key(|key| (rank(key), key.as_str()));
    keys.dedup();
    let differs = |key: &&String| configs.iter().any(|(_, config)| config.get(*key) != configs[0].1.get(*key));
    let different: Vec<&String> =
        keys.iter().copied().filter(|key| differs(key) && !["name", "seed"].contains(&key.as_str())).collect();
    html! {
        @if configs.len() > 1 {
            @if different.is_empty() { p { "Nothing: their configs are the same." } } @else {
                p class="soft" { "Keys whose values differ between runs; values that differ from most runs are marked. All other keys are the same." }
                div class="wide" tabindex="0" role="region" aria-label="Differences" {
                    table class="configs" {
                        thead { tr { th scope="col" { "key" } @for (n, _) in &configs { th scope="col" { (report.views[*n].label) } } } }
                        tbody {
                            @for key in &different {
                                @let usual = most(configs.iter().map(|(_, config)| config.get(*key)));
                                tr {
                                    th scope="row" { code { (key) } }
                                    @for (_, config) in &configs { (cell(config.get(*key), usual)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        @for (n, _) in &configs {
            details {
                summary { "Config of " (report.views[*n].label) }
                @if let Some(Ok(text)) = report.views[*n].group.runs.first().map(|run| run.pipeline.to_yaml()) { pre { code { (text) } } }
            }
        }
    }
}

fn cell(value: Option<&String>, usual: Option<&String>) -> Markup {
    let Some(text) = value else { return html! { td class="soft" { "–" } } };
    let shown = if text.chars().count() > LONGEST {
        format!("{}…", text.chars().take(LONGEST).collect::<String>())
    } else {
        text.clone()
    };
    if value == usual {
        html! { td { code { (shown) } } }
    } else {
        html! { td { mark { code { (shown) } } } }
    }
}

/// The value that occurs most often, if one does.
fn most<'a>(values: impl Iterator<Item = Option<&'a String>>) -> Option<&'a String> {
    let mut counts = BTreeMap::<&String, usize>::new();
    values.flatten().for_each(|value| *counts.entry(value).or_default() += 1);
    let most = *counts.values().max()?;
    let mut first = counts.into_iter().filter(|(_, count)| *count == most);
    let value = first.next()?.0;
    first.next().is_none().then_some(value)
}

/// Dotted keys and their values. Lists stay one value.
fn flat(value: &Value) -> BTreeMap<String, String> {
    fn walk(value: &Value, path: &str, to: &mut BTreeMap<String, String>) {
        match value {
            Value::Mapping(map) => {
                for (key, value) in map {
                    let key = key.as_str().map_or_else(|| format!("{key:?}"), str::to_string);
                    walk(value, &if path.is_empty() { key } else { format!("{path}.{key}") }, to);
                }
            }
            other => {
                let text = serde_json::to_string(other).unwrap_or_default();
                to.insert(path.strip_suffix(".type").unwrap_or(path).to_string(), text.replace('"', ""));
            }
        }
    }
    let mut flat = BTreeMap::new();
    walk(value, "", &mut flat);
    flat
}

/// Orders keys: those of the method first, those of the evaluation last.
fn rank(key: &str) -> usize {
    let order = ["attack", "loss", "model", "normalize", "optimizer", "train", "data", "select", "evaluate", "attacks"];
    let first = key.split('.').next().unwrap_or(key);
    order.iter().position(|name| *name == first).unwrap_or(order.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dotted_and_a_component_is_its_name() {
        let value =
            serde_yaml::from_str("{attack: {type: pgd, steps: 10}, evaluate: [natural, pgd20], name: null}").unwrap();
        let flat = flat(&value);
        let pairs: Vec<String> = flat.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(pairs, ["attack=pgd", "attack.steps=10", "evaluate=[natural,pgd20]", "name=null"]);
    }

    #[test]
    fn the_usual_value_is_the_one_of_most() {
        let (a, b) = ("a".to_string(), "b".to_string());
        assert_eq!(most([Some(&a), Some(&b), Some(&a), None].into_iter()), Some(&a));
        assert_eq!(most([Some(&a), Some(&b)].into_iter()), None);
        assert_eq!(most([None].into_iter()), None);
    }
}
