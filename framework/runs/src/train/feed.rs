//! What the steps of an epoch read: images of the base set, and those that are mixed in.
//!
//! The base set is on the device. Extra images may be too many for it: they stay in the host's
//! memory, or in a file, and a thread collects those of the next step while this one runs.
//! Everything follows from the seed, the epoch and the step, so a resumed run finds the same
//! batches.

use crate::pipeline::Pipeline;
use foil::data::{Augmenting, Drawn, Extra, Images, Mixture, Resident};
use foil::distributed::{Share, World, share};
use foil::nn::{name_key, permutation};
use foil::{Error, Result};
use std::sync::Arc;
use std::thread::JoinHandle;
use tch::{Device, Kind, Tensor};

/// The training images of a run.
#[derive(Debug)]
pub struct Feed {
    base: Resident,
    extra: Option<Mixed>,
    size: i64,
    seed: u64,
    device: Device,
}

/// Images that are mixed in.
#[derive(Debug)]
struct Mixed {
    mixture: Mixture,
    images: Arc<Images>,
    /// The first index of their random numbers, above those of the base set.
    first: i64,
    /// What is being collected for the next step, and for which rows.
    ahead: Option<(Vec<i64>, JoinHandle<Result<Tensor>>)>,
}

/// A place in a run's training.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step of the epoch, from 0.
    pub step: u64,
    /// The order of the base set's images in the epoch.
    pub order: &'a Tensor,
}

impl Feed {
    /// The training images of a run of `pipeline`: those of `train` that it uses, and the `extra`
    /// ones that it mixes in. Those that it holds out are the second part.
    ///
    /// # Errors
    /// When a batch would have no image of one of the sets.
    pub fn of(
        pipeline: &Pipeline,
        train: &Images,
        extra: Option<Images>,
        device: Device,
    ) -> Result<(Self, Option<Resident>)> {
        let base = Resident::new(train, device)?;
        let base = base.first(pipeline.images.train_limit.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX)));
        let (base, held) = match pipeline.images.validation {
            0 => (base, None),
            held => {
                let (base, held) = base.hold_out(held as i64);
                (base, Some(held))
            }
        };
        let extra = extra.unwrap_or_else(|| Images::none([0; 3]));
        let mixture = pipeline.mixture(base.len() as u64, extra.len() as u64);
        let mixture = mixture.map_err(|problem| Error::new(problem.message).help(problem.help.unwrap_or_default()))?;
        let feed = Self { base, extra: None, size: pipeline.train.batch_size as i64, seed: pipeline.seed, device };
        let feed = match mixture {
            Some(mixture) => feed.mixing(mixture, extra, train.len() as i64),
            None => feed,
        };
        Ok((feed, held))
    }

    /// Mixes in `images`; `first` is above every index of a base image.
    fn mixing(self, mixture: Mixture, images: Images, first: i64) -> Self {
        Self { extra: Some(Mixed { mixture, images: Arc::new(images), first, ahead: None }), ..self }
    }

    /// The base set.
    pub fn base(&self) -> &Resident {
        &self.base
    }

    /// Whether images of another set are mixed in.
    pub fn mixes(&self) -> bool {
        self.extra.is_some()
    }

    /// The order of the base set's images in an epoch, `[n]`.
    pub fn order(&self, epoch: u64) -> Tensor {
        permutation(&[self.seed, name_key("shuffle"), epoch], self.base.len(), self.device)
    }

    /// The part of the batch of a step that is this rank's.
    pub fn share(&self, step: u64, world: World) -> Share {
        let left = self.base.len() - step as i64 * self.size;
        let all = if self.mixes() { self.size } else { self.size.min(left) };
        share(all, world.rank(), world.size())
    }

    /// What [`Feed::batch`] reads of the step's images in `share`, all on the device. Collecting
    /// those of the next step, if the epoch has one of `steps`, begins.
    ///
    /// # Errors
    /// When images of the host's memory cannot be collected.
    pub fn inputs(&mut self, at: At, share: Share, steps: u64) -> Result<Vec<Tensor>> {
        let key = [self.seed, at.epoch];
        let Some(extra) = &mut self.extra else {
            let (start, count) = share.rows();
            return Ok(vec![at.order.narrow(0, at.step as i64 * self.size + start, count)]);
        };
        let drawn = extra.mixture.draw(&key, at.step as i64, share);
        let pixels = extra.collected(&drawn.rows, self.device)?;
        if at.step + 1 < steps {
            let next = extra.mixture.draw(&key, at.step as i64 + 1, share);
            extra.collect(next.rows, self.device);
        }
        let (first, count) = drawn.base;
        let rows = at.order.narrow(0, first, count);
        Ok(vec![rows, sent(&pixels, self.device), sent(&extra.numbers(&drawn, self.device), self.device)])
    }

    /// Images `[N, C, H, W]` in [0, 1], their labels and indices `[N]` of what [`Feed::inputs`]
    /// gave.
    ///
    /// # Errors
    /// Those of an augmentation.
    pub fn batch(&self, inputs: &[Tensor], augment: Option<Augmenting>) -> Result<[Tensor; 3]> {
        batch(&self.base, inputs, augment)
    }
}

