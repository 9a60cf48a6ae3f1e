//! Charts as SVG, in a page and as files of their own, and as PNG.
//!
//! [`Lines`] are curves over epochs, radii or steps; [`Scatter`] sets two accuracies against each
//! other and draws the Pareto front; [`Heat`] is a table of colours; [`Plane`] shows which class a
//! network answers where, with a [`Heading`] above several of them. Each becomes a [`Figure`].
//! Colours are told apart by people who see red and green alike, curves are labelled where they
//! end, and a chart in a page follows the reader's light or dark setting.

mod axis;
mod figure;
mod hatch;
mod heading;
mod heat;
mod lines;
mod plane;
mod raster;
mod scatter;
mod symbols;
mod theme;

pub use axis::Axis;
pub(super) use figure::width_of;
pub use figure::{Bitmap, Figure};
pub use hatch::hatch;
pub use heading::{Heading, Key, Sign};
pub use heat::Heat;
pub use lines::{Lines, Series};
pub use plane::{Curve, Dot, Plane, Square, Word};
pub use scatter::{Point, Scatter, front};
pub use theme::{css, series};
