//! An evaluation's progress on the terminal.

use crate::report::{Progress, Unit};
use foil::distributed::World;
use foil_runs::eval::{AttackProgress, Tick};
use std::time::Instant;

/// One bar for each stage of an attack.
pub(super) struct Bars {
    name: String,
    stage: String,
    bar: Option<Progress>,
    /// When the stage began: its first batch counts too.
    since: Instant,
    begun: bool,
    world: World,
}

impl Bars {
    /// For an attack that begins now, on this many images.
    pub fn new(name: &str, images: u64, world: World) -> Self {
        let bar = world.is_first().then(|| Progress::new(name, images, Unit::IMAGES));
        Self { name: name.into(), stage: name.into(), bar, since: Instant::now(), begun: false, world }
    }

    pub fn tick(&mut self, tick: &Tick) {
        if !self.world.is_first() {
            return;
        }
        // A resumed attack has fewer images left.
        let total = tick.images + tick.left;
        let is_other = self.bar.as_ref().is_none_or(|bar| !self.begun && bar.total() != total);
        if is_other || self.stage != tick.stage {
            let label =
                if tick.stage == self.name { self.name.clone() } else { format!("{} {}", self.name, tick.stage) };
            let bar = Progress::new(label, total, Unit::IMAGES);
            self.bar = Some(bar.since(self.since));
            self.stage = tick.stage.to_string();
        }
        self.begun = true;
        if let Some(bar) = &mut self.bar {
            bar.tick(tick.images, || format!("accuracy {:.2} %", tick.progress.accuracy()));
        }
        if tick.left == 0 {
            self.since = Instant::now();
        }
    }

    /// A line for the attack stays; those of its stages go.
    pub fn done(self, progress: &AttackProgress) {
        if !self.world.is_first() {
            return;
        }
        let accuracy = format!("{:.2} %", progress.accuracy());
        match self.bar.filter(|_| self.stage == self.name) {
            Some(bar) => bar.done(&accuracy),
            None => eprintln!("{}: {accuracy}", self.name),
        }
    }
}
