//! A split of a data set on the device.

use super::gather::gather;
use super::{Augmenting, Shift};
use crate::nn::Noise;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Images as bytes `[n, C, H, W]` and labels `[n]` on the run's device.
#[derive(Debug)]
pub struct Resident {
    images: Tensor,
    labels: Tensor,
    index: Tensor,
}

/// Images of another set for one batch, on the run's device.
#[derive(Debug)]
pub struct Extra {
    /// As bytes, `[M, C, H, W]`.
    pub images: Tensor,
    /// `[M]`.
    pub labels: Tensor,
    /// What their random numbers are keyed by, `[M]`.
    pub index: Tensor,
    /// For each place in the batch its place among the base images followed by these, `[N]`.
    pub order: Tensor,
}

impl Resident {
    /// Copies `images` to the device, a part after the other: those in a file are not in the
    /// host's memory besides.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new(images: &foil_data::Images, device: Device) -> Result<Self> {
        let shape = images.shape().map(|size| size as i64);
        let (whole, mut first) = (Tensor::empty(shape, (Kind::Uint8, device)), 0);
        let copied = images.pixels.pieces(images.size(), &mut |piece| {
            let n = (piece.len() / images.size().max(1)) as i64;
            let part = Tensor::from_data_size(piece, &[n, shape[1], shape[2], shape[3]], Kind::Uint8);
            whole.narrow(0, first, n).copy_(&part);
            first += n;
        });
        copied.map_err(Error::of)?;
        let labels = Tensor::from_slice(&images.labels.iter().copied().map(i64::from).collect::<Vec<_>>());
        let index = Tensor::arange(shape[0], (Kind::Int64, device));
        Ok(Self { images: whole, labels: labels.to_device(device), index })
    }

    /// The images at `rows` of this split, which keep the indices they have in it.
    #[must_use]
    pub fn subset(&self, rows: &Tensor) -> Self {
        let pick = |t: &Tensor| t.index_select(0, rows);
        Self { images: pick(&self.images), labels: pick(&self.labels), index: pick(&self.index) }
    }

    /// The first `n` images, or all if there are fewer.
    #[must_use]
    pub fn first(&self, n: i64) -> Self {
        if n >= self.len() {
            let same = Tensor::shallow_clone;
            return Self { images: same(&self.images), labels: same(&self.labels), index: same(&self.index) };
        }
        self.subset(&Tensor::arange(n.min(self.len()), (Kind::Int64, self.images.device())))
    }

    /// Splits off every `len / n`-th image, which keeps the classes mixed: (the rest, the `n`
    /// images).
    #[must_use]
    pub fn hold_out(&self, n: i64) -> (Self, Self) {
        let every = (self.len() / n.max(1)).max(1);
        let all = Tensor::arange(self.len(), (Kind::Int64, self.images.device()));
        let held = all.remainder(every).eq(0).logical_and(&all.lt(n * every));
        (self.subset(&all.masked_select(&held.logical_not())), self.subset(&all.masked_select(&held)))
    }

    /// The images' indices in the data set, on the host.
    pub fn index(&self) -> Vec<i64> {
        host(&self.index)
    }

    /// Their labels, on the host.
    pub fn labels(&self) -> Vec<i64> {
        host(&self.labels)
    }

    /// Number of images.
    pub fn len(&self) -> i64 {
        self.labels.size()[0]
    }

    /// Of each image, `[C, H, W]`.
    pub fn shape(&self) -> [i64; 3] {
        let size = self.images.size();
        [size[1], size[2], size[3]]
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The indices in the data set of `rows` `[N]`.
    pub fn indices(&self, rows: &Tensor) -> Tensor {
        self.index.index_select(0, rows)
    }

    /// Images `[N, C, H, W]` in [0, 1], labels `[N]` (`[N, K]` if images are mixed) and indices
    /// `[N]` of `rows` `[N]`, augmented.
    ///
    /// # Errors
    /// Those of an augmentation.
    pub fn batch(&self, rows: &Tensor, kind: Kind, augment: Option<Augmenting>) -> Result<[Tensor; 3]> {
        let [labels, index] = [&self.labels, &self.index].map(|of| of.index_select(0, rows));
        finished(&self.images, rows, [labels, index], kind, augment)
    }

    /// As [`Resident::batch`] for the images at `rows` and those of another set, put together.
    ///
    /// # Errors
    /// As [`Resident::batch`].
    pub fn mixed(&self, rows: &Tensor, extra: &Extra, kind: Kind, augment: Option<Augmenting>) -> Result<[Tensor; 3]> {
        let both = |own: &Tensor, more: &Tensor| Tensor::cat(&[&own.index_select(0, rows), more], 0);
        let ordered = |own: &Tensor, more: &Tensor| both(own, more).index_select(0, &extra.order);
        let labels = ordered(&self.labels, &extra.labels);
        let index = ordered(&self.index, &extra.index);
        finished(&both(&self.images, &extra.images), &extra.order, [labels, index], kind, augment)
    }

    /// As [`Resident::batch`] for the images from `start`, at most `count` of them, in order.
    pub fn slice(&self, start: i64, count: i64, kind: Kind) -> (Tensor, Tensor, Tensor) {
        let count = count.min(self.len() - start);
        let piece = |t: &Tensor| t.narrow(0, start, count);
        (scaled(&piece(&self.images), kind), piece(&self.labels), piece(&self.index))
    }
}

