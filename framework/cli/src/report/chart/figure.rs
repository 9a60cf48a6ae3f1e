//! A drawing with its size, as part of a page or as a file.

use super::{raster, theme};
use crate::report::picture::Image;
use foil::atomic;
use foil::{AtPath, Error, Result};
use maud::{Markup, PreEscaped, html};
use std::path::Path;

/// A finished drawing.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The file's name, without an ending.
    pub name: String,
    /// What it shows, in a sentence, for readers who cannot see it.
    pub alt: String,
    /// Units from left to right; a unit is a pixel where there is room.
    pub width: f64,
    /// Units from top to bottom.
    pub height: f64,
    /// What is drawn, as SVG elements.
    pub body: Markup,
    /// Pixel images, under everything else.
    pub bitmaps: Vec<Bitmap>,
}

/// A pixel image in a drawing. Its pixels stay squares.
#[derive(Debug, Clone)]
pub struct Bitmap {
    /// The left edge, in the drawing's units.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
    /// The pixels.
    pub image: Image,
}

/// Between two drawings that are one figure.
const GAP: f64 = 24.0;

impl Figure {
    /// The drawing for a page, in the reader's colours.
    pub fn inline(&self) -> Markup {
        let (width, height) = (self.width, self.height);
        // A figure wider than a phone scrolls sideways there rather than becoming too small to
        // read.
        let least = if width > 480.0 { (width * 0.85).round() } else { 0.0 };
        html! {
            svg class="chart" viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(self.alt)
                style=(format!("min-width:{}px;max-width:{}px", least, (width * 1.25).round())) {
                (self.images()) (self.body)
            }
        }
    }

    /// The drawing as an SVG file, in light colours on white.
    pub fn svg(&self) -> String {
        self.markup(true)
    }

    /// As a file; without bitmaps for the rasteriser, which draws them itself.
    fn markup(&self, bitmaps: bool) -> String {
        let (width, height) = (self.width, self.height);
        let page = html! {
            svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
                font-family="Ubuntu, Inter, Helvetica, Arial, sans-serif" role="img" {
                title { (self.alt) }
                @if bitmaps { rect width=(width) height=(height) fill="var(--page)" {} (self.images()) }
                (self.body)
            }
        };
        theme::resolved(&page.into_string())
    }

    /// The drawing as the bytes of a PNG file, `scale` pixels a unit.
    ///
    /// # Errors
    /// When it has no size, or one beyond what memory holds.
    pub fn png(&self, scale: f64) -> Result<Vec<u8>> {
        raster::png(&self.markup(false), self, scale)
    }

    /// Writes `NAME.svg` and `NAME.png` into `folder`.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = |ending: &str| folder.join(format!("{}.{ending}", self.name));
        atomic::write(path("svg"), self.svg()).at("writing", &path("svg"))?;
        let png = self.png(2.0).map_err(|e: Error| e.context(path("png").display()))?;
        atomic::write(path("png"), png).at("writing", &path("png"))
    }

    /// Drawings side by side, as one.
    #[must_use]
    pub fn beside(name: &str, figures: &[Figure]) -> Figure {
        Figure::laid(name, figures, |figure| [figure.width + GAP, 0.0])
    }

    /// Drawings one below the other, as one.
    #[must_use]
    pub fn below(name: &str, figures: &[Figure]) -> Figure {
        Figure::laid(name, figures, |figure| [0.0, figure.height + GAP])
    }

    /// Drawings as one; `step` is the offset from a drawing's upper left corner to that of the
    /// next.
    fn laid(name: &str, figures: &[Figure], step: impl Fn(&Figure) -> [f64; 2]) -> Figure {
        let ([mut x, mut y], mut size) = ([0.0, 0.0], [1f64, 1.0]);
        let (mut body, mut bitmaps) = (Vec::new(), Vec::new());
        for figure in figures {
            bitmaps.extend(figure.bitmaps.iter().map(|bitmap| Bitmap {
                x: bitmap.x + x,
                y: bitmap.y + y,
                ..bitmap.clone()
            }));
            body.push(html! { g transform=(format!("translate({x} {y})")) { (figure.body) } });
            size = [size[0].max(x + figure.width), size[1].max(y + figure.height)];
            let [right, down] = step(figure);
            (x, y) = (x + right, y + down);
        }
        let alt: Vec<&str> = figures.iter().map(|figure| figure.alt.as_str()).collect();
        Figure {
            name: name.into(),
            alt: alt.join(" "),
            width: size[0],
            height: size[1],
            body: html! { @for part in &body { (part) } },
            bitmaps,
        }
    }

    fn images(&self) -> Markup {
        html! {
            @for bitmap in &self.bitmaps {
                @if let Ok(uri) = bitmap.image.data_uri() {
                    image x=(bitmap.x) y=(bitmap.y) width=(bitmap.width) height=(bitmap.height) href=(PreEscaped(uri))
                        preserveAspectRatio="none" image-rendering="pixelated" style="image-rendering:pixelated" {}
                }
            }
        }
    }
}

/// A word or number; `anchor` is `start`, `middle` or `end`.
pub(super) fn text(x: f64, y: f64, anchor: &str, colour: &str, size: f64, words: &str) -> Markup {
    html! { text x=(px(x)) y=(px(y)) text-anchor=(anchor) fill=(colour) font-size=(size) { (words) } }
}

/// Tenths of a pixel are enough, and keep files small.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_string()
}

/// An upper estimate of the width of words: the reader's font is unknown, and letters take a bit
/// more than half their height.
pub(in crate::report) fn width_of(words: &str, size: f64) -> f64 {
    words.chars().map(|letter| if letter.is_uppercase() || "mw%".contains(letter) { 0.76 } else { 0.61 }).sum::<f64>()
        * size
}

/// `words` in at most `most` characters.
pub(super) fn short(words: &str, most: usize) -> String {
    if words.chars().count() <= most {
        return words.to_string();
    }
    let cut: String = words.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}
