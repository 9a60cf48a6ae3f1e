//! AVG: every image is trained on as each of several attacks leaves it.

use crate::chain::{Chain, several};
use foil::prelude::*;

/// What the attack calls the images of its second and third attack; those of the first are the
/// attacked ones.
const FURTHER: [&str; 2] = ["second", "third"];

/// AVG's attacks (Tramèr & Boneh 2019): each attack runs on every image, and the loss `each_of` is
/// the mean over all of their images.
///
/// `loss: { type: each_of, attacks: 3 }` goes with three attacks. Unlike `max_of` no image is left
/// out, and a step costs a pass for each attack. The first attack's images are those that are
/// logged.
#[settings]
pub struct EachOf {
    /// The attacks, three at most. The authors' order is L1, L2, Linf.
    pub attacks: Vec<Component<dyn Attack>>,
}

struct EachOfAttack(Chain);

impl Config<dyn Attack> for EachOf {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        if self.attacks.len() > FURTHER.len() + 1 {
            cx.problem("attacks", format!("are {}; it takes three at most", self.attacks.len()), "leave some out");
        }
        Ok(Box::new(EachOfAttack(Chain(several(cx, &self.attacks)))))
    }
}

impl Attack for EachOfAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let found = self.0.0.iter_mut().map(|(_, attack)| Ok(attack.perturb(target, batch)?.x));
        let mut found = found.collect::<Result<Vec<Tensor>>>()?.into_iter();
        let first = found.next().ok_or_else(|| Error::new("it has no attacks"))?;
        let further = FURTHER.into_iter().zip(found);
        Ok(further.fold(Adversarial::new(first), |all, (name, x)| all.with_images(name, x)))
    }

    fn mode(&self) -> Mode {
        self.0.mode()
    }

    fn images(&self) -> Vec<&'static str> {
        FURTHER.into_iter().take(self.0.0.len().saturating_sub(1)).collect()
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(&self.0)
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(&mut self.0)
    }

    fn soft_labels(&self) -> bool {
        self.0.take_soft_labels()
    }
}

/// AVG (Tramèr & Boneh 2019, section 2). L = mean over attacks of CE(f(x'), y), the attacks being
/// those of the attack `each_of`.
///
/// The images pass in the order of the attacks. The code of Maini et al. takes a step on each
/// attack's images instead, and attacks again between the steps.
#[settings]
pub struct MeanOfEach {
    /// How many attacks there are.
    #[set(default = 3, range = 1..=3)]
    pub attacks: usize,
    /// Share of the label's weight that is spread evenly over all classes.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
}

impl Loss for MeanOfEach {
    fn passes(&self) -> Vec<Forward> {
        let further = FURTHER.into_iter().map(Forward::Images);
        std::iter::once(Forward::Adversarial).chain(further).take(self.attacks).collect()
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let of = |pass: Forward| -> Result<Tensor> {
            let loss = terms::smoothed_cross_entropy(input.logits(pass)?, input.y(), self.label_smoothing);
            Ok(loss.mean(None::<Kind>))
        };
        let losses = self.passes().into_iter().map(of).collect::<Result<Vec<Tensor>>>()?;
        let total = Tensor::stack(&losses, 0).mean(None::<Kind>);
        let parts = ["first", FURTHER[0], FURTHER[1]].into_iter().zip(&losses);
        Ok(parts.fold(LossOutput::new(total), |output, (name, loss)| output.part(name, loss)))
    }
}

register!(
    dyn Attack,
    "each_of",
    EachOf,
    "{ attacks: [{ type: pgd, norm: L2, eps: 0.5, alpha: 0.05 }, { type: pgd, eps: 8/255, alpha: 2/255 }] }"
);
register!(dyn Loss, "each_of", MeanOfEach, "{ attacks: 2 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::loss::LossInput;
    use foil::testing::{assert_close, attack_from_yaml, images, loss_from_yaml, network};
    use std::collections::BTreeMap;

    // By hand: the cross-entropies of label 0 are ln 4, ln 2 and ln 4 - ln 3.
    #[test]
    fn three_attacks_by_hand() {
        let logits = [0.25f64, 0.5, 0.75].map(|p| Tensor::from_slice2(&[[p.ln(), (1.0 - p).ln()]]));
        let (y, side, clock) = (Tensor::from_slice(&[0i64]), BTreeMap::new(), Clock::new(1, 1, tch::Device::Cpu));
        let total = |attacks: usize| {
            let loss = loss_from_yaml(&format!("{{ type: each_of, attacks: {attacks} }}"));
            let passes = loss.passes().into_iter().zip(logits.iter().map(Tensor::shallow_clone));
            let output = loss.forward(&LossInput::new(passes.collect(), &y, &side, &clock)).unwrap();
            assert_eq!(output.parts.len(), attacks);
            output.total
        };
        let (two, three) = (2f64.ln(), 3f64.ln());
        assert_close(&total(1), &Tensor::from(2.0 * two), 1e-12);
        assert_close(&total(2), &Tensor::from(1.5 * two), 1e-12);
        assert_close(&total(3), &Tensor::from((5.0 * two - three) / 3.0), 1e-12);
    }

    #[test]
    fn each_attacks_images_are_there() {
        let (network, images) = (network(Kind::Double), images(6, 3, Kind::Double));
        let batch = images.batch(1);
        let target = Target::new(&network, &batch.noise);
        let alone = ["{ type: pgd, norm: L2, eps: 0.5, alpha: 0.1 }", "{ type: pgd, eps: 0.1, alpha: 0.02 }"];
        let both = attack_from_yaml(&format!("{{ type: each_of, attacks: [{}] }}", alone.join(", ")), Kind::Double)
            .perturb(&target, &batch)
            .unwrap();
        let [first, second] =
            alone.map(|yaml| attack_from_yaml(yaml, Kind::Double).perturb(&target, &batch).unwrap().x);
        assert_eq!((&both.x, &both.images["second"]), (&first, &second));
        assert!(first != second);
    }

    #[test]
    fn a_fourth_attack_is_refused() {
        let yaml = format!("{{ type: each_of, attacks: [{}] }}", ["{ type: fgsm, eps: 0.1 }"; 4].join(", "));
        let refused = std::panic::catch_unwind(|| attack_from_yaml(&yaml, Kind::Float)).err().unwrap();
        let message = refused.downcast_ref::<String>().unwrap();
        assert!(message.contains("are 4; it takes three at most"), "{message}");
    }
}
