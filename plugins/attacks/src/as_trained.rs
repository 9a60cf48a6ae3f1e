//! Whether training's arithmetic makes attacks weaker.

use foil::prelude::*;

/// For evaluations: `inner` computes its gradients in the precision of training
/// (`train.precision`); the resulting images are classified in `train.eval_precision`.
///
/// Compared with `inner` itself it shows what bf16 costs an attack: a network trained in bf16 has
/// only seen attacks like this one.
#[settings]
pub struct AsTrained {
    /// The attack.
    pub inner: Component<dyn Attack>,
}

struct AsTrainedAttack {
    inner: Box<dyn Attack>,
}

impl Config<dyn Attack> for AsTrained {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let inner = cx.component("inner", &self.inner).ok_or_else(|| Error::new("its attack cannot be built"))?;
        Ok(Box::new(AsTrainedAttack { inner }))
    }
}

impl Attack for AsTrainedAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        target.as_trained(|| self.inner.perturb(target, batch))
    }

    fn mode(&self) -> Mode {
        self.inner.mode()
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(self.inner.as_ref())
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(self.inner.as_mut())
    }
}

register!(dyn Attack, "as_trained", AsTrained, "{ inner: { type: pgd, eps: 8/255, alpha: 2/255 } }");

#[cfg(test)]
mod tests {
    use foil::engine::{EvalPrecision, Precision};
    use foil::prelude::*;
    use foil::testing::{attack_from_yaml, images, network};

    #[test]
    fn gradients_are_those_of_training_and_evaluation_is_as_before() {
        let inner = "{ type: pgd, eps: 0.1, alpha: 0.004, steps: 3, start: none }";
        let [inner, wrapped] = [inner.to_string(), format!("{{ type: as_trained, inner: {inner} }}")]
            .map(|yaml| move || attack_from_yaml(&yaml, Kind::Float));
        for precision in [Precision::Fp32, Precision::Bf16] {
            let network = network(Kind::Float).computing(precision, EvalPrecision::Fp32);
            let images = images(16, 4, Kind::Float);
            let batch = images.batch(1);
            let target = Target::new(&network, &batch.noise);
            let found = |attack: &dyn Fn() -> Box<dyn Attack>| attack().perturb(&target, &batch).unwrap().x;
            let as_it_trains = found(&inner);
            let _evaluating = network.evaluating();
            network.start_step();
            let evaluated = target.logits(&batch.x, Mode::Eval);
            let differ = found(&inner) != as_it_trains;
            assert_eq!(differ, precision == Precision::Bf16, "{precision:?}");
            assert!(found(&wrapped) == as_it_trains, "{precision:?}");
            assert!(
                target.logits(&batch.x, Mode::Eval) == evaluated,
                "{precision:?}: evaluation computes as training does"
            );
        }
    }
}
