//! The demo's picture: the same digits, attacked for each network, with what it reads.

use crate::report::gallery::{attacked, mask, natural};
use crate::report::picture::Grid;
use foil::attack::Batch;
use foil::data::Resident;
use foil::nn::{Noise, key_of};
use foil::scheduler::Clock;
use foil::{Error, Result};
use foil_runs::pipeline::{assemble, look};
use foil_runs::train::Folder;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

/// Digits in the picture.
const SHOWN: i64 = 10;
/// The attack of the picture, by its name in the pipelines.
const ATTACK: &str = "pgd20";
/// A mask whose values lie within less than this is not shown: it is the same everywhere.
const SPREAD: f64 = 0.25;

/// The first test digits, and below them a row for each of `runs`: what the attack makes of them
/// for its network. A mask that shows something has a row, too.
pub(super) fn draw(runs: &[PathBuf]) -> Result<Grid> {
    let mut grid = Grid::default();
    for run in runs {
        let folder = Folder::open(run)?;
        let loaded = look(&folder.resolved(), &[])?;
        let pipeline = &loaded.pipeline;
        let mut parts = loaded.built(assemble(pipeline, Kind::Float, Device::Cpu, false))?;
        let network = parts.step.model.network();
        network.read(&folder.best())?;
        let data = foil_runs::data::read(pipeline)?;
        let digits = Resident::new(&data.test, Device::Cpu)?.first(SHOWN);
        let (x, y, index) = digits.slice(0, digits.len(), Kind::Float);
        let noise = Noise::new(&Tensor::from(key_of(&[pipeline.seed])), &index);
        let epochs = pipeline.train.epochs;
        let clock = Clock::new(epochs, 1, Device::Cpu);
        clock.set(epochs, 0);
        let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
        let names = &data.facts.class_names;
        if grid.rows.is_empty() {
            grid.rows.push(natural(&batch, names)?);
        }
        let attack =
            parts.attacks.get_mut(ATTACK).ok_or_else(|| Error::new(format!("there is no attack `{ATTACK}`")))?;
        let label = pipeline.name.as_deref().unwrap_or_default();
        grid.rows.push(attacked(label, network, attack.as_mut(), &batch, names)?);
        if let Some(learner) = parts.step.attack.learner() {
            learner.network().read(&folder.best_mask())?;
            grid.rows.extend(mask("its mask", network, parts.step.attack.as_mut(), &batch, SPREAD)?);
        }
    }
    Ok(grid)
}
