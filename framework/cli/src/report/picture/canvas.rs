//! Pixels, rectangles and letters.

use font8x8::legacy::{BASIC_LEGACY, GREEK_LEGACY, LATIN_LEGACY};

/// A letter's height, and its width with the gap to the next, in pixels at size 1.
pub const LETTER: usize = 8;

/// A white page to paint on.
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    /// Red, green, blue, row by row from the top.
    pub rgb: Vec<u8>,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        Canvas { width, height, rgb: vec![255; width * height * 3] }
    }

    /// Fills a rectangle. Parts outside the page are clipped.
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        let (left, right) = (x.min(self.width), (x + width).min(self.width));
        for row in y.min(self.height)..(y + height).min(self.height) {
            let line = &mut self.rgb[(row * self.width + left) * 3..(row * self.width + right) * 3];
            line.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
        }
    }

    /// Writes one line with its upper left corner at (x, y), each dot of a letter `size` pixels
    /// wide.
    pub fn text(&mut self, x: usize, y: usize, text: &str, size: usize, colour: [u8; 3]) {
        for (index, letter) in text.chars().enumerate() {
            for (row, bits) in glyph(letter).iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    self.fill(x + (index * LETTER + column) * size, y + row * size, size, size, colour);
                }
            }
        }
    }
}

/// How wide `text` is, in pixels.
pub fn text_width(text: &str, size: usize) -> usize {
    text.chars().count() * LETTER * size
}

/// A letter of the public-domain font 8x8, a byte a row, the lowest bit at the left; `?` for what
/// it does not have.
fn glyph(letter: char) -> [u8; 8] {
    let code = letter as usize;
    let found = match code {
        0x20..0x7f => BASIC_LEGACY.get(code),
        0xa0..0x100 => LATIN_LEGACY.get(code - 0xa0),
        0x390..0x3ca => GREEK_LEGACY.get(code - 0x390),
        _ => None,
    };
    found.copied().unwrap_or(BASIC_LEGACY[usize::from(b'?')])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(canvas: &Canvas) -> Vec<String> {
        let dot = |pixel: &[u8]| if pixel == [255; 3] { '.' } else { '#' };
        canvas.rgb.chunks(canvas.width * 3).map(|line| line.chunks(3).map(dot).collect()).collect()
    }

    #[test]
    fn letters_stand_upright() {
        let mut canvas = Canvas::new(8, 8);
        canvas.text(0, 0, "L", 1, [0; 3]);
        let expected = ["####....", ".##.....", ".##.....", ".##...#.", ".##..##.", "#######.", "........"];
        assert_eq!(show(&canvas)[..1], expected[..1]);
        assert_eq!(show(&canvas)[5..7], [".##..##.", "#######."]);
    }

    #[test]
    fn what_is_outside_is_left_out() {
        let mut canvas = Canvas::new(4, 3);
        canvas.fill(3, 2, 10, 10, [0; 3]);
        canvas.fill(9, 9, 1, 1, [0; 3]);
        canvas.text(2, 1, "漢字 ±β", 3, [255; 3]);
        assert_eq!(show(&canvas), ["....", "....", "...#"]);
    }
}
