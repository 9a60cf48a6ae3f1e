//! The layout of a grid, and painting an image in its place.

use super::canvas::{Canvas, LETTER, text_width};
use super::{Grid, GridRow, Image};

/// Space between neighbours, in pixels.
pub const GAP: usize = 10;
/// The colour of the line around an image.
pub const FRAME: [u8; 3] = [200; 3];

/// The positions of all parts, in pixels.
pub struct Plan {
    scale: usize,
    /// Pixels of a letter's dot: 2, or 1 if that would make columns wider than their images.
    pub letter: usize,
    /// The width of the row labels with the gap before them.
    pub label: usize,
    /// The height of the column headings with the gap after them.
    pub heading: usize,
    pub columns: Vec<usize>,
    pub rows: Vec<usize>,
}

impl Plan {
    pub fn of(grid: &Grid) -> Self {
        let images = || grid.rows.iter().flat_map(|row| row.images.iter().flatten());
        let largest = images().map(|image| image.width).max().unwrap_or(0);
        let scale = if grid.scale > 0 { grid.scale } else { (112 / largest.max(1)).max(1) };
        let count = grid.rows.iter().map(|row| row.images.len()).max().unwrap_or(0).max(grid.columns.len());

        let captions =
            images().filter_map(|image| image.caption.as_ref().map(|caption| (caption.text.as_str(), image.width)));
        let headings = grid.columns.iter().map(|name| (name.as_str(), largest));
        let large = captions.chain(headings).all(|(text, width)| text_width(text, 2) <= width.saturating_mul(scale));
        let letter = if large { 2 } else { 1 };

        let column = |index: usize| {
            let cells = grid.rows.iter().filter_map(|row| row.images.get(index)?.as_ref());
            let heading = grid.columns.get(index).map_or(0, |name| text_width(name, letter));
            let widths = cells.map(|image| {
                let caption = image.caption.as_ref().map_or(0, |caption| text_width(&caption.text, letter));
                caption.max(image.width.saturating_mul(scale))
            });
            widths.fold(heading, usize::max)
        };
        let row = |row: &GridRow| {
            let heights = row.images.iter().flatten().map(|image| {
                let caption = if image.caption.is_some() { LETTER * letter + GAP / 2 } else { 0 };
                image.height.saturating_mul(scale).saturating_add(caption)
            });
            heights.max().unwrap_or(0)
        };
        let label = grid.rows.iter().map(|row| text_width(&row.label, letter)).max().unwrap_or(0);
        Plan {
            scale,
            letter,
            label: if label == 0 { 0 } else { label + GAP },
            heading: if grid.columns.is_empty() { 0 } else { LETTER * letter + GAP },
            columns: (0..count).map(column).collect(),
            rows: grid.rows.iter().map(row).collect(),
        }
    }

    pub fn width(&self) -> usize {
        self.columns.iter().fold(self.label + GAP, |sum, room| sum.saturating_add(*room).saturating_add(GAP))
    }

    pub fn height(&self) -> usize {
        self.rows.iter().fold(self.heading + GAP, |sum, space| sum.saturating_add(*space).saturating_add(GAP))
    }

    /// The position of `text` centred in `room`.
    pub fn centred(&self, left: usize, room: usize, text: &str) -> usize {
        left + room.saturating_sub(text_width(text, self.letter)) / 2
    }

    /// An image in the middle of its column, a thin frame around it, its caption beneath.
    pub fn paint(&self, canvas: &mut Canvas, left: usize, top: usize, room: usize, image: &Image) {
        let scale = self.scale;
        let x = left + room.saturating_sub(image.width * scale) / 2;
        canvas.fill(x - 1, top - 1, image.width * scale + 2, image.height * scale + 2, FRAME);
        for row in 0..image.height {
            for column in 0..image.width {
                canvas.fill(x + column * scale, top + row * scale, scale, scale, image.pixel(row, column));
            }
        }
        if let Some(caption) = &image.caption {
            let below = top + image.height * scale + GAP / 2;
            canvas.text(self.centred(left, room, &caption.text), below, &caption.text, self.letter, caption.tone.ink());
        }
    }
}
