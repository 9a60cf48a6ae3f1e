use super::*;
use image::{ExtendedColorType, GrayAlphaImage, GrayImage, ImageEncoder, Luma, Rgb, RgbImage, Rgba};
use std::path::PathBuf;

const IMAGE: [usize; 3] = [3, 2, 2];

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.into().write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

fn read(bytes: &[u8], [channels, height, width]: [usize; 3], fit: Fit, alpha: Alpha) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    std::fs::write(&path, bytes).unwrap();
    let mut out = vec![0; channels * height * width];
    one(&path, [channels, height, width], fit, alpha, &mut out).map(|()| out)
}

fn exact(bytes: &[u8]) -> Result<Vec<u8>> {
    read(bytes, IMAGE, Fit::Exact, Alpha::Refuse)
}

#[test]
fn colours_become_planes() {
    let picture = RgbImage::from_fn(2, 2, |x, y| Rgb([x as u8, 10 + y as u8, 200]));
    assert_eq!(exact(&png(picture)).unwrap(), [0, 1, 0, 1, 10, 10, 11, 11, 200, 200, 200, 200]);
}

#[test]
fn grey_and_palettes_become_colour_and_back() {
    let grey = GrayImage::from_fn(2, 2, |x, _| Luma([50 + x as u8]));
    assert_eq!(exact(&png(grey.clone())).unwrap(), [50, 51, 50, 51].repeat(3));
    assert_eq!(read(&png(grey), [1, 2, 2], Fit::Exact, Alpha::Refuse).unwrap(), [50, 51, 50, 51]);
    // PIL: Image.new("RGB", (2, 2), (200, 100, 50)).convert("L").getpixel((0, 0)) -> 124
    let colour = RgbImage::from_pixel(2, 2, Rgb([200, 100, 50]));
    assert_eq!(read(&png(colour), [1, 2, 2], Fit::Exact, Alpha::Refuse).unwrap(), [124; 4]);

    let mut palette = Vec::new();
    let mut encoder = png::Encoder::new(&mut palette, 2, 2);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![1, 2, 3, 9, 8, 7]);
    encoder.write_header().unwrap().write_image_data(&[0, 1, 1, 0]).unwrap();
    assert_eq!(exact(&palette).unwrap(), [1, 9, 9, 1, 2, 8, 8, 2, 3, 7, 7, 3]);
}

#[test]
fn transparency_is_refused_or_has_a_ground() {
    let opaque = image::RgbaImage::from_pixel(2, 2, Rgba([7, 8, 9, 255]));
    assert_eq!(exact(&png(opaque)).unwrap(), [7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9]);
    let half = png(GrayAlphaImage::from_pixel(2, 2, image::LumaA([100, 128])));
    let error = exact(&half).unwrap_err().to_string();
    assert!(error.contains("transparent") && error.contains("channels: 4"), "{error}");
    let on = |alpha| read(&half, [1, 2, 2], Fit::Exact, alpha).unwrap()[0];
    // (100 * 128 + ground * 127) / 255
    assert_eq!((on(Alpha::Black), on(Alpha::White)), (50, 177));
    let kept = read(&half, [4, 2, 2], Fit::Exact, Alpha::Refuse).unwrap();
    assert_eq!((kept[0], kept[12]), (100, 128));
}

