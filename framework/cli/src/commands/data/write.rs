//! `foil data write`: a data set as a folder of pictures, a folder for each class.

use super::show::read;
use foil::data::Images;
use foil::{AtPath, Error, Result, atomic};
use std::path::Path;

/// Writes the first `each` images of each class of both splits (a fifth as many test images) into
/// `train/CLASS` and `test/CLASS` in `out`, as PNG; returns how many.
///
/// # Errors
/// When the data cannot be read, `out` is not empty, or a picture cannot be written.
pub(super) fn write(what: &str, overrides: &[String], out: &Path, each: usize) -> Result<usize> {
    if out.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::new(format!("{} is not empty", out.display())).help("name another folder"));
    }
    let data = read(what, overrides)?;
    let names: Vec<String> = data.facts.class_names.iter().map(|name| folder_name(name)).collect();
    let mut written = 0;
    for (split, images, each) in [("train", &data.train, each), ("test", &data.test, each.div_ceil(5))] {
        for (class, name) in names.iter().enumerate() {
            let of_class = (0..images.len()).filter(|&n| usize::from(images.labels[n]) == class);
            for n in of_class.take(each) {
                let folder = out.join(split).join(name);
                std::fs::create_dir_all(&folder).at("making", &folder)?;
                let path = folder.join(format!("{n:06}.png"));
                atomic::write(&path, png_of(images, n)?).at("writing", &path)?;
                written += 1;
            }
        }
    }
    Ok(written)
}

/// A class's name as a folder's.
fn folder_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() || "-_ ".contains(c) { c } else { '_' }).collect();
    plain.trim().to_string()
}

/// Image `n` as a PNG file.
fn png_of(images: &Images, n: usize) -> Result<Vec<u8>> {
    let colour = match images.channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        4 => png::ColorType::Rgba,
        other => return Err(Error::new(format!("images with {other} channels cannot be written as PNG"))),
    };
    let pixels = &*images.image(n).map_err(Error::of)?;
    let plane = images.height * images.width;
    let side_by_side: Vec<u8> =
        (0..plane).flat_map(|at| (0..images.channels).map(move |channel| pixels[channel * plane + at])).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, images.width as u32, images.height as u32);
    encoder.set_color(colour);
    let mut writer = encoder.write_header().map_err(Error::of)?;
    writer.write_image_data(&side_by_side).map_err(Error::of)?;
    writer.finish().map_err(Error::of)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels() {
        let images = Images::new((0..12).collect::<Vec<u8>>(), vec![0], [3, 2, 2]);
        let bytes = png_of(&images, 0).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; 12];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    }

    #[test]
    fn a_class_of_any_name_is_a_folder() {
        assert_eq!(folder_name("T-shirt/top"), "T-shirt_top");
        assert_eq!(folder_name("../x"), "___x");
    }
}
