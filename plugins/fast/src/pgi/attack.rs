//! FGSM-PGI's attack.

use super::{START, smoothing};
use foil::prelude::*;

/// FGSM-PGI's attack (Jia et al. 2022, MEP): one step from a perturbation that is kept for each
/// training image.
///
/// It starts at x + d, d being what it keeps, which may leave [0, 1] because crops differ between
/// epochs. With the gradient g of the smoothed cross-entropy there, in train mode, the image to
/// train on is x + d + alpha · sign(g), and the next epoch starts from d + alpha · sign(m), where m
/// ← g/‖g‖₁ + decay · m is kept too and the norm is that of the whole batch's g; both are put back
/// into the ball and into [0, 1]. At the start and every `reset` epochs d is eps with a random sign
/// in each number, and m is 0.
///
/// The loss `fgsm_pgi` passes the images at the start again (`start`); as in the authors' code
/// batch norm's running statistics move in that pass and not in the attack's. What it keeps is two
/// numbers for each number of each training image, 1.2 GB for CIFAR-10 in each checkpoint. It is an
/// attack for training only.
#[settings]
pub struct PgiAttack {
    /// The ball's radius.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// The step; the authors' is eps.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub alpha: Scheduled,
    /// Share of m that an epoch keeps.
    #[set(default = 0.3, range = 0.0..=1.0)]
    pub decay: f64,
    /// Epochs until what is kept begins again; 40 for CIFAR-10, 10 for CIFAR-100.
    #[set(default = 40, range = 1..=1_000_000)]
    pub reset: i64,
    /// The share of a label that the other classes have in the cross-entropy.
    #[set(default = 0.4, range = 0.0..1.0)]
    pub others: f64,
}

struct Attacking {
    config: PgiAttack,
    smoothing: f64,
    /// Perturbations and their momentum, `[train, C, H, W]`.
    delta: Tensor,
    momentum: Tensor,
    /// In which period of `reset` epochs each was kept last, `[train]` int64; -1 for never.
    period: Tensor,
}

impl Config<dyn Attack> for PgiAttack {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let foil::registry::DataFacts { train, channels, height, width, classes } = cx.data;
        let kept = || Tensor::zeros([train, channels, height, width], (cx.kind, cx.device));
        Ok(Box::new(Attacking {
            config: self.clone(),
            smoothing: smoothing(self.others, classes),
            delta: kept(),
            momentum: kept(),
            period: Tensor::full([train], -1, (Kind::Int64, cx.device)),
        }))
    }
}

/// `delta` within `eps` of 0, and `x` + `delta` in [0, 1].
fn within(delta: &Tensor, eps: &Tensor, x: &Tensor) -> Tensor {
    let inside = delta.minimum(&eps.to_kind(delta.kind())).maximum(&-eps.to_kind(delta.kind()));
    inside.maximum(&-x).minimum(&(-x + 1.0))
}

impl Attacking {
    /// What is kept of the batch's images, or what it begins with: the perturbations, the momentum,
    /// and the period that it is now.
    fn kept(&self, batch: &Batch, eps: &Tensor) -> [Tensor; 3] {
        let of = |all: &Tensor| all.index_select(0, &batch.index);
        let now = batch.clock.epoch().floor_divide_scalar(self.config.reset);
        let begins = of(&self.period).ne_tensor(&now).view([-1, 1, 1, 1]);
        let signs = batch.uniform("start").ge(0.5).to_kind(batch.x.kind()) * 2.0 - 1.0;
        let delta = (signs * eps).where_self(&begins, &of(&self.delta).to_kind(batch.x.kind()));
        let momentum = of(&self.momentum).to_kind(batch.x.kind()).masked_fill(&begins, 0.0);
        [delta, momentum, now]
    }

    fn keep(&mut self, batch: &Batch, delta: &Tensor, momentum: &Tensor, period: &Tensor) {
        let period = period.expand_as(&batch.index);
        let now = [(&self.delta, delta), (&self.momentum, momentum), (&self.period, &period)];
        for (all, of_batch) in now {
            let _ = all.shallow_clone().index_copy_(0, &batch.index, &of_batch.to_kind(all.kind()));
        }
    }
}

impl Attack for Attacking {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let (eps, alpha) = (batch.now(&self.config.eps), batch.now(&self.config.alpha));
        let [delta, momentum, period] = self.kept(batch, &eps);
        let start = &batch.x + &delta;
        target.iterate(&start);
        let loss = |logits: &Tensor| terms::smoothed_cross_entropy(logits, &batch.y, self.smoothing);
        let gradient = target.gradient(&start, Mode::Still, &loss).gradient;
        let size = target.sum_over_ranks(&gradient.abs().sum(None::<Kind>))?;
        let momentum = &gradient / size.clamp_min(1e-30) + momentum * self.config.decay;
        let moved = |direction: &Tensor| within(&(&delta + direction.sign() * &alpha), &eps, &batch.x);
        self.keep(batch, &moved(&momentum), &momentum, &period);
        let x = &batch.x + moved(&gradient);
        target.iterate(&x);
        Ok(Adversarial::new(x).with_images(START, start))
    }

    fn complete(&mut self, target: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        Ok(Adversarial { x: x_adv, ..self.perturb(target, batch)? })
    }

    fn images(&self) -> Vec<&'static str> {
        vec![START]
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(Norm::Linf, &self.config.eps)
    }

    fn mode(&self) -> Mode {
        Mode::Train
    }

    fn learning(&self) -> Option<&dyn Learning> {
        Some(self)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        Some(self)
    }
}

impl Learning for Attacking {
    fn state(&self) -> Vec<(String, Tensor)> {
        [("delta", &self.delta), ("momentum", &self.momentum), ("period", &self.period)]
            .map(|(name, t)| (name.to_string(), t.shallow_clone()))
            .into()
    }

    fn per_image(&self) -> Vec<String> {
        ["delta", "momentum", "period"].map(String::from).into()
    }
}

register!(dyn Attack, "fgsm_pgi", PgiAttack, "{ eps: 8/255, alpha: 8/255 }");