/// The batch of the images at `rows` of `bytes`, which have these labels and indices.
fn finished(
    bytes: &Tensor,
    rows: &Tensor,
    [labels, index]: [Tensor; 2],
    kind: Kind,
    augment: Option<Augmenting>,
) -> Result<[Tensor; 3]> {
    let Some(Augmenting { list, key, part }) = augment else {
        return Ok([pictures(bytes, rows, kind, None), labels, index]);
    };
    let noise = Noise::new(key, &index);
    let x = match list.only_shift() {
        Some(shift) => pictures(bytes, rows, kind, shift.map(|shift| (shift, key, &index))),
        None => scaled(&list.images(bytes.index_select(0, rows), &noise)?, kind),
    };
    let kept = |whole: Tensor| match part {
        Some((first, count)) => whole.narrow(0, first, count),
        None => whole,
    };
    let copy = |number: i64| -> Result<[Tensor; 3]> {
        // What is random about an image is another in each copy of it.
        let index = if number == 0 { index.shallow_clone() } else { &index + number * COPY };
        let noise = if number == 0 { noise.all() } else { Noise::new(key, &index) };
        let [x, labels] = list.mixed(&x, &labels, &noise)?;
        Ok([x, labels, index].map(kept))
    };
    let copies = (0..list.copies()).map(copy).collect::<Result<Vec<_>>>()?;
    match copies.as_slice() {
        [one] => Ok(one.each_ref().map(Tensor::shallow_clone)),
        all => Ok([0, 1, 2].map(|at| Tensor::cat(&all.iter().map(|copy| &copy[at]).collect::<Vec<_>>(), 0))),
    }
}

/// Added to an image's index in its next copy. Random numbers are keyed by the last 32 bits of an
/// index, which have room for 64 copies of 67 million images.
const COPY: i64 = 1 << 26;

/// The images at `rows` of `bytes`, `[N, C, H, W]` in [0, 1], shifted by the draws of a key and the
/// images' indices.
fn pictures(bytes: &Tensor, rows: &Tensor, kind: Kind, shift: Option<(Shift, &Tensor, &Tensor)>) -> Tensor {
    if let Some(images) = gather(bytes, rows, shift) {
        return images.to_kind(kind);
    }
    let bytes = bytes.index_select(0, rows);
    let bytes = match shift {
        Some((shift, key, index)) => shift.apply(&bytes, &Noise::new(key, index)),
        None => bytes,
    };
    scaled(&bytes, kind)
}

/// Bytes to numbers in [0, 1], channels-last as the networks' weights are, so that no layer copies
/// them into its layout.
fn scaled(bytes: &Tensor, kind: Kind) -> Tensor {
    // Bytes are the cheapest to move. `[N, C, H, W]` always has four dimensions.
    crate::shim::channels_last(bytes).unwrap_or_else(|_| bytes.shallow_clone()).to_kind(kind) / 255.0
}

fn host(t: &Tensor) -> Vec<i64> {
    let mut values = vec![0; t.numel()];
    t.to_device(Device::Cpu).contiguous().copy_data(&mut values, t.numel());
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Augment, Mixed};
    use crate::data::Augmentations;

    /// Adds a number of each image's own to it, in a number of copies.
    struct Moved(i64);

    impl Augment for Moved {
        fn mixes(&self) -> bool {
            true
        }

        fn copies(&self) -> i64 {
            self.0
        }

        fn mix(&self, batch: Mixed, noise: &Noise) -> Result<Mixed> {
            Ok(Mixed { x: &batch.x + noise.uniform("moved", &[1, 1, 1], Kind::Float), y: batch.y })
        }
    }

    #[test]
    fn a_batch_that_is_mixed_several_times_is_as_many_batches_in_one() {
        let images = foil_data::Images::new(vec![0; 20], (0..5).collect(), [1, 2, 2]);
        let (data, cpu) = (Resident::new(&images, Device::Cpu).unwrap(), Device::Cpu);
        let (key, rows) = (Tensor::from(7i64), Tensor::from_slice(&[4i64, 0, 2]));
        let batch = |copies, part| {
            let list = Augmentations::new(vec![(Box::new(Moved(copies)), "moved")], 5).unwrap();
            data.batch(&rows, Kind::Float, Some(Augmenting { list: &list, key: &key, part })).unwrap()
        };
        let ([one, labels, _], [x, y, index]) = (batch(1, None), batch(3, None));
        assert_eq!((x.size(), y.size(), index.size()), (vec![9, 1, 2, 2], vec![9, 5], vec![9]));
        assert_eq!((x.narrow(0, 0, 3), y.narrow(0, 6, 3)), (one, labels));
        // Each image gets other numbers in each copy, and its index is another.
        let own = Vec::<f32>::try_from(x.select(1, 0).select(1, 0).select(1, 0)).unwrap();
        let mut distinct = own.clone();
        distinct.sort_by(f32::total_cmp);
        distinct.dedup();
        assert_eq!(distinct.len(), 9, "{own:?}");
        assert_eq!(Vec::<i64>::try_from(index.remainder(COPY)).unwrap(), [4, 0, 2, 4, 0, 2, 4, 0, 2]);
        // A rank's part is that part of each copy.
        let [part, ..] = batch(3, Some((1, 2)));
        let kept = Tensor::from_slice(&[1i64, 2, 4, 5, 7, 8]).to_device(cpu);
        assert_eq!(part, x.index_select(0, &kept));
    }
}
