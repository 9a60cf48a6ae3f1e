//! MATLAB's `.mat` files, version 5: as much of them as SVHN's use.
//!
//! Source: "MAT-File Format", MathWorks, chapter 1. After a header of 128 bytes come elements, each
//! a tag (type and length, 4 bytes each, or both in 4 bytes for at most 4 bytes of data) and data
//! padded to 8 bytes. An element of type `miCOMPRESSED` is another element, packed with zlib.

use flate2::bufread::ZlibDecoder;
use foil::{Error, Result};
use std::io::{BufRead, Read};

const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;
const HEADER: usize = 128;

/// An array of a file: bytes, or numbers that were converted to them.
#[derive(Debug, PartialEq, Eq)]
pub struct Array {
    /// Its variable.
    pub name: String,
    /// Its sizes; the first index moves fastest.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Vec<u8>,
}

/// The arrays of a file, each with at most `most` bytes unpacked.
///
/// # Errors
/// When it is not such a file, is cut short, or holds an array of another kind.
pub fn arrays(from: &mut dyn BufRead, most: usize) -> Result<Vec<Array>> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header).map_err(short)?;
    match &header[124..] {
        [0, 1, b'I', b'M'] => {}
        [1, 0, b'M', b'I'] => return Err(Error::new("it is a big-endian .mat file, which foil does not read")),
        other => {
            let help = "save it with `save -v7` in MATLAB, or scipy.io.savemat";
            return Err(
                Error::new(format!("it is not a .mat file of version 5: bytes 124 to 127 are {other:02x?}")).help(help)
            );
        }
    }
    let mut found = Vec::new();
    while !from.fill_buf().map_err(short)?.is_empty() {
        let (kind, length) = tag(from)?;
        let mut inside = from.take(length as u64);
        match kind {
            COMPRESSED => {
                let mut unpacked = std::io::BufReader::new(ZlibDecoder::new(&mut inside));
                let (kind, length) = tag(&mut unpacked)?;
                found.extend(matrix(&mut unpacked, kind, length, most)?);
            }
            kind => found.extend(matrix(&mut inside, kind, length, most)?),
        }
        std::io::copy(&mut inside, &mut std::io::sink()).map_err(short)?;
    }
    Ok(found)
}

fn short(error: std::io::Error) -> Error {
    Error::new(format!("it is cut short or damaged: {error}"))
}

/// Type and length of the next element, which must not be a small one.
fn tag(from: &mut dyn Read) -> Result<(u32, usize)> {
    let mut both = [0; 8];
    from.read_exact(&mut both).map_err(short)?;
    let number = |at: usize| u32::from_le_bytes([both[at], both[at + 1], both[at + 2], both[at + 3]]);
    Ok((number(0), number(4) as usize))
}

/// The data of the next element of an array, at most `most` bytes, with its type.
fn part(from: &mut dyn Read, most: usize) -> Result<(u32, Vec<u8>)> {
    let (kind, length) = tag(from)?;
    if kind >> 16 != 0 {
        // A small element: length and type in 2 bytes each, then up to 4 bytes of data.
        let data = (length as u32).to_le_bytes();
        let size = (kind >> 16) as usize;
        return match data.get(..size) {
            Some(data) => Ok((kind & 0xffff, data.to_vec())),
            None => Err(Error::new(format!("a small element claims {size} bytes"))),
        };
    }
    if length > most {
        return Err(Error::new(format!("an element claims {length} bytes, expected at most {most}")));
    }
    let mut data = Vec::new();
    from.take(length as u64).read_to_end(&mut data).map_err(short)?;
    if data.len() < length {
        return Err(Error::new(format!("it is cut short: {} of {length} bytes of an element", data.len())));
    }
    // The last element of a file may lack its padding.
    let mut padding = vec![0; length.next_multiple_of(8) - length];
    let _ = from.read_exact(&mut padding);
    Ok((kind, data))
}

/// The array of a matrix element; none of other elements.
fn matrix(from: &mut dyn Read, kind: u32, length: usize, most: usize) -> Result<Option<Array>> {
    if kind != MATRIX || length == 0 {
        return Ok(None);
    }
    let (_, flags) = part(from, 64)?;
    let (_, sizes) = part(from, 1024)?;
    let (_, name) = part(from, 1024)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let shape: Vec<usize> =
        sizes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize).collect();
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).filter(|&n| n <= most);
    let count = count
        .ok_or_else(|| Error::new(format!("`{name}` has the shape {shape:?}, expected at most {most} numbers")))?;
    // Classes 6 to 15 are numbers.
    if !flags.first().is_some_and(|class| (6..=15).contains(class)) {
        return Err(Error::new(format!("`{name}` is not an array of numbers")));
    }
    let (kind, data) = part(from, most.saturating_mul(8))?;
    let values = bytes_of(kind, data, &name)?;
    if values.len() != count {
        return Err(Error::new(format!(
            "`{name}` has {} numbers, expected {count} for its shape {shape:?}",
            values.len()
        )));
    }
    Ok(Some(Array { name, shape, values }))
}

/// Numbers as bytes; each must be a whole number from 0 to 255.
fn bytes_of(kind: u32, data: Vec<u8>, name: &str) -> Result<Vec<u8>> {
    let wrong = || Error::new(format!("`{name}` holds numbers that are not whole numbers from 0 to 255"));
    let each = |width: usize, value: &dyn Fn(&[u8]) -> f64| -> Result<Vec<u8>> {
        let byte = |bytes: &[u8]| Some(value(bytes)).filter(|v| v.fract() == 0.0 && (0.0..256.0).contains(v));
        data.chunks_exact(width).map(|bytes| byte(bytes).map(|v| v as u8).ok_or_else(wrong)).collect()
    };
    let fixed = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b)) as f64;
    match kind {
        2 => Ok(data),
        1 => each(1, &|b| f64::from(b[0] as i8)),
        3 | 4 => each(2, &fixed),
        5 | 6 => each(4, &fixed),
        9 => each(8, &|b| f64::from_le_bytes(b.try_into().unwrap_or_default())),
        12 | 13 => each(8, &fixed),
        7 => each(4, &|b| f64::from(f32::from_le_bytes(b.try_into().unwrap_or_default()))),
        other => Err(Error::new(format!("`{name}` holds numbers of type {other}, which foil does not read"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::mat;

    #[test]
    fn packed_arrays_are_read() {
        let file = mat(&[("X", &[2, 3], &[1, 2, 3, 4, 5, 6]), ("y", &[2, 1], &[10, 1])], true);
        let found = arrays(&mut &file[..], 100).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].shape.as_slice()), ("X", &[2, 3][..]));
        assert_eq!((found[1].values.as_slice(), found.len()), (&[10, 1][..], 2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let file = mat(&[("X", &[2, 3], &[1, 2, 3, 4, 5, 6])], true);
        let said = |bytes: &[u8], most| arrays(&mut &*bytes, most).unwrap_err().to_string();
        assert!(said(&file[..file.len() - 9], 100).contains("cut short"));
        assert!(said(&file, 5).contains("expected at most 5"), "{}", said(&file, 5));
        assert!(said(&[0; 200], 5).contains("not a .mat file of version 5"));
        assert!(said(&mat(&[("X", &[2, 4], &[1, 2, 3])], false), 100).contains("has 3 numbers, expected 8"));
        let bomb = mat(&[("X", &[4_000_000], &vec![0; 4_000_000])], true);
        assert!(bomb.len() < 40_000 && said(&bomb, 1000).contains("expected at most 1000"));
    }
}
