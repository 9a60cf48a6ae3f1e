//! Several threat models in training: the worst of all attacks for each image, all of them, or one
//! of them for each batch.
//!
//! Tramèr & Boneh, "Adversarial Training and Robustness for Multiple Perturbations", NeurIPS 2019,
//! arXiv:1904.13000; Croce & Hein, "Adversarial Robustness against Multiple and Single lp-Threat
//! Models via Quick Fine-Tuning of Robust Classifiers", ICML 2022, arXiv:2105.12508.

mod each_of;

pub use each_of::{EachOf, MeanOfEach};

use crate::chain::{Chain, several};
use foil::prelude::*;

/// MAX (Tramèr & Boneh 2019, in the code of Maini et al. 2020): each attack runs on every
/// image, and of each image's results the one with the largest cross-entropy is trained on.
///
/// Of equal ones the first counts. Unlike `worst_of`, which evaluates, no attack leaves out what
/// others have broken, and the network's mode is that of training.
#[settings]
pub struct MaxOf {
    /// The attacks. The authors' order is L1, L2, Linf.
    pub attacks: Vec<Component<dyn Attack>>,
    /// The model's mode in the pass that compares.
    #[set(default = Mode::Train)]
    pub mode: Mode,
}

struct MaxOfAttack {
    attacks: Chain,
    mode: Mode,
}

impl Config<dyn Attack> for MaxOf {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(MaxOfAttack { attacks: Chain(several(cx, &self.attacks)), mode: self.mode }))
    }
}

impl Attack for MaxOfAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let mut worst: Option<(Tensor, Tensor)> = None;
        for (_, attack) in &mut self.attacks.0 {
            let x = attack.perturb(target, batch)?.x;
            let loss = terms::cross_entropy(&target.logits(&x, self.mode), &batch.y);
            worst = Some(match worst {
                None => (loss, x),
                Some((most, found)) => {
                    let larger = loss.gt_tensor(&most);
                    (loss.where_self(&larger, &most), x.where_self(&larger.view([-1, 1, 1, 1]), &found))
                }
            });
        }
        worst.map(|(_, x)| Adversarial::new(x)).ok_or_else(|| Error::new("it has no attacks"))
    }

    fn mode(&self) -> Mode {
        if self.mode == Mode::Eval { self.attacks.mode() } else { Mode::Train }
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(&self.attacks)
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(&mut self.attacks)
    }

    fn soft_labels(&self) -> bool {
        self.attacks.take_soft_labels()
    }
}

/// E-AT (Croce & Hein 2022): each batch is attacked by one of the attacks, drawn in
/// proportion to how badly the network has done against it.
///
/// An attack's weight is 1 - r, r being the share of the images attacked with it since the run
/// began that the network got right throughout the attack; until each has had a batch, all weigh
/// the same. The authors draw from APGD within Linf and within L1. It is for training only.
#[settings]
pub struct OneOf {
    /// The attacks.
    pub attacks: Vec<Component<dyn Attack>>,
    /// Whether all attacks run, of which the drawn one's images are kept. The result is the same,
    /// and a step costs as much as all of them; but it does not read the device, so it can be
    /// captured in a CUDA graph.
    #[set(default = false)]
    pub run_all: bool,
}

struct OneOfAttack {
    attacks: Chain,
    run_all: bool,
    /// For each attack the images that stayed right, and those that it attacked: `[A, 2]` double.
    counts: Tensor,
    /// Batches so far, `[1]` int64.
    batches: Tensor,
    /// The attack that was drawn last, `[1]` int64.
    drawn: Tensor,
}

impl Config<dyn Attack> for OneOf {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let attacks = Chain(several(cx, &self.attacks));
        let [counts, batches, drawn] = [vec![attacks.0.len() as i64, 2], vec![1], vec![1]].map(|size| {
            let kind = if size.len() == 2 { Kind::Double } else { Kind::Int64 };
            Tensor::zeros(size, (kind, cx.device))
        });
        Ok(Box::new(OneOfAttack { attacks, run_all: self.run_all, counts, batches, drawn }))
    }
}

/// The number of an attack, `[1]` int64, drawn by what each met so far, `[A, 2]`, with `uniform`
/// `[1]` in [0, 1).
fn draw(counts: &Tensor, uniform: &Tensor) -> Tensor {
    let (right, attacked) = (counts.select(1, 0), counts.select(1, 1));
    let wrong: Tensor = 1.0 - right / attacked.clamp_min(1.0);
    let counts = attacked.gt(0.0).all().logical_and(&wrong.sum(Kind::Double).gt(0.0));
    let weights = wrong.where_self(&counts, &attacked.ones_like());
    let upto = (&weights / weights.sum(Kind::Double)).cumsum(0, None::<Kind>);
    let passed = upto.le_tensor(uniform).sum(Kind::Int64);
    passed.clamp_max(weights.size()[0] - 1).view([1])
}

