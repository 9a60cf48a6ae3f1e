//! `foil data show`: how many images each class has, and what they look like.

use super::built;
use crate::report::picture::{Grid, GridRow, Image, shown_channels};
use crate::report::{Cell, Column, Style, Table};
use foil::data::{DataSource, Dataset, Images};
use foil::registry::{Kind, find};
use foil::{Error, Result};
use foil_runs::pipeline::load;
use std::path::Path;

/// Classes of the sheet; more would not fit a page.
const CLASSES: usize = 40;
/// Images of each class on the sheet.
const EACH: usize = 10;

/// Prints the counts of a data set, by its name or from a pipeline that uses it, and writes the
/// sheet.
///
/// # Errors
/// When it is not found or cannot be read, or the sheet cannot be written.
pub(super) fn show(what: &str, overrides: &[String], out: &Path) -> Result<()> {
    let data = read(what, overrides)?;
    print!("{}", counts(&data).terminal(Style::stdout()));
    let facts = &data.facts;
    let [channels, height, width] = facts.image;
    println!("{}: images of {channels} x {height} x {width}, from {}", facts.name, data.origin);
    for note in &data.notes {
        println!("{note}");
    }
    let images = if data.train.is_empty() { &data.test } else { &data.train };
    sheet(images, &facts.class_names)?.write(out).map_err(|error| Error::new(error.to_string()))?;
    println!("{}: the first images of each class", out.display());
    Ok(())
}

/// The data set of this name, or that of a pipeline.
///
/// # Errors
/// When it is not found or cannot be read, or needs keys.
pub(super) fn read(what: &str, overrides: &[String]) -> Result<Dataset> {
    let path = Path::new(what);
    if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") || path.is_file() {
        return foil_runs::data::load(&load(path, overrides)?.pipeline);
    }
    let entry = find(<dyn DataSource>::NAME, what)?;
    let set = built(entry).ok_or_else(|| {
        Error::new(format!("the data set `{what}` needs keys"))
            .help(format!("name a pipeline that has them; `foil explain data {what}` lists them"))
    })?;
    foil_runs::data::watched(what, |progress| set.read(progress))
}

/// Images of each class.
fn counts(data: &Dataset) -> Table {
    let number = |name: &str| Column { decimals: 0, ..Column::number(name) };
    let splits = [data.train.per_class(data.facts.classes()), data.test.per_class(data.facts.classes())];
    let [train, test] = &splits;
    let cell = |n: usize| Cell::Number(n as f64);
    let mut rows: Vec<Vec<Cell>> = data
        .facts
        .class_names
        .iter()
        .enumerate()
        .map(|(class, name)| vec![cell(class), Cell::Text(name.clone()), cell(train[class]), cell(test[class])])
        .collect();
    rows.push(vec![Cell::Missing, Cell::Text("all".into()), cell(data.train.len()), cell(data.test.len())]);
    let columns = vec![number("label"), Column::text("class"), number("training images"), number("test images")];
    Table { title: data.facts.title.clone(), columns, rows }
}

/// The first images of the first classes, a row each; those with transparency without it.
fn sheet(images: &Images, names: &[String]) -> Result<Grid> {
    let mut rows = Vec::new();
    let plane = images.height * images.width;
    let shown = shown_channels(images.channels);
    for (class, name) in names.iter().enumerate().take(CLASSES) {
        let of_class = images.labels.iter().enumerate().filter(|(_, label)| usize::from(**label) == class);
        let image = |(index, _)| {
            let pixels = images.image(index).map_err(Error::of)?;
            let values = pixels.iter().take(shown * plane).map(|value| f32::from(*value) / 255.0).collect();
            Image::new(shown, images.height, images.width, values).map(Some).map_err(Error::of)
        };
        rows.push(GridRow { label: name.clone(), images: of_class.take(EACH).map(image).collect::<Result<_>>()? });
    }
    // Small images are enlarged to about 32 pixels.
    Ok(Grid { columns: Vec::new(), rows, scale: (32 / images.width.max(1)).max(1) })
}
