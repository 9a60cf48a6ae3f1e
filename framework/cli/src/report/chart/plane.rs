//! Two-dimensional problems: points, and curves between regions, on a picture of a network's
//! predictions.

use super::axis::Axis;
use super::figure::{Bitmap, Figure, px, text};
use super::heading::small;
use super::symbols::{plain, symbols};
use crate::report::picture::Image;
use maud::{Markup, html};

/// A square part of the plane, seen from above.
#[derive(Debug, Clone)]
pub struct Plane {
    /// The file's name.
    pub name: String,
    /// The title; `_` marks an index, here and in all words.
    pub title: String,
    /// A second line below the title, in grey.
    pub note: String,
    /// The ends of both axes, `[[left, right], [bottom, top]]`.
    pub window: [[f64; 2]; 2],
    /// Whether the axes have numbers.
    pub numbers: bool,
    /// The background, from the upper left.
    pub ground: Image,
    /// Points, in the order in which they are painted.
    pub dots: Vec<Dot>,
    /// Curves and hatched regions, in the order in which they are painted.
    pub curves: Vec<Curve>,
    /// Linf balls.
    pub squares: Vec<Square>,
    /// Words on the picture.
    pub words: Vec<Word>,
}

/// One point.
#[derive(Debug, Clone)]
pub struct Dot {
    /// Where it is.
    pub at: [f64; 2],
    /// Its colour, as [`series`](super::series) or `var(--ink)` gives it.
    pub colour: String,
    /// Whether only its edge is drawn.
    pub hollow: bool,
    /// Its radius, in pixels.
    pub radius: f64,
}

/// A curve of many pieces.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Its colour.
    pub colour: String,
    /// How wide the line is, in pixels.
    pub width: f64,
    /// Whether it is dashed.
    pub dashed: bool,
    /// Its pieces, each a line of points.
    pub pieces: Vec<Vec<[f64; 2]>>,
}

/// An Linf ball.
#[derive(Debug, Clone)]
pub struct Square {
    /// Its centre.
    pub at: [f64; 2],
    /// Half its side.
    pub radius: f64,
    /// Its colour.
    pub colour: String,
    /// Whether its edge is dashed.
    pub dashed: bool,
}

/// Words beside a place.
#[derive(Debug, Clone)]
pub struct Word {
    /// The place.
    pub at: [f64; 2],
    /// Pixels to the right of the place and below it.
    pub offset: [f64; 2],
    /// `start`, `middle` or `end`: which part of the words is there.
    pub anchor: &'static str,
    /// Their colour.
    pub colour: String,
    /// The words.
    pub words: String,
}

/// The picture's side, what is above it, and what the axes' numbers take at the left and below.
const SIDE: f64 = 360.0;
const ABOVE: f64 = 38.0;
const NUMBERS: [f64; 2] = [30.0, 20.0];

impl Plane {
    /// The drawing.
    pub fn figure(&self) -> Figure {
        let [beside, below] = if self.numbers { NUMBERS } else { [0.0, 2.0] };
        let [left, top, right, bottom] = [beside, ABOVE, beside + SIDE, ABOVE + SIDE];
        let axis = |ends| Axis { range: Some(ends), ..Axis::default() };
        let x = axis(self.window[0]).scale(std::iter::empty(), left, right);
        let y = axis(self.window[1]).scale(std::iter::empty(), bottom, top);
        let at = |[across, up]: [f64; 2]| [x.at(across), y.at(up)];
        let body = html! {
            (small(&self.title, &self.note))
            @if self.numbers {
                @for (value, label) in x.ticks(5) {
                    (text(x.at(value), bottom + 15.0, "middle", "var(--soft)", 11.0, &label))
                }
                @for (value, label) in y.ticks(5) {
                    (text(left - 5.0, y.at(value) + 4.0, "end", "var(--soft)", 11.0, &label))
                }
            }
            svg x=(px(left)) y=(px(top)) width=(px(right - left)) height=(px(bottom - top))
                viewBox=(format!("{} {} {} {}", px(left), px(top), px(right - left), px(bottom - top))) {
                @for curve in &self.curves { (curve.drawn(&at)) }
                @for square in &self.squares { (square.drawn(&at)) }
                @for dot in &self.dots { (dot.drawn(&at)) }
                @for word in &self.words { (word.drawn(&at)) }
            }
        };
        let ground = Bitmap { x: left, y: top, width: right - left, height: bottom - top, image: self.ground.clone() };
        Figure {
            name: self.name.clone(),
            alt: plain(&format!("{}. {}", self.title, self.note)),
            width: right + 10.0,
            height: bottom + below,
            body,
            bitmaps: vec![ground],
        }
    }
}

impl Curve {
    fn drawn(&self, at: &impl Fn([f64; 2]) -> [f64; 2]) -> Markup {
        let point = |point: &[f64; 2]| at(*point).map(px).join(" ");
        let piece = |piece: &Vec<_>| format!("M{}", piece.iter().map(point).collect::<Vec<_>>().join("L"));
        let path: String = self.pieces.iter().map(piece).collect();
        html! {
            path d=(path) fill="none" stroke=(self.colour) stroke-width=(self.width) stroke-linecap="round"
                stroke-dasharray=[dash(self.dashed)] {}
        }
    }
}

impl Square {
    fn drawn(&self, at: &impl Fn([f64; 2]) -> [f64; 2]) -> Markup {
        let [left, top] = at([self.at[0] - self.radius, self.at[1] + self.radius]);
        let [right, bottom] = at([self.at[0] + self.radius, self.at[1] - self.radius]);
        html! {
            rect x=(px(left)) y=(px(top)) width=(px(right - left)) height=(px(bottom - top)) fill="none"
                stroke=(self.colour) stroke-width="1.3" stroke-dasharray=[dash(self.dashed)] {}
        }
    }
}

impl Dot {
    fn drawn(&self, at: &impl Fn([f64; 2]) -> [f64; 2]) -> Markup {
        let [x, y] = at(self.at).map(px);
        html! {
            @if self.hollow {
                circle cx=(x) cy=(y) r=(self.radius) fill="none" stroke=(self.colour) stroke-width="1.3" {}
            } @else {
                circle cx=(x) cy=(y) r=(self.radius) fill=(self.colour) stroke="#ffffff" stroke-width="0.6" {}
            }
        }
    }
}

impl Word {
    fn drawn(&self, at: &impl Fn([f64; 2]) -> [f64; 2]) -> Markup {
        let [x, y] = at(self.at);
        let (x, y) = (px(x + self.offset[0]), px(y + self.offset[1]));
        // A white outline separates the words from lines beneath.
        html! {
            text x=(x) y=(y) text-anchor=(self.anchor) font-size="13" font-weight="600" fill="none" stroke="#ffffff"
                stroke-width="3.5" stroke-linejoin="round" stroke-opacity="0.85" { (symbols(&self.words)) }
            text x=(x) y=(y) text-anchor=(self.anchor) font-size="13" font-weight="600" fill=(self.colour) {
                (symbols(&self.words))
            }
        }
    }
}

/// A line's dashes, if it has any.
pub(super) fn dash(dashed: bool) -> Option<&'static str> {
    dashed.then_some("5 3.5")
}
