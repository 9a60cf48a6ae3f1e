//! Small files of every kind that is read here, for tests and fuzzing.

use crate::{folder, pickles, svhn};
use flate2::{Compression, write::ZlibEncoder};
use foil::Result;
use foil::data::Images;
pub use image::ImageFormat;
use image::{DynamicImage, Luma, RgbImage};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// A `.npy` file, as `numpy.save` writes it.
pub fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let width = (11 + dictionary.len()).next_multiple_of(64) - 11;
    let padded = format!("{dictionary:<width$}\n");
    [b"\x93NUMPY\x01\x00", &(padded.len() as u16).to_le_bytes()[..], padded.as_bytes(), bytes].concat()
}

/// Two images of 2 x 2 in three colours, channels last, as a `.npy` file.
pub fn images() -> Vec<u8> {
    npy("|u1", "(2, 2, 2, 3)", &(0..24).collect::<Vec<u8>>())
}

/// Their labels.
pub fn labels() -> Vec<u8> {
    npy("<i8", "(2,)", &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// A `.npz` file of these arrays, packed or not.
///
/// # Panics
/// Never: it is written into memory.
pub fn zipped(arrays: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let how = if packed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(how)).expect("in memory");
        zip.write_all(bytes).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

/// Both in a `.npz` file, packed or not.
pub fn npz(packed: bool) -> Vec<u8> {
    zipped(&[("images", images()), ("labels", labels())], packed)
}

/// The same as safetensors.
pub fn safetensors() -> Vec<u8> {
    let header = r#"{"images":{"dtype":"U8","shape":[2,2,2,3],"data_offsets":[0,24]},"labels":{"dtype":"U8","shape":[2],"data_offsets":[24,26]}}"#;
    let numbers: Vec<u8> = (0..24).chain([2, 0]).collect();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers].concat()
}

fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut all = [&kind.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), data].concat();
    all.resize(all.len().next_multiple_of(8), 0);
    all
}

/// A `.mat` file of byte arrays, `packed` with zlib as MATLAB does or not; names have at most 4
/// letters.
///
/// # Panics
/// Never: it is written into memory.
pub fn mat(arrays: &[(&str, &[u32], &[u8])], packed: bool) -> Vec<u8> {
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    for (name, shape, values) in arrays {
        let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
        let inside = [
            element(6, &[9, 0, 0, 0, 0, 0, 0, 0]),
            element(5, &sizes),
            // Short names are small elements.
            [&[1, 0, name.len() as u8, 0][..], name.as_bytes(), &vec![0; 4 - name.len()]].concat(),
            element(2, values),
        ];
        let matrix = element(14, &inside.concat());
        if packed {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            zlib.write_all(&matrix).expect("in memory");
            let zlib = zlib.finish().expect("in memory");
            file.extend([&15u32.to_le_bytes()[..], &(zlib.len() as u32).to_le_bytes(), &zlib].concat());
        } else {
            file.extend(matrix);
        }
    }
    file
}

/// Two images of SVHN with the digits 0 and 1, packed or not.
pub fn svhn(packed: bool) -> Vec<u8> {
    let pixels: Vec<u8> = (0..2 * 3 * 32 * 32).map(|at| (at % 251) as u8).collect();
    mat(&[("X", &[32, 32, 3, 2], &pixels), ("y", &[2, 1], &[10, 1])], packed)
}

/// Reads a file of two images of SVHN.
///
/// # Errors
/// What is wrong with it.
pub fn read_svhn(mut bytes: &[u8]) -> Result<Images> {
    svhn::read(&mut bytes, 2)
}

/// A NumPy array of bytes `[n, pixels]` as Python 2 pickled it, instruction by instruction; `n` and
/// `pixels` are below 256.
pub fn pickled(bytes: &[u8], pixels: u8, dtype: &str) -> Vec<u8> {
    [
        &b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K"[..],
        &[(bytes.len() / usize::from(pixels)) as u8, b'K', pixels],
        b"\x86cnumpy\ndtype\nU\x02",
        dtype.as_bytes(),
        b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        &(bytes.len() as u32).to_le_bytes(),
        bytes,
        b"tb",
    ]
    .concat()
}

/// The key and the value of a pickled list of labels.
pub fn list(key: &str, labels: &[u8]) -> Vec<u8> {
    let items: Vec<u8> = labels.iter().flat_map(|label| [b'K', *label]).collect();
    [&[b'U', key.len() as u8][..], key.as_bytes(), b"](", &items, b"e"].concat()
}

