//! `foil eval`'s work, with its progress on the terminal.

use super::bars::Bars;
use super::{Options, checkpoint};
use crate::commands::note;
use crate::commands::signals::AtOnce;
use foil::Result;
use foil::distributed::World;
use foil_runs::eval::{self, AttackProgress, Observer, Tick};
use foil_runs::record::EvalRecord;
use foil_runs::train::Folder;
use std::path::{Path, PathBuf};

/// Evaluates the checkpoint at `path`, and writes and returns its record.
pub(in crate::commands) fn evaluate(path: &Path, options: &Options, world: World) -> Result<(EvalRecord, PathBuf)> {
    options.out.as_deref().map_or(Ok(()), eval::check_out)?;
    let _ends = AtOnce::new(path)?;
    let (folder, weights) =
        if world.is_first() { checkpoint(path)? } else { (Folder::named(path), path.to_path_buf()) };
    let options = eval::Options {
        overrides: options.overrides.clone(),
        out: options.out.clone(),
        trust: options.trust,
        transfer: options.transfer.as_deref().map(checkpoint).transpose()?,
        save_adversarial: options.save_adversarial,
    };
    eval::evaluate(&folder, &weights, &options, world, &mut Terminal { world, bars: None })
}

/// Bars and notes on the terminal of the first rank.
struct Terminal {
    world: World,
    bars: Option<Bars>,
}

impl Observer for Terminal {
    fn attack_started(&mut self, name: &str, images: u64) {
        self.bars = Some(Bars::new(name, images, self.world));
    }

    fn batch_done(&mut self, tick: &Tick) {
        self.bars.iter_mut().for_each(|bars| bars.tick(tick));
    }

    fn attack_ended(&mut self, progress: &AttackProgress) {
        self.bars.take().into_iter().for_each(|bars| bars.done(progress));
    }

    fn part_measured(&mut self, part: &str, accuracy: f64) {
        if self.world.is_first() {
            eprintln!("{part}: {accuracy:.2}");
        }
    }

    fn note(&mut self, text: &str) {
        note(text);
    }
}
