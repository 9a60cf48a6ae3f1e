//! Images in rows and columns.

use std::path::Path;

use super::canvas::{Canvas, LETTER};
use super::plan::{GAP, Plan};
use super::{Image, PictureError};
use foil::atomic;

/// Images under column headings and beside row labels, on white.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grid {
    /// The heading above each column. May be shorter than the rows, or empty.
    pub columns: Vec<String>,
    /// The rows, from the top.
    pub rows: Vec<GridRow>,
    /// The width of an image's pixel in the picture, in pixels. 0 chooses one that makes the
    /// largest image about 112 pixels wide.
    pub scale: usize,
}

/// A row of images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GridRow {
    /// The label at the left. May be empty.
    pub label: String,
    /// The images, from the left; `None` leaves a gap.
    pub images: Vec<Option<Image>>,
}

/// A line beneath an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Its text, such as the predicted label.
    pub text: String,
    /// Whether that is good.
    pub tone: Tone,
}

/// The colour of a caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Black.
    #[default]
    Neutral,
    /// Green: the model is right.
    Right,
    /// Red: the model is wrong.
    Wrong,
}

/// A finished picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Red, green, blue, row by row from the top.
    pub rgb: Vec<u8>,
}

const LARGEST: usize = 64_000_000;
const INK: [u8; 3] = [0; 3];

impl Tone {
    pub(super) fn ink(self) -> [u8; 3] {
        match self {
            Tone::Neutral => INK,
            Tone::Right => [0, 120, 40],
            Tone::Wrong => [200, 0, 0],
        }
    }
}

impl Grid {
    /// Paints the grid.
    ///
    /// # Errors
    /// [`PictureError::TooLarge`].
    pub fn render(&self) -> Result<Picture, PictureError> {
        let plan = Plan::of(self);
        let (width, height) = (plan.width(), plan.height());
        if width.checked_mul(height).is_none_or(|pixels| pixels > LARGEST) {
            return Err(PictureError::TooLarge(width, height));
        }
        let mut canvas = Canvas::new(width, height);
        let mut left = plan.label + GAP;
        for (column, &room) in plan.columns.iter().enumerate() {
            let mut top = GAP;
            if let Some(name) = self.columns.get(column) {
                canvas.text(plan.centred(left, room, name), top, name, plan.letter, INK);
            }
            top += plan.heading;
            for (row, &space) in self.rows.iter().zip(&plan.rows) {
                if let Some(Some(image)) = row.images.get(column) {
                    plan.paint(&mut canvas, left, top, room, image);
                }
                top += space + GAP;
            }
            left += room + GAP;
        }
        let mut top = GAP + plan.heading;
        for (row, &space) in self.rows.iter().zip(&plan.rows) {
            canvas.text(GAP, top + space.saturating_sub(LETTER * plan.letter) / 2, &row.label, plan.letter, INK);
            top += space + GAP;
        }
        Ok(Picture { width, height, rgb: canvas.rgb })
    }

    /// Writes the grid to `path` as a PNG, whole or not at all.
    ///
    /// # Errors
    /// [`PictureError::TooLarge`], or [`PictureError::Io`] with the path in its text.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), PictureError> {
        Ok(atomic::write(path, self.render()?.png()?)?)
    }
}

impl Picture {
    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`PictureError::Png`] for a picture without pixels.
    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::FRAME;
    use super::*;

    fn dot(value: f32) -> Image {
        Image::new(1, 1, 1, vec![value]).unwrap()
    }

    fn at(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
        let start = (y * picture.width + x) * 3;
        [picture.rgb[start], picture.rgb[start + 1], picture.rgb[start + 2]]
    }

    #[test]
    fn images_are_enlarged_and_framed() {
        let rows = vec![GridRow { label: String::new(), images: vec![Some(dot(0.0)), None, Some(dot(0.5))] }];
        let picture = Grid { columns: vec![], rows, scale: 20 }.render().unwrap();
        assert_eq!((picture.width, picture.height), (10 + 30 + 10 + 30, 10 + 30));
        assert_eq!([at(&picture, 10, 10), at(&picture, 29, 29)], [[0; 3]; 2]);
        assert_eq!([at(&picture, 9, 9), at(&picture, 30, 30)], [FRAME; 2]);
        assert_eq!([at(&picture, 8, 8), at(&picture, 45, 20)], [[255; 3]; 2]);
        assert_eq!(at(&picture, 60, 20), [128; 3]);
    }

    #[test]
    fn answers_are_green_or_red() {
        let images = vec![Some(dot(1.0).caption("7", Tone::Right)), Some(dot(1.0).caption("1", Tone::Wrong))];
        let grid =
            Grid { columns: vec!["x".into()], rows: vec![GridRow { label: "a label".into(), images }], scale: 0 };
        let picture = grid.render().unwrap();
        let inks: Vec<[u8; 3]> = picture.rgb.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
        assert!([Tone::Right.ink(), Tone::Wrong.ink(), INK].iter().all(|ink| inks.contains(ink)));
    }

    #[test]
    fn written_as_a_png_that_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        let grid =
            Grid { rows: vec![GridRow { images: vec![Some(dot(0.2))], ..Default::default() }], ..Default::default() };
        grid.write(&path).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(rgb, grid.render().unwrap().rgb);
    }

    #[test]
    fn a_picture_beyond_memory_is_refused() {
        let rows = vec![GridRow { images: vec![Some(dot(0.0))], ..Default::default() }];
        let error = Grid { columns: vec![], rows, scale: usize::MAX }.render().unwrap_err();
        assert!(matches!(error, PictureError::TooLarge(..)), "{error}");
        assert!(Grid::default().render().is_ok());
    }
}