/// A pickled dictionary of these keys and values.
pub fn dictionary(items: &[Vec<u8>]) -> Vec<u8> {
    [b"\x80\x02}(", items.concat().as_slice(), b"u."].concat()
}

/// Pixels of an image of [`batch`].
pub const LITTLE_PIXELS: usize = 4;

/// Reads a batch of CIFAR's Python version whose images have [`LITTLE_PIXELS`]: a label and the
/// pixels of each.
///
/// # Errors
/// What is wrong with it.
pub fn read_batch(bytes: &[u8]) -> Result<Vec<u8>> {
    pickles::records(bytes, "the batch", LITTLE_PIXELS)
}

/// A batch of CIFAR's Python version, with two small images.
pub fn batch() -> Vec<u8> {
    let data = [b"U\x04data".to_vec(), pickled(&[255, 0, 1, 2, 65, 66, 67, 68], 4, "u1")].concat();
    dictionary(&[list("labels", &[3, 9]), data])
}

/// The picture in colour of [`pictures`] in WebP's lossy form, which is read here but not written,
/// and with its transparency. Pillow 13:
///
/// ```python
/// picture = Image.new("RGBA", (6, 5))
/// for x, y in itertools.product(range(6), range(5)):
///     picture.putpixel((x, y), (40 * x, 50 * y, 90, 255 - 9 * x))
/// for mode in ("RGB", "RGBA"):
///     picture.convert(mode).save(f"{mode}.webp", quality=50, method=6)
/// ```
pub const LOSSY_WEBP: [&[u8]; 2] = [
    b"RIFFF\0\0\0WEBPVP8 :\0\0\0\xf0\x01\0\x9d\x01*\x06\0\x05\0\x02\xc0L%\xb0\x02t\xba\0\x03\
    \x08@[\x90\0\xfe\xea9\xfd\xd9\0E\xe2\xa8Ns\x8cQ\xed\x5c\xaa\xad^i\xdf\xedN\xf0\xc2\x13\
    \xd0\xe6\xfb\x0f\x9f\x90\0\0",
    b"RIFFr\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x05\0\0\x04\0\0ALPH\x12\0\0\0\x01 \x1a\xb0\xf8\
    \xff\xbdUUUU\xd5\x09\x11\x11k,~VP8 :\0\0\0\xf0\x01\0\x9d\x01*\x06\0\x05\0\x02\xc0L%\xb0\
    \x02t\xba\0\x03\x08@[\x90\0\xfe\xea9\xfd\xd9\0E\xe2\xa8Ns\x8cQ\xed\x5c\xaa\xad^i\xdf\xed\
    N\xf0\xc2\x13\xd0\xe6\xfb\x0f\x9f\x90\0\0",
];

/// Pictures of 6 x 5 pixels in this format: in colour and in grey, and with what else it may have:
/// transparency, 16 bits, a direction in EXIF data.
///
/// # Panics
/// Never: they are written into memory.
pub fn pictures(format: ImageFormat) -> Vec<Vec<u8>> {
    let colour = RgbImage::from_fn(6, 5, |x, y| image::Rgb([40 * x as u8, 50 * y as u8, 90]));
    let grey = image::GrayImage::from_fn(6, 5, |x, y| Luma([(30 * x + 10 * y) as u8]));
    let clear =
        image::RgbaImage::from_fn(6, 5, |x, y| image::Rgba([40 * x as u8, 50 * y as u8, 90, 255 - 9 * x as u8]));
    let deep = image::ImageBuffer::from_fn(6, 5, |x, y| Luma([(9000 * x + 300 * y) as u16]));
    let pictures: Vec<DynamicImage> = match format {
        ImageFormat::Jpeg => vec![colour.into(), grey.into()],
        ImageFormat::WebP => vec![colour.into(), clear.into()],
        _ => vec![colour.into(), grey.into(), clear.into(), deep.into()],
    };
    let written = |picture: &DynamicImage| {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format).expect("in memory");
        bytes
    };
    let mut all: Vec<Vec<u8>> = pictures.iter().map(written).collect();
    if format == ImageFormat::Jpeg {
        // TIFF, little-endian, one entry: tag 0x0112 (orientation), a short, 1 of them: 6.
        let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        all.push([&all[0][..2], exif, &all[0][2..]].concat());
    }
    if format == ImageFormat::WebP {
        all.extend(LOSSY_WEBP.map(<[u8]>::to_vec));
    }
    all
}

/// A picture as the data set `folder` decodes it: to 8 x 8 in colour, cropped, on white.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![0; 3 * 8 * 8];
    folder::decode(bytes, [3, 8, 8], folder::Fit::Crop, folder::Alpha::White, &mut out).map(|()| out)
}
