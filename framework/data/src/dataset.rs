//! A loaded data set: images and labels in memory, and where they came from.

use crate::facts::Facts;
use crate::sums::sha256_of;

/// Images of one split with their labels, in the published order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// `[n, channels, height, width]`, row by row, 0 to 255.
    pub pixels: Vec<u8>,
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
    /// No images yet, with room for `n`.
    pub fn with_room(n: usize, [channels, height, width]: [usize; 3]) -> Self {
        let pixels = Vec::with_capacity(n * channels * height * width);
        Images { pixels, labels: Vec::with_capacity(n), channels, height, width }
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

    /// The pixels of image `index`, `[channels, height, width]`; `None` past the end.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let size = self.channels * self.height * self.width;
        self.pixels.get(index.checked_mul(size)?..)?.get(..size)
    }

    /// Mean and standard deviation of the pixels per channel, `[channels]` each, in [0, 1] image
    /// units; of no images, zeros.
    pub fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let plane = self.height * self.width;
        let of = |channel: usize| {
            let planes = self.pixels.chunks_exact(plane.max(1)).skip(channel).step_by(self.channels);
            let (sum, squares) = planes
                .flatten()
                .fold((0u64, 0u64), |(sum, squares), &v| (sum + u64::from(v), squares + u64::from(v) * u64::from(v)));
            let count = (self.len() * plane).max(1) as f64;
            let mean = sum as f64 / count;
            (mean / 255.0, (squares as f64 / count - mean * mean).max(0.0).sqrt() / 255.0)
        };
        (0..self.channels).map(of).unzip()
    }

    /// A copy of the `n` images from `first`, or of fewer where it ends.
    #[must_use]
    pub fn part(&self, first: usize, n: usize) -> Self {
        let size = self.channels * self.height * self.width;
        let end = first.saturating_add(n).min(self.len());
        let first = first.min(end);
        let pixels = self.pixels[first * size..end * size].to_vec();
        Self { pixels, labels: self.labels[first..end].to_vec(), ..*self }
    }

    /// The images at `rows`, one after another: `[n, channels, height, width]`. A row past the end
    /// is left out.
    #[must_use]
    pub fn pixels_of(&self, rows: &[i64]) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(rows.len() * self.channels * self.height * self.width);
        for image in rows.iter().filter_map(|&row| self.image(usize::try_from(row).ok()?)) {
            pixels.extend_from_slice(image);
        }
        pixels
    }

    /// Keeps the first `n` images, or all if there are fewer.
    pub fn truncate(&mut self, n: usize) {
        self.labels.truncate(n);
        self.pixels.truncate(n.saturating_mul(self.channels * self.height * self.width));
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
        let images = Images { pixels: vec![0, 255, 51, 51], labels: vec![0], channels: 1, height: 2, width: 2 };
        let (mean, std) = images.moments();
        assert!((mean[0] - 0.35).abs() < 1e-12 && (std[0] - 0.384_057_287_392).abs() < 1e-9, "{mean:?} {std:?}");
        assert_eq!(Images::with_room(0, [2, 1, 1]).moments(), (vec![0.0; 2], vec![0.0; 2]));
    }

    #[test]
    fn an_image_is_a_slice_and_past_the_end_is_none() {
        let images = Images { pixels: (0..8).collect(), labels: vec![1, 1], channels: 1, height: 2, width: 2 };
        assert_eq!(images.image(1), Some(&[4, 5, 6, 7][..]));
        assert_eq!(images.image(2), None);
        assert_eq!(images.image(usize::MAX), None);
        assert_eq!(images.shape(), [2, 1, 2, 2]);
        assert_eq!(images.per_class(2), [0, 2]);
        assert_eq!(images.part(1, 9), Images { pixels: vec![4, 5, 6, 7], labels: vec![1], ..images });
        assert_eq!((images.part(2, 1).len(), images.part(9, 1).len()), (0, 0));
        assert_eq!(images.pixels_of(&[1, 0, 1, 2, -1]), [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
        let (mut first, mut all) = (images.clone(), images.clone());
        first.truncate(1);
        all.truncate(usize::MAX);
        assert_eq!((first.pixels, first.labels, all), (vec![0, 1, 2, 3], vec![1], images));
    }
}
