//! The threat models of a run, asked of its attacks.

use super::Assembled;
use foil::attack::{Attack, Norm, Threat};
use foil::distinct;

impl Assembled {
    /// The threat model of training: the attack's. If the radius follows a scheduler, or there is
    /// no attack, it is that of the evaluation.
    pub fn threat(&self) -> Threat {
        self.step.attack.threats().first().copied().unwrap_or_else(|| self.eval_threat())
    }

    /// The threat model of the final evaluation: the largest radius of its attacks.
    pub fn eval_threat(&self) -> Threat {
        let threats = self.evaluation_attacks().filter_map(|attack| attack.threats().first().copied());
        threats.reduce(|a, b| if b.eps > a.eps { b } else { a }).unwrap_or(Threat { norm: Norm::Linf, eps: 0.0 })
    }

    /// Every threat model of the final evaluation's attacks, each once, in order. A radius of 0
    /// does not count.
    pub fn eval_threats(&self) -> Vec<Threat> {
        distinct(self.evaluation_attacks().flat_map(Attack::threats).filter(|threat| threat.eps > 0.0))
    }

    fn evaluation_attacks(&self) -> impl Iterator<Item = &dyn Attack> {
        self.evaluate.iter().filter_map(|name| self.attacks.get(name)).map(AsRef::as_ref)
    }
}