impl OneOfAttack {
    /// Draws this batch's attack: the same on every rank.
    fn draw(&mut self, batch: &Batch) -> Result<()> {
        if self.attacks.0.is_empty() {
            return Err(Error::new("it has no attacks"));
        }
        let uniform = batch.noise.keyed_by(&self.batches).uniform("attack", &[], Kind::Double);
        self.drawn.copy_(&draw(&self.counts, &uniform));
        Ok(())
    }

    /// The drawn attack's images.
    fn attacked(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let run = |attack: &mut dyn Attack| -> Result<(Tensor, Tensor)> {
            let found = attack.perturb(target, batch)?;
            let broken = found.broken.unwrap_or_else(|| wrong(target, batch, &found.x));
            Ok((found.x, broken))
        };
        let (x, broken) = match self.run_all {
            false => {
                let drawn = usize::try_from(self.drawn.int64_value(&[0])).map_err(Error::of)?;
                run(self.attacks.0[drawn].1.as_mut())?
            }
            true => {
                let found: Vec<(Tensor, Tensor)> =
                    self.attacks.0.iter_mut().map(|(_, attack)| run(attack.as_mut())).collect::<Result<_>>()?;
                let (xs, broken): (Vec<Tensor>, Vec<Tensor>) = found.into_iter().unzip();
                let pick = |all: &[Tensor]| Tensor::stack(all, 0).index_select(0, &self.drawn).squeeze_dim(0);
                (pick(&xs), pick(&broken))
            }
        };
        Ok(Adversarial::new(x).with_broken(broken))
    }
}

/// Which images are misclassified at `x`, `[N]` bool.
fn wrong(target: &Target, batch: &Batch, x: &Tensor) -> Tensor {
    target.logits(x, Mode::Eval).argmax(-1, false).ne_tensor(&batch.labels())
}

impl Attack for OneOfAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        self.draw(batch)?;
        self.attacked(target, batch)
    }

    fn complete(&mut self, target: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        self.draw(batch)?;
        let broken = wrong(target, batch, &x_adv);
        Ok(Adversarial::new(x_adv).with_broken(broken))
    }

    fn mode(&self) -> Mode {
        self.attacks.mode()
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(&self.attacks)
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(&mut self.attacks)
    }

    fn soft_labels(&self) -> bool {
        self.attacks.take_soft_labels()
    }

    fn capturable(&self) -> bool {
        self.run_all && self.attacks.capturable()
    }

    fn learning(&self) -> Option<&dyn Learning> {
        Some(self)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        Some(self)
    }
}

impl Learning for OneOfAttack {
    fn after_update(
        &mut self,
        target: &Target,
        _: &Batch,
        adversarial: &Adversarial,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let broken = adversarial.broken.as_ref().ok_or_else(|| Error::new("its images do not say which are broken"))?;
        let right = broken.logical_not().sum(Kind::Double);
        let all = right.zeros_like() + broken.size()[0] as f64;
        let met = target.sum_over_ranks(&Tensor::stack(&[right, all], 0))?;
        let every = Tensor::arange(self.counts.size()[0], (Kind::Int64, broken.device()));
        self.counts += every.eq_tensor(&self.drawn).to_kind(Kind::Double).unsqueeze(1) * met;
        let _ = self.batches.g_add_scalar_(1);
        Ok(Vec::new())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        [("counts", &self.counts), ("batches", &self.batches), ("drawn", &self.drawn)]
            .map(|(name, t)| (name.to_string(), t.shallow_clone()))
            .into()
    }
}

register!(
    dyn Attack,
    "max_of",
    MaxOf,
    "{ attacks: [{ type: pgd, norm: L2, eps: 0.5, alpha: 0.05 }, { type: pgd, eps: 8/255, alpha: 2/255 }] }"
);
register!(
    dyn Attack,
    "one_of",
    OneOf,
    "{ attacks: [{ type: apgd, eps: 8/255, steps: 10, start: none, keep: worst }, \
     { type: apgd, norm: L1, eps: 12, steps: 10, start: none, keep: worst, share: 0.05, large_radii: false }] }"
);

#[cfg(test)]
mod tests;