#[test]
fn lossy_webp_is_read_as_libwebp_reads_it() {
    // The pixels as Pillow reads the file: `np.asarray(picture).transpose(2, 0, 1)`.
    #[rustfmt::skip]
    let expected = [
        9, 33, 73, 110, 146, 165, 16, 38, 80, 118, 154, 172, 15, 38, 80, 117, 155, 172,
        13, 35, 76, 114, 150, 169, 21, 43, 85, 121, 164, 182,
        12, 15, 16, 15, 15, 15, 46, 50, 50, 49, 48, 49, 101, 105, 106, 103, 106, 105,
        144, 147, 147, 146, 146, 147, 187, 191, 191, 188, 195, 195,
        77, 82, 85, 84, 82, 82, 88, 92, 94, 95, 93, 93, 95, 98, 104, 101, 102, 100,
        95, 100, 103, 103, 100, 99, 106, 109, 112, 111, 116, 115,
    ];
    let [plain, clear] = crate::test_set::LOSSY_WEBP;
    assert_eq!(read(plain, [3, 5, 6], Fit::Exact, Alpha::Refuse).unwrap(), expected);
    let clear = read(clear, [4, 5, 6], Fit::Exact, Alpha::Refuse).unwrap();
    assert_eq!(clear[..90], expected);
    assert_eq!(clear[90..], [255, 246, 237, 228, 219, 210].repeat(5));
}

#[test]
fn a_picture_is_turned_upright_as_its_exif_data_say() {
    let picture = RgbImage::from_fn(2, 1, |x, _| Rgb([if x == 0 { 250 } else { 0 }; 3]));
    // TIFF, little-endian, one entry: tag 0x0112 (orientation), a short, 1 of them: 6, a quarter
    // turn.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(picture.as_raw(), 2, 1, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(read(&bytes, [1, 2, 1], Fit::Exact, Alpha::Refuse).unwrap(), [250, 0]);
}

#[test]
fn pictures_of_other_sizes_are_cropped_stretched_or_refused() {
    // Columns 0, 0, 80, 80, 0, 0.
    let wide = png(GrayImage::from_fn(6, 2, |x, _| Luma([if x / 2 == 1 { 80 } else { 0 }])));
    let one = |fit| read(&wide, [1, 2, 2], fit, Alpha::Refuse);
    assert_eq!(one(Fit::Crop).unwrap(), [80; 4], "the middle");
    let error = one(Fit::Exact).unwrap_err().to_string();
    assert!(error.contains("it has 2 x 6 pixels, expected 2 x 2"), "{error}");
    // PIL: Image.fromarray(x).resize((3, 2), Image.BILINEAR) -> 9, 62, 9; a third of it by
    // symmetry.
    let small = read(&wide, [1, 2, 3], Fit::Stretch, Alpha::Refuse).unwrap();
    assert!(small[0] == small[2] && small[1] > 55 && small[0] < 15, "{small:?}");
}

#[test]
fn every_unreadable_picture_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let good = png(RgbImage::new(2, 2));
    let files: [(&str, Vec<u8>); 4] = [
        ("a.png", good.clone()),
        ("b.png", good[..good.len() - 20].to_vec()),
        ("c.jpg", b"<!doctype html>".to_vec()),
        ("d.png", Vec::new()),
    ];
    let pictures: Vec<Picture> = files
        .iter()
        .map(|(name, bytes)| {
            let path: PathBuf = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Picture { path, label: 0 }
        })
        .collect();
    let all_of = |pictures: &[&Picture]| all(pictures, IMAGE, Fit::Exact, Alpha::Refuse, &Reading::default());
    let error = all_of(&pictures.iter().collect::<Vec<_>>()).unwrap_err().to_string();
    assert!(error.starts_with("error: 3 places of the folder cannot be read:"), "{error}");
    assert!(["b.png: ", "c.jpg: ", "d.png: "].iter().all(|part| error.contains(part)), "{error}");
    let progress = Reading::default();
    all(&[&pictures[0], &pictures[0]], IMAGE, Fit::Exact, Alpha::Refuse, &progress).unwrap();
    assert_eq!(progress.state(), (2, 2));
}

#[test]
fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_unpacked() {
    let mut bytes = png(RgbImage::new(2, 2));
    // Width and height of the header, and its checksum.
    bytes[16..24].copy_from_slice(&[0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff]);
    let crc = flate2_crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = exact(&bytes).unwrap_err().to_string();
    assert!(error.contains("bytes, expected at most") || error.to_lowercase().contains("limit"), "{error}");
}

fn flate2_crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
