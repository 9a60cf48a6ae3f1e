//! The threat models of a run, asked of its attacks.

use super::{Assembled, Evaluated};
use foil::attack::{Attack, Norm, Threat};
use foil::distinct;
use std::collections::BTreeMap;

/// The attacks of a final evaluation: their names in order, and all attacks.
#[derive(Clone, Copy)]
struct Attacks<'a>(&'a [String], &'a BTreeMap<String, Box<dyn Attack>>);

impl<'a> Attacks<'a> {
    fn each(self) -> impl Iterator<Item = &'a dyn Attack> {
        let Self(names, attacks) = self;
        names.iter().filter_map(|name| attacks.get(name)).map(AsRef::as_ref)
    }

    /// The largest radius.
    fn threat(self) -> Threat {
        let threats = self.each().filter_map(|attack| attack.threats().first().copied());
        threats.reduce(|a, b| if b.eps > a.eps { b } else { a }).unwrap_or(Threat { norm: Norm::Linf, eps: 0.0 })
    }
}

impl Assembled {
    /// The threat model of training: the attack's. If the radius follows a scheduler, or there is
    /// no attack, it is that of the evaluation.
    pub fn threat(&self) -> Threat {
        self.step.attack.threats().first().copied().unwrap_or_else(|| self.eval_threat())
    }

    /// The threat model of the final evaluation: the largest radius of its attacks.
    pub fn eval_threat(&self) -> Threat {
        Attacks(&self.evaluate, &self.attacks).threat()
    }
}

impl Evaluated {
    /// The threat model of the final evaluation: the largest radius of its attacks.
    pub fn threat(&self) -> Threat {
        Attacks(&self.evaluate, &self.attacks).threat()
    }

    /// Every threat model of the final evaluation's attacks, each once, in order. A radius of 0
    /// does not count.
    pub fn threats(&self) -> Vec<Threat> {
        let attacks = Attacks(&self.evaluate, &self.attacks).each();
        distinct(attacks.flat_map(Attack::threats).filter(|threat| threat.eps > 0.0))
    }
}
