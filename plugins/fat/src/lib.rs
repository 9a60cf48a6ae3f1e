//! FAT: PGD that stops early, so that the training images stay friendly.
//!
//! Zhang et al., "Attacks Which Do Not Kill Training Make Adversarial Learning Stronger", ICML
//! 2020, arXiv:2002.11242, Algorithm 1 (PGD-K-tau). The losses are those of other methods; see
//! [`EarlyStoppedPgd`].

use foil::prelude::*;

/// Where the attack starts; both are clamped to [0, 1].
#[settings]
#[derive(Copy)]
pub enum Start {
    /// Uniform in the ball: FAT.
    Uniform,
    /// x + 0.001 · N(0, 1): FAT-TRADES and FAT-MART.
    Gaussian,
}

/// FAT's early-stopped PGD (Zhang et al. 2020, Algorithm 1): an image stops tau steps after it is
/// first misclassified.
///
/// Before each of the steps K = 1, 2, … `steps` the model, in eval mode, classifies every image
/// that has not stopped. A misclassified image whose counter (initially tau) is 0 stops where it
/// is; otherwise its counter is lowered by 1. The images that have not stopped move to x' + alpha ·
/// sign(gradient) + omega · N(0, 1), projected into the ball and into [0, 1]. Misclassifications
/// need not be consecutive. With tau at least `steps` this is PGD; with tau 0 an image
/// misclassified at its start stays there.
///
/// The authors' code shrinks the batch and returns images, with their labels, in the order in
/// which they stopped. Here stopping is a mask and images keep the batch's order. Eval mode treats
/// each image by itself, so each image is the same.
///
/// - FAT: `objective: ce`, `start: uniform`, `omega: 0.001`, loss `at` with `log_clean: false`.
/// - FAT-TRADES, which the CAT paper calls FAT: `objective: kl`, `start: gaussian`, loss `trades`
///   with `single_clean_pass: true`.
/// - FAT-MART: `objective: ce`, `start: gaussian`, loss `mart` with `adversarial_first: true` and
///   beta 6.
#[settings]
pub struct EarlyStoppedPgd {
    /// The objective to maximise: `ce` for FAT and FAT-MART, `kl` for FAT-TRADES.
    pub objective: Component<dyn Objective>,
    /// The ball's radius in the norm Linf. 0.031 in the authors' code.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// Step size. 0.007 in the authors' code.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub alpha: Scheduled,
    /// Maximum number of steps. With 0 the attack is its start.
    #[set(default = 10, range = 0..=100_000)]
    pub steps: u32,
    /// Steps taken after the first misclassification; fractions are rounded up. It grows during
    /// the authors' training (`type: steps`), counting epochs from 1: FAT 0, 1 from epoch 51, 2
    /// from 91; FAT-TRADES 0, 1 from 31, 2 from 51, 3 from 71; FAT-MART 0, 1 from 21, 2 from 41, 3
    /// from 61, 4 from 81.
    #[set(range = 0.0..)]
    pub tau: Scheduled,
    /// Size of the normal noise in each step, drawn for step K as `noise.K`. 0.001 for FAT, 0 for
    /// FAT-TRADES and FAT-MART.
    #[set(default = 0.0.into(), unit = "image", range = 0.0..=1.0)]
    pub omega: Scheduled,
    /// Where it starts.
    #[set(default = Start::Uniform)]
    pub start: Start,
}

struct EarlyStoppedPgdAttack {
    config: EarlyStoppedPgd,
    objective: Box<dyn Objective>,
}

impl Config<dyn Attack> for EarlyStoppedPgd {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let objective = cx.objective("objective", &self.objective)?;
        Ok(Box::new(EarlyStoppedPgdAttack { config: self.clone(), objective }))
    }
}

impl EarlyStoppedPgdAttack {
    fn start(&self, batch: &Batch, eps: &Tensor) -> Tensor {
        batch.noise.given("start").unwrap_or_else(|| {
            let moved = match self.config.start {
                Start::Uniform => (batch.uniform("start") * 2.0 - 1.0) * eps,
                Start::Gaussian => batch.normal("start") * 0.001,
            };
            (&batch.x + moved).clamp(0.0, 1.0)
        })
    }
}

impl Attack for EarlyStoppedPgdAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let (eps, alpha) = (batch.now(&self.config.eps), batch.now(&self.config.alpha));
        let ball = Box01::new(&batch.x, &eps, true);
        let clean = target.clean_logits(self.objective.as_ref(), &batch.x, Mode::Eval)?;
        let reference = Reference { y: &batch.y, clean: clean.as_ref() };

        let mut x = self.start(batch, &eps);
        let mut counter = batch.y.zeros_like().to_kind(Kind::Float) + batch.now(&self.config.tau);
        let mut active = batch.y.ones_like().to_kind(Kind::Bool);
        target.iterate(&x);
        for k in 1..=self.config.steps {
            let ascent = target.ascend(&x, Mode::Eval, self.objective.as_ref(), reference);
            let wrong = ascent.logits.argmax(-1, false).ne_tensor(&batch.y);
            active = active.logical_and(&wrong.logical_and(&counter.le(0.0)).logical_not());
            counter -= wrong.to_kind(Kind::Float);

            let mut moved = &x + ascent.gradient.sign() * &alpha;
            if self.config.omega.constant() != Some(0.0) {
                moved += batch.normal(&format!("noise.{k}")) * batch.now(&self.config.omega);
            }
            x = ball.project(&moved).where_self(&active.view([-1, 1, 1, 1]), &x);
            target.iterate(&x);
        }
        Ok(Adversarial::new(x))
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(Norm::Linf, &self.config.eps)
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }

    fn networks(&self) -> Vec<String> {
        self.objective.network().into_iter().collect()
    }
}

register!(
    dyn Attack,
    "early_stopped_pgd",
    EarlyStoppedPgd,
    "{ objective: ce, eps: 0.031, alpha: 0.007, steps: 10, tau: 0, omega: 0.001 }"
);

#[cfg(test)]
mod tests;
