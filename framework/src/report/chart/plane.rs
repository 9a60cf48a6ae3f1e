//! Two-dimensional problems: points, and curves between regions, on a picture of what a network answers where.

use super::axis::Axis;
use super::figure::{Bitmap, Figure, px, text};
use super::lines::grid;
use crate::report::picture::Image;
use maud::html;

/// The unit square, or a part of it, seen from above.
#[derive(Debug, Clone)]
pub struct Plane {
    /// The file's name.
    pub name: String,
    /// What stands above.
    pub title: String,
    /// A second line above, in grey.
    pub note: String,
    /// The ends of both axes.
    pub range: [f64; 2],
    /// What lies under everything, from the upper left.
    pub ground: Option<Image>,
    /// Points, in the order in which they are painted.
    pub dots: Vec<Dot>,
    /// Curves.
    pub curves: Vec<Curve>,
    /// Linf balls.
    pub squares: Vec<Square>,
}

/// One point.
#[derive(Debug, Clone, Copy)]
pub struct Dot {
    /// Where it is.
    pub at: [f64; 2],
    /// The number of its colour.
    pub colour: usize,
    /// Whether only its edge is drawn.
    pub hollow: bool,
}

/// A curve of many pieces.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What the legend calls it.
    pub label: String,
    /// Its colour, as [`series`](super::series) or `var(--ink)` gives it.
    pub colour: String,
    /// Whether it is dashed.
    pub dashed: bool,
    /// Its pieces, each a line of points.
    pub pieces: Vec<Vec<[f64; 2]>>,
}

/// An Linf ball.
#[derive(Debug, Clone, Copy)]
pub struct Square {
    /// Its centre.
    pub at: [f64; 2],
    /// Half its side.
    pub radius: f64,
    /// The number of its colour.
    pub colour: usize,
}

const SIZE: [f64; 2] = [408.0, 440.0];

impl Plane {
    /// The drawing.
    pub fn figure(&self) -> Figure {
        let [left, top, right, bottom] = [34.0, 62.0, 394.0, 422.0];
        let axis = Axis { range: Some(self.range), ..Axis::default() };
        let (x, y) = (axis.scale(std::iter::empty(), left, right), axis.scale(std::iter::empty(), bottom, top));
        let at = |point: &[f64; 2]| format!("{} {}", px(x.at(point[0])), px(y.at(point[1])));
        let path = |curve: &Curve| -> String {
            curve
                .pieces
                .iter()
                .map(|piece| format!("M{}", piece.iter().map(at).collect::<Vec<_>>().join("L")))
                .collect()
        };
        let body = html! {
            text x="0" y="15" fill="var(--ink)" font-size="13.5" font-weight="600" { (self.title) }
            (text(0.0, 33.0, "start", "var(--soft)", 11.5, &self.note))
            @for (n, curve) in self.curves.iter().enumerate() {
                @let from = 34.0 + 118.0 * n as f64;
                path d=(format!("M{from} 50H{}", from + 18.0)) fill="none" stroke=(curve.colour) stroke-width="2" stroke-dasharray=[curve.dashed.then_some("5 3")] {}
                (text(from + 23.0, 54.0, "start", "var(--ink)", 11.5, &curve.label))
            }
            @if self.ground.is_none() { (grid(&x, &y)) } @else {
                @for (value, label) in x.ticks(5) {
                    (text(x.at(value), bottom + 15.0, "middle", "var(--soft)", 11.0, &label))
                    (text(left - 5.0, y.at(value) + 4.0, "end", "var(--soft)", 11.0, &label))
                }
            }
            svg x=(px(left)) y=(px(top)) width=(px(right - left)) height=(px(bottom - top))
                viewBox=(format!("{} {} {} {}", px(left), px(top), px(right - left), px(bottom - top))) {
                @for square in &self.squares {
                    @let size = x.at(square.radius) - x.at(0.0);
                    rect x=(px(x.at(square.at[0]) - size)) y=(px(y.at(square.at[1]) - size)) width=(px(2.0 * size)) height=(px(2.0 * size))
                        fill="none" stroke=(super::series(square.colour)) stroke-opacity="0.75" {}
                }
                @for dot in &self.dots {
                    @let colour = super::series(dot.colour);
                    circle cx=(px(x.at(dot.at[0]))) cy=(px(y.at(dot.at[1]))) r=(if dot.hollow { "3" } else { "2.2" })
                        fill=(if dot.hollow { "none" } else { colour.as_str() }) stroke=(if dot.hollow { colour.as_str() } else { "#ffffff" })
                        stroke-width=(if dot.hollow { "1.2" } else { "0.5" }) {}
                }
                @for curve in &self.curves {
                    path d=(path(curve)) fill="none" stroke=(curve.colour) stroke-width="2" stroke-linejoin="round" stroke-dasharray=[curve.dashed.then_some("5 3")] {}
                }
            }
        };
        let ground = self.ground.iter().map(|image| Bitmap {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
            image: image.clone(),
        });
        Figure {
            name: self.name.clone(),
            alt: format!("{}. {}", self.title, self.note),
            width: SIZE[0],
            height: SIZE[1],
            body,
            bitmaps: ground.collect(),
        }
    }
}
