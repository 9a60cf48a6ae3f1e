//! What plugins are rehearsed with: made-up images, and fresh copies of the pipeline's parts.

use super::Finding;
use super::stand_in::stand_in;
use crate::pipeline::assemble::context;
use crate::pipeline::{NetworkConfig, Pipeline};
use foil::attack::{Attack, Batch};
use foil::augment::Augment;
use foil::engine::{Averaged, Averages, Capture, Further, Learner, Network, Networks, Precision};
use foil::loss::Loss;
use foil::nn::{Mode, Noise};
use foil::optim::Optimizer;
use foil::registry::{Build, Component, DataFacts, Kind as Registered};
use foil::scheduler::Clock;
use foil::update::Update;
use foil_config::Problem;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// A plugin and its name.
type Named<T> = (Box<T>, &'static str);

/// A pipeline as it is rehearsed: in fp32 on the CPU.
pub(super) struct Scene {
    pub pipeline: Pipeline,
    pub data: DataFacts,
    pub clock: Clock,
}

impl Scene {
    pub fn new(pipeline: &Pipeline, data: DataFacts) -> Self {
        let mut pipeline = pipeline.clone();
        pipeline.train.precision = Precision::Fp32;
        pipeline.train.capture = Capture::Off;
        let images = u64::try_from(data.train).unwrap_or(1).saturating_sub(pipeline.images.validation);
        let clock = Clock::new(pipeline.train.epochs, pipeline.train.steps(images), Device::Cpu);
        Self { pipeline, data, clock }
    }

    /// What a rehearsal of `parts` depends on, as text. Neither the seed nor the length of the
    /// training is: what it finds with one it finds with another.
    pub fn key(&self, parts: &[&dyn erased_serde::Serialize]) -> String {
        let text = |part: &&dyn erased_serde::Serialize| serde_yaml::to_string(part).unwrap_or_default();
        let parts: String = parts.iter().map(text).collect();
        let DataFacts { channels, height, width, classes, .. } = self.data;
        format!("{channels} {height} {width} {classes} {}\n{parts}", self.pipeline.folder.display())
    }

    /// Made-up images: two, or three where two could be taken for the classes.
    pub fn images(&self) -> Images {
        let n = if self.data.classes == 2 { 3 } else { 2 };
        let noise = Noise::seeded(&[self.pipeline.seed, foil::nn::name_key("rehearsal")], n, Device::Cpu);
        let x = noise.uniform("x", &[self.data.channels, self.data.height, self.data.width], Kind::Float);
        let count = Tensor::arange(n, (Kind::Int64, Device::Cpu));
        Images { x, y: count.remainder(self.data.classes), index: count.remainder(self.data.train.max(1)), noise }
    }

    fn build<T>(&self, work: impl FnOnce(&Build) -> Option<T>) -> Result<T, Finding> {
        let problems = RefCell::<Vec<Problem>>::default();
        let built = work(&context(&self.pipeline, self.data, Kind::Float, Device::Cpu, &problems));
        match (built, problems.into_inner().into_iter().next()) {
            (Some(built), None) => Ok(built),
            (_, Some(problem)) => Err(Finding::new(
                format!("cannot be built to be run: {}", problem.message),
                problem.help.unwrap_or_default(),
            )),
            (None, None) => Err(Finding::new("cannot be built to be run", "")),
        }
    }

    fn component<T: Registered + ?Sized>(&self, part: &Component<T>) -> Result<Box<T>, Finding> {
        self.build(|cx| cx.component(T::NAME, part))
    }

    pub fn attack(&self, part: &Component<dyn Attack>) -> Result<Box<dyn Attack>, Finding> {
        self.component(part)
    }

    pub fn augment(&self, part: &Component<dyn Augment>) -> Result<Box<dyn Augment>, Finding> {
        self.component(part)
    }

    /// Whether the images of a batch are mixed, and labels with them.
    pub fn mixes(&self) -> Result<bool, Finding> {
        let mixes = |part| Ok(self.augment(part)?.mixes());
        Ok(self.pipeline.augment.iter().map(mixes).collect::<Result<Vec<_>, Finding>>()?.contains(&true))
    }

    pub fn loss(&self) -> Result<Box<dyn Loss>, Finding> {
        self.component(&self.pipeline.loss)
    }

    pub fn optimizer(&self) -> Result<Box<dyn Optimizer>, Finding> {
        self.component(&self.pipeline.optimizer)
    }

    /// How the weights are changed, with its name, if it is not the optimiser alone.
    pub fn update(&self) -> Result<Option<Named<dyn Update>>, Finding> {
        self.pipeline.update.as_ref().map(|part| Ok((self.component(part)?, part.name()))).transpose()
    }

    /// Small networks that follow one like them.
    pub fn averages(&self) -> Result<Averages, Finding> {
        let build = |part| Ok(Averaged::new(stand_in(&self.data).0, self.component(part)?));
        let further = self.pipeline.averages.iter().map(|(name, part)| Ok((name.clone(), build(part)?)));
        let evaluated = self.pipeline.average.as_ref().map(build).transpose()?;
        Ok(Averages { evaluated, further: further.collect::<Result<_, Finding>>()? })
    }

    /// A small network in the place of each one besides the model.
    pub fn networks(&self) -> Result<Networks, Finding> {
        let build = |(name, config): (&String, &NetworkConfig)| {
            let network = stand_in(&self.data).0;
            let further = match &config.optimizer {
                None => Further::Frozen(network),
                Some(optimizer) => Further::Learning(Learner::new(network, self.component(optimizer)?)),
            };
            Ok((name.clone(), further))
        };
        Ok(Networks::new(self.pipeline.networks.iter().map(build).collect::<Result<_, Finding>>()?))
    }

    /// The model with its initial parameters.
    pub fn model(&self) -> Result<Network, Finding> {
        let network = self.build(|cx| cx.network("model", &self.pipeline.model, self.data.channels))?;
        let moments = crate::data::moments(&self.pipeline, true);
        let (mean, std) = moments.map_err(|error| Finding::new(error.message().to_string(), ""))?;
        Ok(network.normalized(&self.pipeline.normalize, &mean, &std))
    }
}

/// Images as a step gets them.
pub(super) struct Images {
    pub x: Tensor,
    pub y: Tensor,
    pub index: Tensor,
    pub noise: Noise,
}

impl Images {
    /// The same images; the first one's label is what `network` says, as attacks skip others.
    pub fn known_to(self, network: &Network) -> Self {
        let said = network.frozen(&self.x, Mode::Eval, Some(&self.noise)).argmax(-1, false);
        let mut y = self.y.copy();
        y.narrow(0, 0, 1).copy_(&said.narrow(0, 0, 1));
        y = y.detach();
        Self { y, ..self }
    }

    pub fn batch<'a>(&self, clock: &'a Clock) -> Batch<'a> {
        let copy = |t: &Tensor| t.copy();
        let noise = self.noise.rows(&Tensor::arange(self.y.size()[0], (Kind::Int64, Device::Cpu)));
        Batch { x: copy(&self.x), y: copy(&self.y), index: copy(&self.index), noise, clock, clean_logits: None }
    }
}