/// As [`Feed::batch`], given the base set.
pub(super) fn batch(base: &Resident, inputs: &[Tensor], augment: Option<Augmenting>) -> Result<[Tensor; 3]> {
    let [rows, images, numbers] = inputs else { return base.batch(&inputs[0], Kind::Float, augment) };
    let (extra, all) = (images.size()[0], rows.size()[0] + images.size()[0]);
    let part = |first, count| numbers.narrow(0, first, count);
    let extra = Extra {
        images: images.shallow_clone(),
        labels: part(0, extra),
        index: part(extra, extra),
        order: part(2 * extra, all),
    };
    base.mixed(rows, &extra, Kind::Float, augment)
}

impl Mixed {
    /// The bytes of the images at `rows`, `[M, C, H, W]`, in the host's memory.
    fn collected(&mut self, rows: &[i64], device: Device) -> Result<Tensor> {
        match self.ahead.take() {
            Some((asked, thread)) if asked == rows => {
                thread.join().map_err(|_| Error::new("the images of the next step could not be collected"))?
            }
            _ => gathered(&self.images, rows, device),
        }
    }

    fn collect(&mut self, rows: Vec<i64>, device: Device) {
        let (images, asked) = (Arc::clone(&self.images), rows.clone());
        self.ahead = Some((rows, std::thread::spawn(move || gathered(&images, &asked, device))));
    }

    /// Labels, indices and the order of the batch, one after another, in the host's memory.
    fn numbers(&self, drawn: &Drawn, device: Device) -> Tensor {
        let label = |&row: &i64| self.images.labels.get(row as usize).copied().unwrap_or_default().into();
        let labels = drawn.rows.iter().map(label);
        let numbers: Vec<i64> =
            labels.chain(drawn.numbers.iter().map(|number| self.first + number)).chain(drawn.order.clone()).collect();
        staged(Tensor::from_slice(&numbers), device)
    }
}

fn gathered(images: &Images, rows: &[i64], device: Device) -> Result<Tensor> {
    let size = [rows.len(), images.channels, images.height, images.width].map(|n| n as i64);
    let pixels = images.pixels_of(rows).map_err(Error::of)?;
    Ok(staged(Tensor::from_data_size(&pixels, &size, Kind::Uint8), device))
}

/// In memory from which a CUDA device copies without the host waiting for it.
fn staged(host: Tensor, device: Device) -> Tensor {
    if device.is_cuda() { host.pin_memory(device) } else { host }
}

/// On the device. The host does not wait until it is there; the device's next work does.
fn sent(host: &Tensor, device: Device) -> Tensor {
    if device.is_cuda() { host.to_device_(device, host.kind(), true, false) } else { host.shallow_clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grey images of 2 x 2 whose pixels and labels tell which one it is.
    fn images(n: u8, offset: u8) -> Images {
        let pixels: Vec<u8> = (0..n).flat_map(|i| [i + offset; 4]).collect();
        Images::new(pixels, (0..n).map(|i| u16::from(i + offset)).collect(), [1, 2, 2])
    }

    fn feed() -> Feed {
        let base = Resident::new(&images(10, 0), Device::Cpu).unwrap();
        let feed = Feed { base, extra: None, size: 4, seed: 7, device: Device::Cpu };
        feed.mixing(Mixture::new(10, 5, 4, 0.5).unwrap(), images(5, 100), 1000)
    }

    /// Pixels, labels and indices of a step's batch.
    fn step(feed: &mut Feed, epoch: u64, step: u64) -> Vec<(i64, i64, i64)> {
        let order = feed.order(epoch);
        let inputs = feed.inputs(At { epoch, step, order: &order }, share(4, 0, 1), 3).unwrap();
        let [x, y, index] = feed.batch(&inputs, None).unwrap();
        assert_eq!(x.size(), [4, 1, 2, 2]);
        let pixels = (x.amax([1, 2, 3], false) * 255.0).round();
        (0..4).map(|i| (pixels.double_value(&[i]) as i64, y.int64_value(&[i]), index.int64_value(&[i]))).collect()
    }

    #[test]
    fn a_batch_has_images_of_both_sets_with_their_labels() {
        let mut feed = feed();
        let mut base = Vec::new();
        for number in 0..3 {
            let batch = step(&mut feed, 0, number);
            assert!(batch.iter().all(|(pixel, label, _)| pixel == label), "{batch:?}");
            let extra: Vec<i64> = batch.iter().filter(|(pixel, ..)| *pixel >= 100).map(|(.., index)| *index).collect();
            assert_eq!(extra, [1000 + 2 * number as i64, 1001 + 2 * number as i64]);
            base.extend(batch.iter().filter(|(pixel, ..)| *pixel < 100).map(|(pixel, _, index)| {
                assert_eq!(pixel, index);
                *index
            }));
        }
        assert_eq!(base, Vec::<i64>::try_from(feed.order(0).narrow(0, 0, 6)).unwrap());
    }

    /// A run that is resumed asks for a step that was not collected ahead; one whose batches were
    /// is handed the same.
    #[test]
    fn batches_do_not_depend_on_the_steps_before() {
        let (mut whole, mut expected) = (feed(), Vec::new());
        for epoch in 0..2 {
            for number in 0..3 {
                expected.push(step(&mut whole, epoch, number));
            }
        }
        for (at, expected) in expected.iter().enumerate().rev() {
            assert_eq!(step(&mut feed(), at as u64 / 3, at as u64 % 3), *expected, "step {at}");
            assert_eq!(step(&mut whole, at as u64 / 3, at as u64 % 3), *expected, "step {at}");
        }
        assert_ne!(expected[0], expected[3]);
    }
}
