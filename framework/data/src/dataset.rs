//! A loaded data set: images and labels in memory, and where they came from.

use crate::facts::Facts;
use crate::pixels::Pixels;
use crate::sums::{hex, sha256_of};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io;

/// Images of one split with their labels, in the published order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// `[n, channels, height, width]`, row by row, 0 to 255.
    pub pixels: Pixels,
    /// `[n]`, in `0..classes`. For CIFAR-100, the fine labels.
    pub labels: Vec<u16>,
    /// 1 for grey, 3 for red, green and blue in this order.
    pub channels: usize,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
}

impl Images {
    /// Pixels `[n, channels, height, width]` with labels `[n]`.
    pub fn new(pixels: impl Into<Pixels>, labels: Vec<u16>, [channels, height, width]: [usize; 3]) -> Self {
        Images { pixels: pixels.into(), labels, channels, height, width }
    }

    /// No images of this shape.
    pub fn none(image: [usize; 3]) -> Self {
        Images::new(Vec::new(), Vec::new(), image)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// `[n, channels, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.len(), self.channels, self.height, self.width]
    }

    /// Bytes of an image.
    pub fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The pixels of image `index`, `[channels, height, width]`.
    ///
    /// # Errors
    /// Past the end, or when they cannot be read.
    pub fn image(&self, index: usize) -> io::Result<Cow<'_, [u8]>> {
        self.pixels.part(index.saturating_mul(self.size()), self.size())
    }

    /// Mean and standard deviation of the pixels per channel, `[channels]` each, in [0, 1] image
    /// units; of no images, zeros.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn moments(&self) -> io::Result<(Vec<f64>, Vec<f64>)> {
        let plane = self.height * self.width;
        let mut sums = vec![(0u64, 0u64); self.channels];
        self.pixels.pieces(self.size(), &mut |piece| {
            for (channel, plane) in piece.chunks_exact(plane.max(1)).enumerate() {
                let (sum, squares) = &mut sums[channel % self.channels];
                *sum += plane.iter().map(|&v| u64::from(v)).sum::<u64>();
                *squares += plane.iter().map(|&v| u64::from(v) * u64::from(v)).sum::<u64>();
            }
        })?;
        let count = (self.len() * plane).max(1) as f64;
        let of = |(sum, squares): (u64, u64)| {
            let mean = sum as f64 / count;
            (mean / 255.0, (squares as f64 / count - mean * mean).max(0.0).sqrt() / 255.0)
        };
        Ok(sums.into_iter().map(of).unzip())
    }

    /// A copy of the `n` images from `first`, or of fewer where it ends, in memory.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn part(&self, first: usize, n: usize) -> io::Result<Self> {
        let end = first.saturating_add(n).min(self.len());
        let first = first.min(end);
        let pixels = self.pixels.part(first * self.size(), (end - first) * self.size())?.into_owned();
        Ok(Self { pixels: pixels.into(), labels: self.labels[first..end].to_vec(), ..*self })
    }

    /// The images at `rows`, one after another: `[n, channels, height, width]`.
    ///
    /// # Errors
    /// When there is no such row, or they cannot be read.
    pub fn pixels_of(&self, rows: &[i64]) -> io::Result<Vec<u8>> {
        let size = self.size();
        let mut pixels = vec![0; rows.len() * size];
        for (&row, out) in rows.iter().zip(pixels.chunks_exact_mut(size.max(1))) {
            self.pixels.copy(usize::try_from(row).unwrap_or(usize::MAX).saturating_mul(size), out)?;
        }
        Ok(pixels)
    }

    /// The SHA-256 of the pixels, and that of the labels.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sha256(&self) -> io::Result<[String; 2]> {
        let mut sum = Sha256::new();
        self.pixels.pieces(self.size(), &mut |piece| sum.update(piece))?;
        let labels: Vec<u8> = self.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        Ok([hex(&sum.finalize()), sha256_of(&labels)])
    }

    /// Keeps the first `n` images, or all if there are fewer.
    pub fn truncate(&mut self, n: usize) {
        self.labels.truncate(n);
        self.pixels.truncate(n.saturating_mul(self.size()));
    }

    /// How many images each class has, `[classes]`. Labels of `classes` and above are not counted.
    pub fn per_class(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &label in &self.labels {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
        counts
    }
}

