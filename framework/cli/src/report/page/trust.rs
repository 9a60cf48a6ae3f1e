//! The checks of each evaluation: green, red, or not run.

use super::{Report, View};
use foil::distinct;
use foil::record::TrustCheck;
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Markup {
    let names = distinct(report.views.iter().flat_map(checks).map(|check| check.name.as_str()));
    if names.is_empty() {
        return html! {};
    }
    let checked: Vec<&View> = report.views.iter().filter(|view| checks(view).next().is_some()).collect();
    let failed = |check: &&TrustCheck| check.passed == Some(false);
    html! {
        @if !report.views.iter().flat_map(checks).any(|check| failed(&check)) {
            p { "Every check that was run passed." }
        }
        @for view in &checked {
            @for check in checks(view).filter(failed) {
                p class="note bad" { strong { (view.label) ", " (words(&check.name)) } ": " (check.says) }
            }
        }
        div class="wide" tabindex="0" role="region" aria-label="Trust checks" {
            table class="checks" {
                thead { tr { th scope="col" { "check" } @for view in &checked { th scope="col" { (view.label) } } } }
                tbody {
                    @for name in &names {
                        tr {
                            th scope="row" { (words(name)) }
                            @for view in &checked { (cell(checks(view).find(|check| check.name == *name))) }
                        }
                    }
                }
            }
        }
        details {
            summary { "What each check found" }
            @for view in &checked {
                h3 { (view.label) }
                ul { @for check in checks(view) { li { strong { (words(&check.name)) } ": " (check.says) } } }
            }
        }
    }
}

/// The checks of the first evaluated run.
fn checks(view: &View) -> impl Iterator<Item = &TrustCheck> {
    view.group.evals().take(1).flat_map(|eval| &eval.trust)
}

pub(super) fn failures(view: &View) -> usize {
    checks(view).filter(|check| check.passed == Some(false)).count()
}

fn cell(check: Option<&TrustCheck>) -> Markup {
    match check.map(|check| (check.passed, check.says.as_str())) {
        Some((Some(true), says)) => html! { td class="pass" title=(says) { "✓ pass" } },
        Some((Some(false), says)) => html! { td class="fail" title=(says) { "✗ fail" } },
        Some((None, says)) => html! { td class="soft" title=(says) { "not run" } },
        None => html! { td class="soft" { "–" } },
    }
}

/// `zero_gradients` as `zero gradients`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}
