//! NumPy's `.npy`: a magic number, a header that is a Python dictionary, then the numbers.
//!
//! Source: `numpy.lib.format`, versions 1 to 3. Of the dictionary only what NumPy itself writes is
//! read: `descr`, `fortran_order` and `shape`; nothing is evaluated.

use foil::{Error, Result};
use std::io::Read;

/// The type of an array's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Unsigned bytes.
    U8,
    /// Other integers of this many bytes, signed or not.
    Int {
        /// 1, 2, 4 or 8.
        bytes: usize,
        /// Whether they have a sign.
        signed: bool,
    },
    /// Floating-point numbers of 4 or 8 bytes.
    Float(usize),
}

impl Number {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::Int { bytes, .. } | Self::Float(bytes) => bytes,
        }
    }

    /// One little-endian number, which has as many bytes as this type.
    pub fn value(self, bytes: &[u8]) -> f64 {
        let wide = |sign: bool| {
            let filled = if sign && bytes.last().is_some_and(|last| last & 0x80 != 0) { -1i64 } else { 0 };
            bytes.iter().rev().fold(filled, |n, &byte| n << 8 | i64::from(byte))
        };
        match self {
            Self::U8 => f64::from(bytes[0]),
            Self::Int { signed: true, .. } => wide(true) as f64,
            Self::Int { .. } => wide(false) as u64 as f64,
            Self::Float(4) => f64::from(f32::from_le_bytes(bytes.try_into().unwrap_or_default())),
            Self::Float(_) => f64::from_le_bytes(bytes.try_into().unwrap_or_default()),
        }
    }
}

/// What an array's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The type of its numbers, little-endian.
    pub number: Number,
    /// Its sizes, the slowest first.
    pub shape: Vec<usize>,
}

impl Header {
    /// Bytes of its numbers.
    ///
    /// # Errors
    /// When they are more than this machine can address.
    pub fn length(&self) -> Result<usize> {
        let count = self.shape.iter().try_fold(self.number.bytes(), |n, &size| n.checked_mul(size));
        count
            .filter(|&n| n <= isize::MAX as usize)
            .ok_or_else(|| Error::new(format!("its shape {:?} is absurd", self.shape)))
    }
}

/// Dictionaries that NumPy writes are far shorter.
const LONGEST: usize = 64 << 10;

/// Reads the header; the numbers follow in `from`.
///
/// # Errors
/// When it is not a `.npy` file, or one whose numbers foil does not read, with what was found.
pub fn header(from: &mut dyn Read) -> Result<Header> {
    let short = |error: std::io::Error| Error::new(format!("it is not a .npy file, or is cut short: {error}"));
    let mut start = [0; 8];
    from.read_exact(&mut start).map_err(short)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err(Error::new("it is not a .npy file: its first bytes are not \\x93NUMPY"));
    }
    let length = match start[6] {
        1 => {
            let mut two = [0; 2];
            from.read_exact(&mut two).map_err(short)?;
            usize::from(u16::from_le_bytes(two))
        }
        2 | 3 => {
            let mut four = [0; 4];
            from.read_exact(&mut four).map_err(short)?;
            u32::from_le_bytes(four) as usize
        }
        other => return Err(Error::new(format!("it is a .npy file of version {other}, and foil reads 1 to 3"))),
    };
    if length > LONGEST {
        return Err(Error::new(format!("its header claims {length} bytes, which no .npy file has")));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text).map_err(short)?;
    parse(&String::from_utf8_lossy(&text))
}

fn parse(text: &str) -> Result<Header> {
    let odd = || Error::new(format!("its header is not one that NumPy writes: {}", foil::error::shown(text.trim())));
    let after = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let descr = after("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next()).ok_or_else(odd)?;
    let fortran = after("fortran_order").ok_or_else(odd)?;
    let inside = after("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).ok_or_else(odd)?;
    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| odd())).collect::<Result<Vec<usize>>>()?;
    if shape.len() > 32 {
        return Err(odd());
    }
    if !fortran.starts_with("False") {
        return Err(Error::new("its numbers are in Fortran's order").help("save numpy.ascontiguousarray(x)"));
    }
    let number = match descr {
        "|u1" | "|b1" | "u1" => Number::U8,
        "|i1" => Number::Int { bytes: 1, signed: true },
        "<i2" | "<i4" | "<i8" => Number::Int { bytes: usize::from(descr.as_bytes()[2] - b'0'), signed: true },
        "<u2" | "<u4" | "<u8" => Number::Int { bytes: usize::from(descr.as_bytes()[2] - b'0'), signed: false },
        "<f4" | "<f8" => Number::Float(usize::from(descr.as_bytes()[2] - b'0')),
        other => {
            let message = format!("its numbers are of type `{}`, which foil does not read", foil::error::shown(other));
            return Err(Error::new(message).help("images are uint8 or float32, labels integers"));
        }
    };
    Ok(Header { number, shape })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::npy;

    #[test]
    fn headers_say_type_and_shape() {
        let read = |bytes: &[u8]| header(&mut &*bytes);
        let found = read(&npy("|u1", "(2, 3)", &[])).unwrap();
        assert_eq!(found, Header { number: Number::U8, shape: vec![2, 3] });
        assert_eq!(read(&npy("<i8", "(5,)", &[])).unwrap().shape, [5]);
        assert_eq!(read(&npy("<f4", "()", &[])).unwrap().shape, [0usize; 0]);
        for (bytes, part) in [
            (npy(">f4", "(1,)", &[]), "of type `>f4`"),
            (npy("|O", "(1,)", &[]), "of type `|O`"),
            (npy("|u1", "(-1,)", &[]), "not one that NumPy writes"),
            (b"PK\x03\x04....".to_vec(), "first bytes"),
            (npy("|u1", "(1,)", &[])[..30].to_vec(), "cut short"),
        ] {
            let error = read(&bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let absurd = read(&npy("<f8", "(4294967296, 4294967296)", &[])).unwrap();
        assert!(absurd.length().is_err());
    }

    // import numpy as np; [np.array([v], t).tobytes() for v, t in ((-2, '<i2'), (2.5, '<f4'),
    //     (300, '<u4'))]
    #[test]
    fn numbers_are_those_of_numpy() {
        assert_eq!(Number::Int { bytes: 2, signed: true }.value(&[0xfe, 0xff]), -2.0);
        assert_eq!(Number::Float(4).value(&[0, 0, 0x20, 0x40]), 2.5);
        assert_eq!(Number::Int { bytes: 4, signed: false }.value(&[0x2c, 1, 0, 0]), 300.0);
    }
}
