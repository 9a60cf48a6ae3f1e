//! An evaluation's progress on the terminal.

use crate::report::Progress;
use foil::distributed::World;
use foil::eval::{Standing, Tick};

/// One bar for each stage of an attack.
pub(super) struct Bars<'a> {
    name: &'a str,
    stage: String,
    bar: Option<Progress>,
    world: World,
}

impl<'a> Bars<'a> {
    pub fn new(name: &'a str, world: World) -> Self {
        Self { name, stage: String::new(), bar: None, world }
    }

    pub fn tick(&mut self, tick: &Tick) {
        if !self.world.is_first() {
            return;
        }
        if self.bar.is_none() || self.stage != tick.stage {
            let label =
                if tick.stage == self.name { self.name.into() } else { format!("{} {}", self.name, tick.stage) };
            self.bar = Some(Progress::new(label, tick.images + tick.left));
            self.stage = tick.stage.to_string();
        }
        if let Some(bar) = &mut self.bar {
            bar.tick(tick.images, || format!("accuracy {:.2} %", tick.standing.accuracy()));
        }
    }

    /// A line for the attack stays; those of its stages go.
    pub fn done(self, standing: &Standing) {
        if !self.world.is_first() {
            return;
        }
        let accuracy = format!("{:.2} %", standing.accuracy());
        match self.bar.filter(|_| self.stage == self.name) {
            Some(bar) => bar.done(&accuracy),
            None => eprintln!("{}: {accuracy}", self.name),
        }
    }
}
