//! The heading of a group of drawings: a title, lines of explanation, and a common legend.

use super::figure::{Figure, px, width_of};
use super::plane::dash;
use super::symbols::{plain, symbols};
use maud::{Markup, html};

/// A title, lines of explanation and a legend.
#[derive(Debug, Clone)]
pub struct Heading {
    /// The title.
    pub title: String,
    /// Lines below it, in grey.
    pub notes: Vec<String>,
    /// The legend.
    pub keys: Vec<Key>,
    /// How wide the drawings below are.
    pub width: f64,
}

/// A legend's entry.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its text; `_` marks an index.
    pub label: String,
    /// Its colour, as [`series`](super::series) or `var(--ink)` gives it.
    pub colour: String,
    /// Its sign.
    pub sign: Sign,
}

/// The sign of a legend's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A line.
    Line,
    /// A dashed line.
    Dashed,
    /// A region with lines up to the right.
    Rising,
    /// A region with lines down to the right.
    Falling,
    /// A point.
    Dot,
    /// A ring.
    Ring,
    /// A ball within Linf.
    Square,
}

const FONT: f64 = 12.0;
const SIGN: f64 = 22.0;
const ROW: f64 = 19.0;

impl Heading {
    /// The drawing.
    pub fn figure(&self) -> Figure {
        let first = 24.0 + 16.0 * self.notes.len() as f64 + 14.0;
        let (mut x, mut y) = (0.0, first);
        let places: Vec<[f64; 2]> = self
            .keys
            .iter()
            .map(|key| {
                // `width_of` is an upper estimate; here a smaller width would only bring entries
                // closer.
                let width = SIGN + 7.0 + 0.78 * width_of(&plain(&key.label), FONT) + 16.0;
                if x > 0.0 && x + width > self.width {
                    (x, y) = (0.0, y + ROW);
                }
                let place = [x, y];
                x += width;
                place
            })
            .collect();
        let body = html! {
            text x="0" y="15" fill="var(--ink)" font-size="15" font-weight="600" { (symbols(&self.title)) }
            @for (note, n) in self.notes.iter().zip(0..) {
                text x="0" y=(px(34.0 + 16.0 * f64::from(n))) fill="var(--soft)" font-size="12" { (symbols(note)) }
            }
            @for (key, [x, y]) in self.keys.iter().zip(&places) {
                (sign(key, *x, *y))
                text x=(px(x + SIGN + 7.0)) y=(px(y + 4.0)) fill="var(--ink)" font-size=(FONT) { (symbols(&key.label)) }
            }
        };
        let alt = format!("{}. {}", plain(&self.title), self.notes.iter().map(|note| plain(note)).collect::<String>());
        // The drawings below have their own margin.
        let height = if self.keys.is_empty() { first - 22.0 } else { y - 2.0 };
        Figure { name: "heading".into(), alt, width: self.width, height, body, bitmaps: Vec::new() }
    }
}

/// The sign with its left end at `x` and its middle at `y`.
fn sign(key: &Key, x: f64, y: f64) -> Markup {
    let (left, right) = (px(x), px(x + SIGN));
    let (top, middle) = (y - 6.5, px(x + SIGN / 2.0));
    // Lines at 45 degrees through a box of 22 x 13.
    let lines = |rising: bool| -> String {
        let line = |shift: f64| {
            let height = |along: f64| if rising { top + 13.0 - along } else { top + along };
            let (from, to) = ((-shift).max(0.0), (SIGN - shift).min(13.0));
            format!("M{} {}L{} {}", px(x + shift + from), px(height(from)), px(x + shift + to), px(height(to)))
        };
        [-8.0, -2.0, 4.0, 10.0, 16.0].map(line).concat()
    };
    let hatched = |rising: bool| {
        html! {
            rect x=(left) y=(px(top)) width=(SIGN) height="13" fill="none" stroke=(key.colour) stroke-opacity="0.35" {}
            path d=(lines(rising)) stroke=(key.colour) stroke-width="1.1" fill="none" {}
        }
    };
    html! {
        @match key.sign {
            Sign::Line | Sign::Dashed => {
                path d=(format!("M{left} {}H{right}", px(y))) stroke=(key.colour) stroke-width="2.2" fill="none"
                    stroke-dasharray=[dash(key.sign == Sign::Dashed)] {}
            }
            Sign::Rising => { (hatched(true)) }
            Sign::Falling => { (hatched(false)) }
            Sign::Dot => { circle cx=(middle) cy=(px(y)) r="4" fill=(key.colour) {} }
            Sign::Ring => { circle cx=(middle) cy=(px(y)) r="4" fill="none" stroke=(key.colour) stroke-width="1.5" {} }
            Sign::Square => {
                rect x=(px(x + 4.5)) y=(px(top)) width="13" height="13" fill="none" stroke=(key.colour) stroke-width="1.2" {}
            }
        }
    }
}

/// A panel's own title above it, without a legend.
pub(super) fn small(title: &str, note: &str) -> Markup {
    html! {
        text x="0" y="14" fill="var(--ink)" font-size="13" font-weight="600" { (symbols(title)) }
        @if !note.is_empty() { text x="0" y="30" fill="var(--soft)" font-size="11.5" { (symbols(note)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_that_is_too_long_takes_another_row() {
        let key = |n: usize| Key { label: format!("entry number {n}"), colour: "red".into(), sign: Sign::Rising };
        let heading = |keys| Heading { title: "t".into(), notes: vec![], keys, width: 300.0 }.figure();
        let (one, many) = (heading(vec![key(0)]), heading((0..5).map(key).collect()));
        assert!(one.height + 2.0 * ROW <= many.height, "{} {}", one.height, many.height);
        assert!(heading(vec![]).height < one.height);
    }
}
