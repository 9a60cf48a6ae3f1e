//! From SVG to PNG, with a font that comes with the program, because a training machine may have
//! none.

use super::Figure;
use foil::{Error, Result};
use resvg::tiny_skia::{Color, Paint, Pixmap, Rect, Transform};
use resvg::usvg::{Options, Tree, fontdb};
use std::sync::{Arc, LazyLock};

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let family = fonts.faces().next().and_then(|face| face.families.first()).map(|family| family.0.clone());
    // For arrows and marks that the first font does not have.
    fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
    if let Some(family) = family {
        fonts.set_sans_serif_family(family);
    }
    Arc::new(fonts)
});

pub(super) fn png(svg: &str, figure: &Figure, scale: f64) -> Result<Vec<u8>> {
    let failed = |why: String| Error::new(format!("the figure `{}` cannot be drawn: {why}", figure.name));
    let options = Options { fontdb: Arc::clone(&FONTS), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|e| failed(e.to_string()))?;
    let (width, height) = ((figure.width * scale).round() as u32, (figure.height * scale).round() as u32);
    let mut page = Pixmap::new(width, height).ok_or_else(|| failed(format!("{width}x{height} pixels")))?;
    page.fill(Color::WHITE);
    for bitmap in &figure.bitmaps {
        let (rows, columns) = (bitmap.image.height(), bitmap.image.width());
        let (across, down) = (bitmap.width / columns.max(1) as f64 * scale, bitmap.height / rows.max(1) as f64 * scale);
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let [red, green, blue] = bitmap.image.pixel(row, column);
            let mut paint = Paint { anti_alias: false, ..Paint::default() };
            paint.set_color_rgba8(red, green, blue, 255);
            let (left, top) = (bitmap.x * scale + column as f64 * across, bitmap.y * scale + row as f64 * down);
            let square = [left, top, left + across, top + down].map(|edge| edge.round() as f32);
            if let Some(square) = Rect::from_ltrb(square[0], square[1], square[2], square[3]) {
                page.fill_rect(square, &paint, Transform::identity(), None);
            }
        }
    }
    resvg::render(&tree, Transform::from_scale(scale as f32, scale as f32), &mut page.as_mut());
    page.encode_png().map_err(|e| failed(e.to_string()))
}