/// A data set in memory.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What is known about it.
    pub facts: Facts,
    /// Images to train on.
    pub train: Images,
    /// Images to test on.
    pub test: Images,
    /// Where it was read from: a folder, an archive, or that it is built in.
    pub origin: String,
    /// The content read, file by file, for the record of a run.
    pub sums: Vec<FileSum>,
    /// Whether every file is the published one.
    pub published: bool,
    /// Notes about this copy that are not errors, one sentence each; empty for the published
    /// files.
    pub notes: Vec<String>,
}

impl Dataset {
    /// The content of its files: `published`, or the SHA-256 of their sums where one of them is
    /// not the published one.
    pub fn content(&self) -> String {
        if self.published {
            return PUBLISHED.into();
        }
        let lines: String = self.sums.iter().map(|sum| format!("{} {}\n", sum.file, sum.sha256)).collect();
        sha256_of(lines.as_bytes())
    }
}

/// The content of a data set whose files are all as they were published.
pub const PUBLISHED: &str = "published";

/// What one published file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSum {
    /// Its published name, such as `data_batch_1.bin`, in whatever form it was stored.
    pub file: String,
    /// SHA-256 of its unpacked content, in lower-case hexadecimal.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy: p = [[[0, 255], [51, 51]]] / 255; p.mean(), p.std() -> 0.35, 0.384057
    #[test]
    fn moments_are_those_of_numpy() {
        let images = Images::new(vec![0, 255, 51, 51], vec![0], [1, 2, 2]);
        let (mean, std) = images.moments().unwrap();
        assert!((mean[0] - 0.35).abs() < 1e-12 && (std[0] - 0.384_057_287_392).abs() < 1e-9, "{mean:?} {std:?}");
        assert_eq!(Images::none([2, 1, 1]).moments().unwrap(), (vec![0.0; 2], vec![0.0; 2]));
        // Two images of two channels: 1, 3 and 5, 7.
        let two = Images::new(vec![1, 5, 3, 7], vec![0, 0], [2, 1, 1]).moments().unwrap();
        assert_eq!(two.0.iter().map(|mean| (mean * 255.0).round()).collect::<Vec<_>>(), [2.0, 6.0]);
    }

    #[test]
    fn images_are_taken_one_by_one_and_in_parts() {
        let images = Images::new((0..8).collect::<Vec<u8>>(), vec![1, 1], [1, 2, 2]);
        assert_eq!(images.image(1).unwrap(), [4u8, 5, 6, 7].as_slice());
        assert!(images.image(2).is_err() && images.image(usize::MAX).is_err());
        assert_eq!(images.shape(), [2, 1, 2, 2]);
        assert_eq!(images.per_class(2), [0, 2]);
        assert_eq!(images.part(1, 9).unwrap(), Images::new(vec![4, 5, 6, 7], vec![1], [1, 2, 2]));
        assert_eq!([(2, 1), (9, 1)].map(|(first, n)| images.part(first, n).unwrap().len()), [0, 0]);
        assert_eq!(images.pixels_of(&[1, 0, 1]).unwrap(), [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(images.pixels_of(&[2]).is_err() && images.pixels_of(&[-1]).is_err());
        let (mut first, mut all) = (images.clone(), images.clone());
        first.truncate(1);
        all.truncate(usize::MAX);
        assert!(first.pixels == [0, 1, 2, 3] && first.labels == [1] && all == images);
    }

    // hashlib.sha256(bytes(range(8))).hexdigest(), hashlib.sha256(bytes([1, 0, 1, 0])).hexdigest()
    #[test]
    fn sums_are_of_all_pixels_and_all_labels() {
        let images = Images::new((0..8).collect::<Vec<u8>>(), vec![1, 1], [1, 2, 2]);
        let [pixels, labels] = images.sha256().unwrap();
        assert_eq!(pixels, "8a851ff82ee7048ad09ec3847f1ddf44944104d2cbd17ef4e3db22c6785a0d45");
        assert_eq!(labels, "507503b51960cceda8d924904fb85377fe7d177fb8dfcf56b24e4557644ed486");
    }
}
