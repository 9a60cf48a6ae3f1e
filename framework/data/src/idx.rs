//! The IDX format of MNIST: a magic number, the sizes, then the bytes.
//!
//! Source: the format's description on the MNIST page (yann.lecun.com/exdb/mnist). All header
//! numbers are big-endian 32-bit.
//!
//! ```text
//! images  00 00 08 03 | count | rows | columns | count * rows * columns pixels
//! labels  00 00 08 01 | count | count labels
//! ```

use crate::fault::{Fault, first_bytes, grouped};

const UNSIGNED_BYTES: u32 = 0x0800;

/// Length in bytes of an IDX file with these sizes.
pub(crate) fn file_length(sizes: &[usize]) -> usize {
    4 + 4 * sizes.len() + sizes.iter().product::<usize>()
}

/// The content after the header, once magic number, sizes and length are those expected.
///
/// # Shapes
/// `sizes` is `[n, height, width]` for images and `[n]` for labels; the result has their product as
/// length.
pub(crate) fn parse<'a>(bytes: &'a [u8], sizes: &[usize]) -> Result<&'a [u8], Fault> {
    let magic = UNSIGNED_BYTES + sizes.len() as u32;
    let length = file_length(sizes);
    match big_endian(bytes, 0) {
        None => return Err(Fault::length(bytes.len(), length)),
        Some(found) if found != magic => {
            let expected = format!("{} (IDX, {} dimensions of bytes)", first_bytes(&magic.to_be_bytes()), sizes.len());
            return Err(Fault::new("wrong magic number", first_bytes(bytes), expected));
        }
        Some(_) => {}
    }
    let mut declared = Vec::with_capacity(sizes.len());
    for i in 0..sizes.len() {
        let size = big_endian(bytes, 4 + 4 * i).ok_or_else(|| Fault::length(bytes.len(), length))?;
        declared.push(size as usize);
    }
    if declared != sizes {
        return Err(Fault::new("wrong count or size in its header", shown(&declared), shown(sizes)));
    }
    if bytes.len() != length {
        return Err(Fault::length(bytes.len(), length));
    }
    Ok(&bytes[length - sizes.iter().product::<usize>()..])
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn shown(sizes: &[usize]) -> String {
    sizes.iter().map(|&n| grouped(n)).collect::<Vec<_>>().join(" x ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::idx;
    use proptest::prelude::*;

    fn what(bytes: &[u8]) -> String {
        parse(bytes, &[3]).unwrap_err().what
    }

    #[test]
    fn the_content_follows_the_header() {
        assert_eq!(parse(&idx(&[3], &[7, 8, 9]), &[3]).unwrap(), [7, 8, 9]);
        assert_eq!(parse(&idx(&[1, 2, 2], &[1, 2, 3, 4]), &[1, 2, 2]).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn each_thing_wrong_is_named() {
        let good = idx(&[3], &[7, 8, 9]);
        assert_eq!(what(&good[..10]), "it is truncated");
        assert_eq!(what(&good[..6]), "it is truncated");
        assert_eq!(what(&[]), "it is truncated");
        assert_eq!(what(&[&good[..], &[0]].concat()), "it has trailing bytes");
        assert_eq!(what(&idx(&[4], &[7, 8, 9, 9])), "wrong count or size in its header");
        assert_eq!(what(&idx(&[3, 1, 1], &[7, 8, 9])), "wrong magic number");
        assert_eq!(parse(b"<!doctype html>", &[3]).unwrap_err().found, "3c 21 64 6f (\"<!do\")");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64), flip in 0usize..11, value: u8) {
            let _ = parse(&bytes, &[3]);
            let mut near = idx(&[3], &[7, 8, 9]);
            near[flip] = value;
            let _ = parse(&near, &[3]);
        }
    }
}
