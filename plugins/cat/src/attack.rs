//! The calibrated attack and how its mask learns: Eq. 10, 11 and 14.

use foil::engine::Learner;
use foil::prelude::*;
use std::collections::BTreeMap;

/// What the mask network sees.
#[settings]
#[derive(Copy, PartialEq)]
pub enum MaskInput {
    /// X + delta, as in the authors' code.
    Sum,
    /// X and delta as 2C channels, one reading of Eq. 11's g(X, delta).
    Concat,
}

/// CAT's attack (Huang et al. 2021, Eq. 10, 11, 14): X_cali = clamp(X + M · delta), M = g(X +
/// delta), delta from any attack.
///
/// After each update of f the mask network g descends KL(f(X') ‖ f(X_cali)) + beta1 · CE(f(X_cali),
/// y), where X' = clamp(X + delta) and f is the updated model, held fixed. f and g run in train
/// mode. Where the paper says nothing, it follows the authors' code.
#[settings]
pub struct Calibrated {
    /// The attack whose perturbation is calibrated: PGD on `ce` (CAT_cent) or on `cw` (CAT_cw).
    pub inner: Component<dyn Attack>,
    /// The mask network g: `mask_cnn` for MNIST (Table 5), `mask_resnet18` for CIFAR (Table 6).
    pub mask: Component<dyn Model>,
    /// Weight of the cross-entropy in Eq. 14: larger keeps the images easier. 0.05, 0.1 or 0.3 in
    /// the paper.
    #[set(range = 0.0..)]
    pub beta1: Scheduled,
    /// How g learns. By default as the model does, which is what the authors do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Component<dyn Optimizer>>,
    /// The input of g.
    #[set(default = MaskInput::Sum)]
    pub input: MaskInput,
    /// Whether images are kept in [0, 1]; the authors' MNIST code does not.
    #[set(default = true)]
    pub clip: bool,
}

/// A mask whose mean is within this of 0 or 1 calibrates nothing.
const STUCK: f64 = 1e-3;

struct CalibratedAttack {
    config: Calibrated,
    inner: Box<dyn Attack>,
    /// What it made of this step's images, for what it learns.
    found: Option<Adversarial>,
    mask: Learner,
}

impl Config<dyn Attack> for Calibrated {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let channels = cx.data.channels * if self.input == MaskInput::Concat { 2 } else { 1 };
        let inner = cx.component("inner", &self.inner);
        let optimizer = cx.optimizer("optimizer", self.optimizer.as_ref());
        let network = cx.network("mask", &self.mask, channels);
        let (Some(inner), Some(optimizer), Some(network)) = (inner, optimizer, network) else {
            return Err(Error::new("one of its parts cannot be built"));
        };
        if !network.is_mask() {
            cx.problem(
                "mask",
                format!("is `{}`, which outputs logits, not masks", self.mask.name()),
                "choose a mask network",
            );
        }
        Ok(Box::new(CalibratedAttack {
            config: self.clone(),
            inner,
            found: None,
            mask: Learner::new(network, optimizer),
        }))
    }
}

impl CalibratedAttack {
    fn clip(&self, x: Tensor) -> Tensor {
        if self.config.clip { x.clamp(0.0, 1.0) } else { x }
    }

    /// What g sees, from X and delta.
    fn input(&self, x: &Tensor, delta: &Tensor) -> Tensor {
        match self.config.input {
            MaskInput::Sum => x + delta,
            MaskInput::Concat => Tensor::cat(&[x, delta], 1),
        }
    }
}

impl Attack for CalibratedAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let found = self.inner.perturb(target, batch)?;
        let x_adv = found.x.shallow_clone();
        self.found = Some(found);
        self.complete(target, batch, x_adv)
    }

    fn complete(&mut self, _: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        let delta = &x_adv - &batch.x;
        let mask = self.mask.network().frozen(&self.input(&batch.x, &delta), Mode::Train, Some(&batch.noise));
        let x_cali = self.clip(&batch.x + &mask * &delta);
        let result = Adversarial::new(x_cali.shallow_clone());
        Ok(result.with("x_adv", x_adv).with("x_cali", x_cali).with("delta", delta).with("mask", mask))
    }

    fn mode(&self) -> Mode {
        Mode::Train
    }

    fn provides(&self) -> Vec<&'static str> {
        vec!["x_adv", "x_cali", "delta", "mask"]
    }

    fn images(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn learning(&self) -> Option<&dyn Learning> {
        Some(self)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        Some(self)
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(self.inner.as_ref())
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(self.inner.as_mut())
    }
}

/// The mask network, and whatever the inner attack keeps and learns, under `inner.`.
impl Learning for CalibratedAttack {
    fn after_update(
        &mut self,
        target: &Target,
        batch: &Batch,
        adversarial: &Adversarial,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let mut learned = match (self.found.take(), self.inner.learning_mut()) {
            (Some(found), Some(inner)) => inner.after_update(target, batch, &found)?,
            _ => Vec::new(),
        };
        let delta = &adversarial.side["delta"];
        let mask = self.mask.network().differentiable(&self.input(&batch.x, delta), Mode::Train, Some(&batch.noise));
        let attacked = target.logits(&self.clip(&batch.x + delta), Mode::Train);
        let calibrated = target.forward(&self.clip(&batch.x + &mask * delta), Mode::Train);
        let follow = terms::kl(&attacked, &calibrated).mean(None::<Kind>);
        let keep = terms::cross_entropy(&calibrated, &batch.y).mean(None::<Kind>);
        let loss = &follow + &keep * batch.now(&self.config.beta1);
        let mean = mask.detach().mean(None::<Kind>);
        self.mask.descend(&loss, batch.clock)?;
        learned.extend([("mask_loss", loss.detach()), ("mask_mean", mean)]);
        Ok(learned)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.mask.state("mask.");
        state.extend(self.inner.state().into_iter().map(|(name, t)| (format!("inner.{name}"), t)));
        state
    }

    fn per_image(&self) -> Vec<String> {
        let inner = self.inner.learning().map_or_else(Vec::new, |inner| inner.per_image());
        inner.into_iter().map(|name| format!("inner.{name}")).collect()
    }

    fn remark(&self, means: &BTreeMap<String, f64>) -> Option<String> {
        let mean = *means.get("mask_mean")?;
        let stuck = if mean < STUCK {
            "0: the model trains on clean images"
        } else if mean > 1.0 - STUCK {
            "1: the model trains on attacked images that are not calibrated"
        } else {
            return self.inner.learning()?.remark(means);
        };
        Some(format!(
            "the mask is nearly {stuck}, where its sigmoid is flat and the mask network hardly learns; a smaller learning rate for it \
             may prevent this, such as `attack.optimizer={{ type: adam, lr: 0.0001 }}`"
        ))
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.mask)
    }
}

register!(
    dyn Attack,
    "calibrated",
    Calibrated,
    "{ inner: { type: pgd, objective: { type: cw, kappa: 50 }, eps: 8/255, alpha: 2/255, mode: train }, mask: mask_cnn, beta1: 0.05, optimizer: { type: sgd, lr: 0.1 } }"
);
