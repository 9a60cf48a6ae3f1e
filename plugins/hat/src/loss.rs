//! HAT's loss.

use crate::BEYOND;
use foil::prelude::*;

/// HAT (Rade & Moosavi-Dezfooli 2022, Eq. 6). L = CE(f(x), y) + beta · KL(softmax f(x) ‖ softmax
/// f(x')) + gamma · CE(f(x + 2 (x' - x)), y_h), means over the batch; y_h is the class that a
/// frozen helper finds in x'.
///
/// The passes run in this order, as in the authors' code; gradients flow through both arguments of
/// the KL. Needs the attack `beyond` and `networks: { helper: … }`, the model trained without
/// attacks. Without extra data beta is 2.5, with it 3.5 and `label_smoothing: 0.1`; gamma is 0.5.
#[settings]
pub struct Hat {
    /// Weight of the KL.
    #[set(default = 2.5.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Weight of the images beyond.
    #[set(default = 0.5.into(), range = 0.0..)]
    pub gamma: Scheduled,
    /// Share of the label's weight that is spread evenly over all classes in the clean
    /// cross-entropy.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
}

/// The helper on the attacked images.
const HELPER: Forward = Forward::Network("helper", ImageSet::Adversarial);

impl Loss for Hat {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial, Forward::Images(BEYOND), HELPER]
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (clean, adversarial) = (input.clean()?, input.adversarial()?);
        let found = input.logits(HELPER)?.argmax(-1, false);
        let natural = terms::smoothed_cross_entropy(clean, input.y(), self.label_smoothing).mean(None::<Kind>);
        let robust = terms::kl(clean, adversarial).mean(None::<Kind>);
        let beyond = terms::cross_entropy(input.logits(Forward::Images(BEYOND))?, &found).mean(None::<Kind>);
        let total = &natural + &robust * input.now(&self.beta) + &beyond * input.now(&self.gamma);
        Ok(LossOutput::new(total).part("natural", &natural).part("robust", &robust).part("beyond", &beyond))
    }
}

register!(dyn Loss, "hat", Hat, "{ beta: 2.5, gamma: 0.5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, attack_from_yaml, images, loss_from_yaml, network};
    use foil_attacks as _;
    use std::collections::BTreeMap;

    // z, a as in TRADES's test; hr = torch.tensor([[.5, 1.5, 0], [1., 0, 1]]);
    // yh = torch.tensor([1, 2])
    // F.cross_entropy(z, y, label_smoothing=s) + gamma * F.cross_entropy(hr, yh)
    //     + beta * F.kl_div(F.log_softmax(a, 1), F.softmax(z, 1), reduction="batchmean")
    #[test]
    fn equals_pytorch() {
        let z = |rows: [[f64; 3]; 2]| Tensor::from_slice2(&rows);
        for (yaml, expected) in [
            ("hat", 1.4302632501170605),
            ("{ type: hat, beta: 3.5, gamma: 0.5, label_smoothing: 0.1 }", 1.8080423866409947),
        ] {
            let passes = [
                (Forward::Clean, z([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]])),
                (Forward::Adversarial, z([[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]])),
                (Forward::Images(BEYOND), z([[0.5, 1.5, 0.0], [1.0, 0.0, 1.0]])),
                (HELPER, z([[0.0, 1.0, 0.0], [0.0, 1.0, 2.0]])),
            ];
            let (y, side) = (Tensor::from_slice(&[0i64, 1]), BTreeMap::new());
            let clock = Clock::new(1, 1, tch::Device::Cpu);
            let input = LossInput::new(passes.into_iter().collect(), &y, &side, &clock);
            let loss = loss_from_yaml(yaml);
            input.check(loss.as_ref()).unwrap();
            assert_close(&loss.forward(&input).unwrap().total, &Tensor::from(expected), 1e-12);
        }
    }

    // By hand: x + 2 (x' - x) = 2 x' - x, where that leaves [0, 1] too.
    #[test]
    fn the_images_beyond_are_twice_as_far_and_not_clamped() {
        let (network, images) = (network(Kind::Double), images(8, 4, Kind::Double));
        let batch = images.batch(1);
        let inner = "{ type: pgd, eps: 0.1, alpha: 0.1, steps: 1, start: none }";
        let mut attack = attack_from_yaml(&format!("{{ type: beyond, inner: {inner} }}"), Kind::Double);
        let found = attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap();
        let beyond = &found.images[BEYOND];
        assert_close(beyond, &(&found.x * 2.0 - &batch.x), 1e-12);
        assert!(beyond.max().double_value(&[]) > 1.0 && attack.images() == [BEYOND]);
    }
}
