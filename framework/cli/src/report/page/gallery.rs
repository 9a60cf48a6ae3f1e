//! Images, attacked images, masks and calibrated images, as in Figure 2 of the CAT paper.

use super::Report;
use crate::report::chart::{Bitmap, Figure, width_of};
use crate::report::picture::{Grid, GridRow, Image, Tone};
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Markup {
    let shown: Vec<_> = report.views.iter().filter_map(|view| Some((view, view.gallery.as_ref()?))).collect();
    if shown.is_empty() {
        return html! {};
    }
    html! {
        p class="soft" {
            "The first test images under the attack that each method was trained with, at its full radius. Beneath each is what the net "
            "reads: " span class="pass" { "right" } " or " span class="fail" { "wrong ×" } ". A mask goes from 0, dark, to 1, bright."
        }
        div class="galleries" {
            @for (view, grid) in shown {
                figure class="gallery" {
                    figcaption { (view.label) }
                    @for row in &grid.rows {
                        div class="strip" style=(format!("--n:{}", row.images.len())) {
                            span class="what" { (row.label) }
                            @for image in row.images.iter().flatten() { (cell(&row.label, image)) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(what: &str, image: &Image) -> Markup {
    let words = image.words().map_or("", |caption| &caption.text);
    html! {
        div {
            @if let Ok(uri) = image.data_uri() {
                img src=(uri) alt={ (what) " " (words) } width=(image.width()) height=(image.height());
            }
            @match image.words().map(|caption| caption.tone) {
                Some(Tone::Wrong) => { span class="fail" { (words) " ×" } }
                Some(_) => { span class="pass" { (words) } }
                None => {}
            }
        }
    }
}

/// The galleries as separate files.
pub(super) fn figures(report: &Report) -> impl Iterator<Item = Figure> {
    report.views.iter().enumerate().filter_map(|(n, view)| {
        let label = format!("{}: what its attack does to test images", view.label);
        view.gallery.as_ref().map(|grid| figure(&format!("images_{}", n + 1), &label, grid))
    })
}

/// A grid of images with the words beneath them.
pub fn figure(name: &str, title: &str, grid: &Grid) -> Figure {
    const SIDE: f64 = 52.0;
    let columns = grid.rows.iter().map(|row| row.images.len()).max().unwrap_or(0);
    let label = |row: &GridRow| width_of(&row.label, 11.5) + 8.0;
    let left = grid.rows.iter().map(label).fold(84.0, f64::max);
    let mut top = 30.0;
    let mut bitmaps = Vec::new();
    let mut words = Vec::new();
    for row in &grid.rows {
        words.push((0.0, top + SIDE / 2.0 + 4.0, "start", "var(--ink)", row.label.clone()));
        let mut captions = false;
        for (column, image) in row.images.iter().enumerate() {
            let Some(image) = image else { continue };
            let x = left + column as f64 * (SIDE + 6.0);
            bitmaps.push(Bitmap { x, y: top, width: SIDE, height: SIDE, image: image.clone() });
            if let Some(caption) = image.words() {
                captions = true;
                let wrong = caption.tone == Tone::Wrong;
                let text = if wrong { format!("{} ×", caption.text) } else { caption.text.clone() };
                words.push((
                    x + SIDE / 2.0,
                    top + SIDE + 12.0,
                    "middle",
                    if wrong { "var(--bad)" } else { "var(--good)" },
                    text,
                ));
            }
        }
        top += SIDE + if captions { 22.0 } else { 8.0 };
    }
    let body = html! {
        text x="0" y="15" fill="var(--ink)" font-size="13.5" font-weight="600" { (title) }
        @for (x, y, anchor, colour, text) in &words {
            text x=(x) y=(y) text-anchor=(anchor) fill=(colour) font-size="11.5" { (text) }
        }
    };
    let width = (left + columns as f64 * (SIDE + 6.0)).max(400.0);
    Figure { name: name.into(), alt: title.into(), width, height: top, body, bitmaps }
}
