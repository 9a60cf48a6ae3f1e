//! The checks of each evaluation, of every seed: green, red, or not run.

use super::{Report, View};
use foil::distinct;
use foil_runs::record::TrustCheck;
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Markup {
    let all = || report.views.iter().flat_map(checks);
    let names = distinct(all().map(|(_, check)| check.name.as_str()));
    if names.is_empty() {
        return html! {};
    }
    let checked: Vec<&View> = report.views.iter().filter(|view| checks(view).next().is_some()).collect();
    html! {
        @if !all().any(|(_, check)| failed(check)) {
            p { "Every check that was run passed." }
        }
        @for view in &checked {
            @for (seed, check) in checks(view).filter(|(_, check)| failed(check)) {
                p class="note bad" { strong { (name(view, seed)) ", " (words(&check.name)) } ": " (check.says) }
            }
        }
        div class="wide" tabindex="0" role="region" aria-label="Trust checks" {
            table class="checks" {
                thead { tr { th scope="col" { "check" } @for view in &checked { th scope="col" { (view.label) } } } }
                tbody {
                    @for name in &names {
                        tr {
                            th scope="row" { (words(name)) }
                            @for view in &checked { (cell(&checks(view).filter(|(_, check)| check.name == *name).collect::<Vec<_>>())) }
                        }
                    }
                }
            }
        }
        details {
            summary { "What each check found" }
            @for view in &checked {
                @for seed in distinct(checks(view).map(|(seed, _)| seed)) {
                    h3 { (name(view, seed)) }
                    ul {
                        @for (_, check) in checks(view).filter(|(of, _)| *of == seed) {
                            li { strong { (words(&check.name)) } ": " (check.says) }
                        }
                    }
                }
            }
        }
    }
}

/// The checks of all evaluated runs, each with its seed.
fn checks(view: &View) -> impl Iterator<Item = (u64, &TrustCheck)> {
    view.group.evals().flat_map(|eval| eval.trust.iter().map(|check| (eval.seed, check)))
}

fn failed(check: &TrustCheck) -> bool {
    check.passed == Some(false)
}

/// The method, and the seed where there are several.
fn name(view: &View, seed: u64) -> String {
    if view.group.runs.len() > 1 { format!("{} (seed {seed})", view.label) } else { view.label.clone() }
}

/// How many checks of how many seeds failed.
pub(super) fn failures(view: &View) -> (usize, usize) {
    let failed: Vec<u64> = checks(view).filter(|(_, check)| failed(check)).map(|(seed, _)| seed).collect();
    (failed.len(), distinct(failed.iter().copied()).len())
}

/// One check of every seed: red where it is red for any.
fn cell(checks: &[(u64, &TrustCheck)]) -> Markup {
    let of = |passed: Option<bool>| checks.iter().filter(move |(_, check)| check.passed == passed);
    let says = |passed| of(passed).map(|(_, check)| check.says.as_str()).collect::<Vec<_>>().join("; ");
    let (red, green, seeds) = (of(Some(false)).count(), of(Some(true)).count(), checks.len());
    let count = |count: usize| if seeds > 1 { format!(" ({count} of {seeds} seeds)") } else { String::new() };
    match seeds {
        0 => html! { td class="soft" { "–" } },
        _ if red > 0 => html! { td class="fail" title=(says(Some(false))) { "✗ fail" (count(red)) } },
        _ if green > 0 => html! { td class="pass" title=(says(Some(true))) { "✓ pass" (count(green)) } },
        _ => html! { td class="soft" title=(says(None)) { "not run" } },
    }
}

/// `zero_gradients` as `zero gradients`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}
