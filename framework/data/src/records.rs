//! The binary format of CIFAR: records of label bytes, then pixels, and nothing between them.
//!
//! Source: "Binary version" on the CIFAR page (www.cs.toronto.edu/~kriz/cifar.html).
//!
//! ```text
//! CIFAR-10   label (0-9)                          | 1024 red | 1024 green | 1024 blue
//! CIFAR-100  coarse label (0-19) | fine label (0-99) | 1024 red | 1024 green | 1024 blue
//! ```

use crate::fault::{Fault, grouped};

/// Images that are being read.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// `[n, channels, height, width]`.
    pub pixels: Vec<u8>,
    /// `[n]`.
    pub labels: Vec<u16>,
}

/// How one record looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// Number of coarse classes, where a coarse label comes before the label; 0 where none does.
    pub coarse_classes: usize,
    /// Number of classes.
    pub classes: usize,
    /// Bytes of one image.
    pub pixels: usize,
}

impl Record {
    /// Bytes of label before the pixels.
    pub(crate) fn label_bytes(self) -> usize {
        if self.coarse_classes > 0 { 2 } else { 1 }
    }

    /// Bytes of a record.
    pub(crate) fn length(self) -> usize {
        self.label_bytes() + self.pixels
    }

    /// Append `n` records to `images`. The last byte of label is the one kept: for CIFAR-100, the
    /// fine label.
    pub(crate) fn parse(self, bytes: &[u8], n: usize, images: &mut Parts) -> Result<(), Fault> {
        if bytes.len() != n * self.length() {
            return Err(Fault::length(bytes.len(), n * self.length()));
        }
        for (index, record) in bytes.chunks_exact(self.length()).enumerate() {
            let (label, pixels) = record.split_at(self.label_bytes());
            if let [coarse, _] = *label {
                check_label("coarse label", index, coarse, self.coarse_classes)?;
            }
            let label = label[label.len() - 1];
            check_label("label", index, label, self.classes)?;
            images.labels.push(label.into());
            images.pixels.extend_from_slice(pixels);
        }
        Ok(())
    }
}

/// That a label is in `0..classes`.
pub(crate) fn check_label(what: &str, index: usize, label: u8, classes: usize) -> Result<(), Fault> {
    if usize::from(label) < classes {
        return Ok(());
    }
    let what = format!("wrong {what} in record {} (counted from 0)", grouped(index));
    Err(Fault::new(what, label.to_string(), format!("0 to {}", classes.saturating_sub(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEN: Record = Record { coarse_classes: 0, classes: 10, pixels: 4 };
    const HUNDRED: Record = Record { coarse_classes: 20, classes: 100, pixels: 4 };

    fn parse(record: Record, bytes: &[u8], n: usize) -> Result<Parts, Fault> {
        let mut images = Parts::default();
        record.parse(bytes, n, &mut images).map(|()| images)
    }

    #[test]
    fn labels_and_pixels_are_parted() {
        let images = parse(TEN, &[9, 1, 2, 3, 4, 0, 5, 6, 7, 8], 2).unwrap();
        assert_eq!((images.labels, images.pixels), (vec![9, 0], vec![1, 2, 3, 4, 5, 6, 7, 8]));
    }

    #[test]
    fn of_coarse_and_fine_the_fine_label_is_kept() {
        assert_eq!(parse(HUNDRED, &[19, 99, 1, 2, 3, 4], 1).unwrap().labels, [99]);
    }

    #[test]
    fn each_thing_wrong_is_named() {
        let what = |record, bytes: &[u8]| parse(record, bytes, 1).unwrap_err().what;
        assert_eq!(what(TEN, &[9, 1, 2, 3]), "it is truncated");
        assert_eq!(what(TEN, &[9, 1, 2, 3, 4, 5]), "it has trailing bytes");
        assert_eq!(what(TEN, &[10, 1, 2, 3, 4]), "wrong label in record 0 (counted from 0)");
        assert_eq!(what(HUNDRED, &[20, 99, 1, 2, 3, 4]), "wrong coarse label in record 0 (counted from 0)");
        assert_eq!(what(HUNDRED, &[19, 100, 1, 2, 3, 4]), "wrong label in record 0 (counted from 0)");
        assert_eq!(parse(TEN, &[200, 1, 2, 3, 4], 1).unwrap_err().expected, "0 to 9");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..40), n in 0usize..8) {
            let _ = parse(TEN, &bytes, n);
            let _ = parse(HUNDRED, &bytes, n);
        }
    }
}
