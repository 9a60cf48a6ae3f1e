//! One HTML page that compares runs, in a single file that needs no network.
//!
//! It works on a phone, in dark mode and on paper, and needs JavaScript only to zoom. All text
//! from files is escaped. Notes at the top say what is missing or not comparable; the rest is
//! shown.

mod accuracy;
mod classes;
mod configs;
mod curves;
pub mod gallery;
mod notes;
mod origin;
mod paper;
mod strength;
mod tradeoff;
mod trust;
mod view;

pub use view::{Report, View};

use super::chart::{self, Figure};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A part of the page.
struct Section {
    /// The anchor, such as `trust`.
    id: &'static str,
    /// Its name in the list of sections.
    short: &'static str,
    /// The heading.
    title: &'static str,
    /// Its content; an empty one leaves the section out.
    body: Markup,
}

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/zoom.js");
/// The page may not fetch anything, whatever text it contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let section = |id, short, title, body| Section { id, short, title, body };
        let sections = [
            section("accuracy", "Accuracy", "Accuracy under attack", accuracy::section(self)),
            section("paper", "Paper", "The paper's tables", paper::section(self)),
            section("tradeoff", "Trade-off", "Natural against robust accuracy", figures(&tradeoff::figures(self))),
            section("training", "Training", "Training", curves::section(self)),
            section("strength", "Strength", "Against stronger attacks", strength::section(self)),
            section("classes", "Classes", "Class by class", figures(&classes::figures(self))),
            section("trust", "Trust", "Can these figures be trusted?", trust::section(self)),
            section("images", "Images", "What the attacks do", gallery::section(self)),
            section("configs", "Configs", "What differs between the runs", configs::section(self)),
            section("origin", "Origin", "Where the figures come from", origin::section(self)),
        ];
        let sections: Vec<Section> = sections.into_iter().filter(|section| !section.body.0.is_empty()).collect();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="generator" content={ "foil " (foil::VERSION) };
                    link rel="icon" href="data:,";
                    title { (self.title) }
                    style { (PreEscaped(chart::css())) (PreEscaped(STYLE)) }
                }
                body {
                    header { (self.head()) }
                    nav aria-label="Sections" { @for section in &sections { a href={ "#" (section.id) } { (section.short) } } }
                    main {
                        (notes::section(self))
                        @for section in &sections {
                            section id=(section.id) { h2 { (section.title) } (section.body) }
                        }
                    }
                    footer { "Made by foil " (foil::VERSION) " (libtorch " (foil::LIBTORCH) ") on " (self.created) "." }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        // Names from files may hold what terminals and editors obey.
        let page = page.into_string();
        page.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
    }

    /// Every figure of the page, for separate files.
    pub fn figures(&self) -> Vec<Figure> {
        let groups = [tradeoff::figures(self), curves::figures(self), strength::figures(self), classes::figures(self)];
        groups.into_iter().flatten().chain(gallery::figures(self)).collect()
    }
}

/// Figures side by side where there is room.
fn figures(figures: &[Figure]) -> Markup {
    if figures.is_empty() {
        return html! {};
    }
    html! { div class="figures" { @for figure in figures { figure { (figure.inline()) } } } }
}
