//! Eq. 17's two halves: an attack that looks for the point of the ball where the oracle is contradicted most, and the
//! cross-entropy with the oracle's class there.

use super::Problem;
use crate::Result;
use crate::attack::{Adversarial, Attack, Batch, Box01, Target};
use crate::loss::{Forward, Loss, LossInput, LossOutput, terms};
use crate::nn::Mode;
use tch::{Kind, Tensor};

/// The side tensor with the oracle's classes.
const CLASSES: &str = "oracle_classes";

/// PGD on CE(f(x'), oracle(x')), from a uniform start; the best of all its points is kept, since the objective jumps where
/// the oracle's class changes.
#[derive(Debug)]
pub(super) struct OraclePgd {
    pub problem: Problem,
    pub alpha: f64,
    pub steps: u32,
}

/// Cross-entropy with the oracle's class of the attacked point.
#[derive(Debug)]
pub(super) struct OracleLoss;

impl OraclePgd {
    /// The oracle's classes `[N]` of points as images `[N, 1, 1, 2]`.
    fn classes(&self, x: &Tensor) -> Tensor {
        self.problem.oracle(&x.view([-1, 2]))
    }
}

impl Attack for OraclePgd {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let eps = Tensor::from(self.problem.eps()).to_kind(batch.x.kind());
        let ball = Box01::new(&batch.x, &eps, true);
        let mut x = ball.project(&(&batch.x + (batch.uniform("start") * 2.0 - 1.0) * &eps));
        let mut best = (x.copy(), Tensor::full([x.size()[0]], f64::NEG_INFINITY, (x.kind(), x.device())));
        for step in 0..=self.steps {
            let classes = self.classes(&x);
            let ascent = target.gradient(&x, Mode::Eval, &|logits| terms::cross_entropy(logits, &classes));
            let value = terms::cross_entropy(&ascent.logits, &classes);
            let better = value.gt_tensor(&best.1);
            best = (x.where_self(&better.view([-1, 1, 1, 1]), &best.0), value.maximum(&best.1));
            if step < self.steps {
                x = ball.project(&(&x + ascent.gradient.sign() * self.alpha));
            }
        }
        let classes = self.classes(&best.0);
        Ok(Adversarial::new(best.0).with(CLASSES, classes))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }

    fn provides(&self) -> Vec<&'static str> {
        vec![CLASSES]
    }
}

impl Loss for OracleLoss {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial]
    }

    fn needs(&self) -> Vec<&'static str> {
        vec![CLASSES]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        Ok(LossOutput::new(terms::cross_entropy(input.adversarial()?, input.side(CLASSES)?).mean(None::<Kind>)))
    }
}
