//! Training steps on random images, for `foil bench` and `foil profile`.

use foil::Result;
use foil::attack::Batch;
use foil::data::Augmentations;
use foil::distributed::{World, share};
use foil::engine::{Capture, Outcome, Repeated, choose_for, wait};
use foil::nn::{Noise, Work, key_of};
use foil::scheduler::Clock;
use foil_runs::pipeline::{Assembled, Loaded, Pipeline};
use foil_runs::train::Trainer;
use tch::{Device, Kind, Tensor};

/// A pipeline's step with a batch to run it on.
pub(super) struct Steps {
    pub(super) pipeline: Pipeline,
    pub(super) device: Device,
    images: i64,
    parts: Assembled,
    repeated: Repeated<Outcome>,
    batch: [Tensor; 3],
    key: Tensor,
    clock: Clock,
    taken: u64,
}

impl Steps {
    /// On a batch of random images of the pipeline's size, shared by the ranks; `capture`
    /// overrides the pipeline's.
    pub(super) fn new(loaded: &Loaded, capture: Option<Capture>, world: World) -> Result<Self> {
        let pipeline = loaded.pipeline.clone();
        let device = choose_for(&pipeline.device, world)?;
        let parts = loaded.built(Trainer::assemble(&pipeline, device, world))?;
        let against = world.against_capture(device)?.or_else(|| parts.step.against_capture());
        let capture = capture.unwrap_or(pipeline.train.capture);
        let repeated = Repeated::new(capture, device, against)?.across(world)?;
        let (n, data) = (pipeline.train.batch_size as i64, parts.data);
        let noise = Noise::seeded(&[1], n, device);
        let x = noise.uniform("x", &[data.channels, data.height, data.width], Kind::Float);
        let y = noise.below("y", data.classes, &[1]).view(-1);
        let index = Tensor::arange(n, (Kind::Int64, device));
        let key = Tensor::zeros([] as [i64; 0], (Kind::Int64, device));
        let share = share(n, world.rank(), world.size());
        world.set_share(share);
        let (start, count) = share.rows();
        let [x, y, index] = [x, y, index].map(|whole| whole.narrow(0, start, count));
        let batch = [foil::shim::channels_last(&x)?, y, index];
        Ok(Self {
            pipeline,
            device,
            images: n,
            parts,
            repeated,
            batch,
            key,
            clock: Clock::new(1, 1000, device),
            taken: 0,
        })
    }

    /// Takes a step and waits for the device.
    pub(super) fn take(&mut self) -> Result<()> {
        let _ = self.key.fill_(key_of(&[self.taken]));
        self.taken += 1;
        let Self { parts, repeated, batch, key, clock, .. } = self;
        let mut work = |inputs: &[Tensor]| {
            let [x, y, index] = [0, 1, 2].map(|i| inputs[i].shallow_clone());
            let noise = Noise::new(key, &index);
            parts.step.run(&mut Batch { x, y, index, noise, clock, clean_logits: None })
        };
        repeated.run(&[&batch[0], &batch[1], &batch[2]], &mut work)?;
        wait(self.device);
        Ok(())
    }

    /// The operations and bytes of a step on this rank's device, by taking one.
    pub(super) fn work(&mut self) -> Result<Work> {
        let asked = |parts: &Assembled| {
            let mask = parts.step.attack.learner().map_or(Work::default(), |mask| mask.network().work());
            let further = parts.step.networks.iter().map(|(_, one)| one.network().work());
            further.fold(parts.step.model.network().work().plus(mask, 1.0), |sum, work| sum.plus(work, 1.0))
        };
        let before = asked(&self.parts);
        self.take()?;
        Ok(asked(&self.parts).since(before))
    }

    /// What is done to training images.
    pub(super) fn augment(&self) -> &Augmentations {
        &self.parts.augment
    }

    /// Images in a step, of all ranks together.
    pub(super) fn images(&self) -> i64 {
        self.images
    }
}
