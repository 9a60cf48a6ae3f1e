//! The augmentations of a run, in order.

use super::Shift;
use crate::augment::{Augment, Mixed};
use crate::loss::terms;
use crate::nn::Noise;
use crate::{Result, guard};
use tch::Tensor;

/// A list of augmentations: those of single images, then those that mix them.
#[derive(Default)]
pub struct Augmentations {
    /// What moves pixels at the beginning, all in one.
    shift: Option<Shift>,
    single: Vec<Part>,
    mixing: Vec<Part>,
    /// How often a batch is mixed.
    copies: i64,
    classes: i64,
}

struct Part {
    augment: Box<dyn Augment>,
    name: &'static str,
    /// How many of this name come before it in the list.
    before: u64,
}

/// How a batch is augmented.
#[derive(Debug, Clone, Copy)]
pub struct Augmenting<'a> {
    /// By what.
    pub list: &'a Augmentations,
    /// The epoch's key of the random numbers, `[]` int64.
    pub key: &'a Tensor,
    /// The part of the batch that is kept after its images were mixed: the first one's place, and
    /// how many. All if `None`.
    pub part: Option<(i64, i64)>,
}

impl std::fmt::Debug for Augmentations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.single.iter().chain(&self.mixing).map(|part| part.name);
        write!(f, "Augmentations {:?} {:?}", self.shift, names.collect::<Vec<_>>())
    }
}

impl Augmentations {
    /// `parts` with their names in configs, for images of this many `classes`.
    ///
    /// # Errors
    /// What a part panics with.
    pub fn new(parts: Vec<(Box<dyn Augment>, &'static str)>, classes: i64) -> Result<Self> {
        let mut all = Self { classes, copies: 1, ..Self::default() };
        let mut names: Vec<&'static str> = Vec::new();
        for (augment, name) in parts {
            let before = names.iter().filter(|other| **other == name).count() as u64;
            names.push(name);
            let (mixes, shift, copies) = guard(|| Ok((augment.mixes(), augment.shift(), augment.copies())))?;
            if mixes {
                all.copies *= copies.max(1);
            }
            // A second one of a name draws numbers of its own, and is not part of the first.
            let joined = match (shift.filter(|_| before == 0 && all.single.is_empty()), all.shift) {
                (Some(shift), None) => Some(shift),
                (Some(shift), Some(begun)) => begun.then(shift),
                (None, _) => None,
            };
            let part = Part { augment, name, before };
            match joined {
                Some(shift) => all.shift = Some(shift),
                None if mixes => all.mixing.push(part),
                None => all.single.push(part),
            }
        }
        Ok(all)
    }

    /// A shift alone.
    #[cfg(test)]
    pub(crate) fn of_shift(shift: Shift) -> Self {
        Self { shift: Some(shift), ..Self::default() }
    }

    /// The name of the first one that mixes images: then a whole batch is needed, and labels become
    /// `[N, K]`.
    pub fn mixing(&self) -> Option<&'static str> {
        self.mixing.first().map(|part| part.name)
    }

    /// How many images a step trains on for each image of a batch.
    pub fn copies(&self) -> i64 {
        if self.mixing.is_empty() { 1 } else { self.copies }
    }

    /// The name of one that cannot be captured in a CUDA graph.
    pub fn against_capture(&self) -> Option<&'static str> {
        let mut parts = self.single.iter().chain(&self.mixing);
        parts.find(|part| !part.augment.capturable()).map(|part| part.name)
    }

    /// All that is done to single images, if it is no more than moving pixels.
    pub(super) fn only_shift(&self) -> Option<Option<Shift>> {
        self.single.is_empty().then_some(self.shift)
    }

    /// Images `[N, C, H, W]` as bytes, augmented one by one.
    pub(super) fn images(&self, images: Tensor, noise: &Noise) -> Result<Tensor> {
        let mut images = match self.shift {
            Some(shift) => shift.apply(&images, noise),
            None => images,
        };
        for part in &self.single {
            images = part.run(|augment| augment.images(&images, &part.noise(noise)))?;
        }
        Ok(images)
    }

    /// Images `[N, C, H, W]` in [0, 1] and labels `[N]`, mixed: then labels are `[N, K]`. `noise`
    /// is that of one of the [`Augmentations::copies`].
    pub(super) fn mixed(&self, x: &Tensor, y: &Tensor, noise: &Noise) -> Result<[Tensor; 2]> {
        if self.mixing.is_empty() {
            return Ok([x, y].map(Tensor::shallow_clone));
        }
        let mut batch = Mixed { x: x.shallow_clone(), y: terms::shares(y, self.classes, x.kind()) };
        for part in &self.mixing {
            batch = part.run(|augment| augment.mix(batch, &part.noise(noise)))?;
        }
        Ok([batch.x, batch.y])
    }
}

impl Part {
    fn noise(&self, noise: &Noise) -> Noise {
        if self.before == 0 { noise.all() } else { noise.other(self.before) }
    }

    fn run<T>(&self, work: impl FnOnce(&dyn Augment) -> Result<T>) -> Result<T> {
        guard(|| work(self.augment.as_ref()))
            .map_err(|error| error.placed().context(format_args!("the augmentation `{}`", self.name)))
    }
}
