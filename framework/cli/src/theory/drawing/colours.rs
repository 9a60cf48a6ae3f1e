//! The colours of all figures.

use crate::report::chart::{Curve, Dot, Key, Sign, Word, series};

pub(super) fn class(second: bool) -> String {
    series(usize::from(second))
}

pub(super) fn oracle() -> String {
    "var(--ink)".into()
}

pub(super) fn network() -> String {
    series(2)
}

/// The line of the network that Eq. 17 trained, where it is beside another.
pub(super) fn zhang() -> String {
    series(7)
}

pub(super) fn grey() -> String {
    series(6)
}

pub(super) fn line(colour: String, pieces: Vec<Vec<[f64; 2]>>) -> Curve {
    Curve { colour, width: 2.2, dashed: false, pieces }
}

pub(super) fn key(label: &str, colour: String, sign: Sign) -> Key {
    Key { label: label.into(), colour, sign }
}

/// Both boundaries' entries in a legend.
pub(super) fn boundaries() -> [Key; 2] {
    [
        key("boundary of the oracle, f_{oracle}", oracle(), Sign::Line),
        key("boundary of the trained network, f_θ", network(), Sign::Line),
    ]
}

/// The thin lines of a hatched region.
pub(super) fn hatching(colour: String, pieces: Vec<Vec<[f64; 2]>>) -> Curve {
    Curve { colour, width: 1.1, dashed: false, pieces }
}

pub(super) fn dot(at: [f64; 2], colour: String, hollow: bool) -> Dot {
    Dot { at, colour, hollow, radius: if hollow { 3.0 } else { 2.4 } }
}

pub(super) fn word(words: &str, at: [f64; 2], offset: [f64; 2], colour: String) -> Word {
    let anchor = match offset[0] {
        right if right > 0.0 => "start",
        left if left < 0.0 => "end",
        _ => "middle",
    };
    Word { at, offset, anchor, colour, words: words.into() }
}
