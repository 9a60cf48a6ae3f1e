//! Labels that a network gives to images that have none.
//!
//! They are computed once and kept: for all runs in the cache folder, named by the content of the
//! images and of the network, and for a run in its folder. A run that is resumed uses those that it
//! began with, and no others.

use crate::pipeline::{Pipeline, labelling_network};
use crate::train::Folder;
use foil::data::{Dataset, Images, Reading, Resident};
use foil::distributed::{World, share};
use foil::engine::Network;
use foil::hash::hash;
use foil::nn::Mode;
use foil::{AtPath, Error, Result, tensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

const LABELS: &str = "labels";

/// The extra images of a run, with the labels that it trains on.
#[derive(Debug)]
pub struct Labelled {
    /// The images.
    pub images: Images,
    /// What a network labelled them, `[M]`; `None` where they have labels of their own.
    labels: Option<Tensor>,
}

impl Labelled {
    /// The SHA-256 of the labels that a network gave.
    pub fn content(&self) -> Option<String> {
        self.labels.as_ref().map(|_| content(&self.images))
    }

    /// Keeps the labels in a run's folder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, folder: &Folder) -> Result<()> {
        match &self.labels {
            Some(labels) => write(&folder.extra_labels(), labels),
            None => Ok(()),
        }
    }
}

/// The extra images of `pipeline` with their labels: their own, or those of the network that
/// `extra.labels` names. `run` is the folder of a run that is resumed.
///
/// # Errors
/// When the network cannot be read, or the labels of the run are not there or are others.
pub fn labelled(
    pipeline: &Pipeline,
    data: Dataset,
    run: Option<&Folder>,
    device: Device,
    world: World,
) -> Result<Labelled> {
    let content_of_set = data.content();
    let mut images = data.train;
    let Some(path) = pipeline.labeller() else { return Ok(Labelled { images, labels: None }) };
    let kept = match world.is_first() {
        true => kept(pipeline, &path, &content_of_set, images.len(), run)?,
        false => None,
    };
    let is_kept = !world.first_says(if kept.is_some() { "kept" } else { "" })?.is_empty();
    let labels = match (is_kept, kept) {
        (true, Some(labels)) => labels,
        (true, None) => Tensor::zeros([images.len() as i64], (Kind::Int64, Device::Cpu)),
        (false, _) => computed(pipeline, &path, &images, device, world)?,
    };
    let labels = if world.is_joined() {
        // One rank has those that were kept, or each has those of its share; zeros elsewhere.
        let sum = labels.to_device(device);
        world.sum(&sum)?;
        sum.to_device(Device::Cpu)
    } else {
        labels
    };
    images.labels = Vec::<i64>::try_from(&labels)?.into_iter().map(|label| label as u16).collect();
    let found = Labelled { images, labels: Some(labels) };
    let expected = pipeline.extra.as_ref().and_then(|extra| extra.labels_content.as_ref());
    if expected.is_some() && expected != found.content().as_ref() {
        let message = "the labels of the extra images are not those that the run began with (`extra.labels_content`)";
        return Err(Error::new(message).help(format!("restore {} in the run's folder", Folder::EXTRA_LABELS)));
    }
    if !is_kept && world.is_first() {
        let place = place(&path, &content_of_set, found.images.len())?;
        let kept = std::fs::create_dir_all(place.parent().unwrap_or(&place)).at("making", &place);
        let labels = found.labels.as_ref().map_or(Ok(()), |labels| kept.and_then(|()| write(&place, labels)));
        if let Err(error) = labels {
            tracing::warn!("the labels cannot be kept for other runs: {error}");
        }
    }
    Ok(found)
}

/// The labels of the run, or those of an earlier one with the same network and images.
fn kept(pipeline: &Pipeline, path: &Path, content: &str, n: usize, run: Option<&Folder>) -> Result<Option<Tensor>> {
    let begun = pipeline.extra.as_ref().is_some_and(|extra| extra.labels_content.is_some());
    if let Some(own) = run.map(Folder::extra_labels).filter(|own| begun && own.exists()) {
        return read(&own, n).map(Some);
    }
    let place = place(path, content, n)?;
    // If the cache is damaged, the labels are computed again.
    Ok(place.exists().then(|| read(&place, n).ok()).flatten())
}

/// Where the labels are kept for all runs.
fn place(network: &Path, content: &str, n: usize) -> Result<PathBuf> {
    let key = hash(format!("{}\n{content}\n{n}\n", tensors::digest(network)?).as_bytes());
    Ok(foil::data::cache_folder("labels").join(format!("{key}.safetensors")))
}

fn write(path: &Path, labels: &Tensor) -> Result<()> {
    tensors::write(path, &[(LABELS.to_string(), labels.to_kind(Kind::Int))], HashMap::new())
}

/// The labels `[n]` in a file.
fn read(path: &Path, n: usize) -> Result<Tensor> {
    let (mut named, _) = tensors::read(path)?;
    let labels = named.remove(LABELS).filter(|labels| labels.size() == [n as i64] && labels.kind() == Kind::Int);
    let labels = labels.ok_or_else(|| Error::new(format!("{} does not hold {n} labels", path.display())))?;
    Ok(labels.to_kind(Kind::Int64))
}

fn content(images: &Images) -> String {
    hash(&images.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>())
}

/// The most likely class of each image, `[M]` on the host; with several ranks, of this one's share,
/// and 0 elsewhere.
fn computed(pipeline: &Pipeline, path: &Path, images: &Images, device: Device, world: World) -> Result<Tensor> {
    let network = labelling_network(pipeline, path, device)?;
    let n = images.len() as i64;
    let share = share(n, world.rank(), world.size());
    let labels = Tensor::zeros([n], (Kind::Int64, Device::Cpu));
    let size = pipeline.train.eval_batch_size as i64;
    crate::data::watched("the labels of the extra images", |progress: &Reading| {
        progress.expect(share.mine as u64);
        let mut first = share.start;
        while first < share.start + share.mine {
            let count = size.min(share.start + share.mine - first);
            let batch = images.part(first as usize, count as usize).map_err(Error::of)?;
            let batch = Resident::new(&batch, device)?;
            labels.narrow(0, first, count).copy_(&classes(&network, &batch));
            progress.advance(count as u64);
            first += count;
        }
        Ok(())
    })?;
    Ok(labels)
}

fn classes(network: &Network, images: &Resident) -> Tensor {
    let _evaluating = network.evaluating();
    let (x, ..) = images.slice(0, images.len(), Kind::Float);
    tch::no_grad(|| network.frozen(&x, Mode::Eval, None)).argmax(-1, false).to_device(Device::Cpu)
}
