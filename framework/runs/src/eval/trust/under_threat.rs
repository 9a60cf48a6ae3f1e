//! The checks that attack: what must hold between attacks of one threat model.

use super::{Subject, check, not_run};
use crate::eval::percent;
use crate::record::TrustCheck;
use foil::attack::{Norm, Threat};
use foil::{Error, Result};
use tch::Tensor;

/// A network under one threat.
pub(super) struct UnderThreat<'a> {
    subject: &'a Subject<'a>,
    norm: Norm,
    eps: f64,
    /// Steps of a search, and queries of one that sees no gradient.
    steps: u32,
    queries: u32,
}

/// A difference as long as chance allows it, in percent points.
const CHANCE: f64 = 2.0;

impl<'a> UnderThreat<'a> {
    pub fn of(subject: &'a Subject, Threat { norm, eps }: Threat) -> Self {
        let (steps, queries) = subject.depth.budget();
        UnderThreat { subject, norm, eps, steps, queries }
    }

    /// All of them, in a fixed order. One that cannot be run says why.
    pub fn checks(&self) -> Vec<TrustCheck> {
        let few_to_many = self.pgd_by_steps();
        let pgd = few_to_many.as_ref().ok().and_then(|all| all.last()).map(|(_, accuracy)| *accuracy);
        let apgd = self.right(&self.apgd(self.eps));
        [
            ("eps_zero", self.eps_zero()),
            ("eps_large", self.eps_large()),
            ("more_steps", few_to_many.map(|all| self.more_steps(&all))),
            ("pgd_gap", self.pgd_gap(pgd, &apgd)),
            ("black_box", self.black_box(&apgd)),
            ("transfer", self.transfer(&apgd)),
        ]
        .map(|(name, found)| found.unwrap_or_else(|error| not_run(name, error.message())))
        .into()
    }

    fn right(&self, attack: &str) -> Result<Tensor> {
        self.subject.right(self.subject.network, attack)
    }

    fn pgd(&self, eps: f64, steps: u32) -> Result<Tensor> {
        let (norm, alpha) = (self.norm, 2.5 * eps / f64::from(steps));
        self.right(&format!("{{ type: pgd, norm: {norm}, eps: {eps}, alpha: {alpha}, steps: {steps}, start: none }}"))
    }

    fn apgd(&self, eps: f64) -> String {
        let (norm, steps) = (self.norm, 2 * self.steps);
        let one = |objective: &str| {
            format!("{{ type: apgd, objective: {objective}, norm: {norm}, eps: {eps}, steps: {steps} }}")
        };
        format!("{{ type: worst_of, attacks: [{}, {}] }}", one("ce"), one("dlr"))
    }

    fn images(&self) -> i64 {
        self.subject.batch.y.size()[0]
    }

    /// Without a radius, attacked images are the clean ones.
    fn eps_zero(&self) -> Result<TrustCheck> {
        let right = self.pgd(0.0, self.steps)?;
        let batch = self.subject.batch;
        let natural = self.subject.logits(&batch.x).argmax(-1, false).eq_tensor(&batch.y);
        let value = percent(&right.ne_tensor(&natural));
        let bad = format!(
            "with eps 0 the attack changes the prediction for {value:.1} % of the images: attack and model disagree on \
             what an image is"
        );
        Ok(check("eps_zero", value, 0.0, "with eps 0 the attacked images are the clean ones", &bad))
    }

    /// With half the range of a pixel every image can become the same grey: no more are right than
    /// guessing reaches.
    fn eps_large(&self) -> Result<TrustCheck> {
        let (norm, data) = (self.norm, self.subject.data);
        let pixels = (data.channels * data.height * data.width) as f64;
        let eps = match norm {
            Norm::Linf => 0.5,
            Norm::L2 => 0.5 * pixels.sqrt(),
            Norm::L1 => 0.5 * pixels,
        };
        let right = self.right(&self.apgd(eps))?;
        let (value, guess) = (percent(&right), 1.0 / data.classes as f64);
        // What guessing can reach on so few images: two standard deviations above its mean.
        let chance = 100.0 * (guess + 2.0 * (guess * (1.0 - guess) / right.numel() as f64).sqrt());
        let good = format!(
            "with eps {eps:.4} ({norm}) {value:.1} % are still correct, no more than by chance: the attacks reach every \
             image"
        );
        let bad = format!(
            "with eps {eps:.4} ({norm}), where every image can become the same grey, {value:.1} % are still correct: \
             the attacks fail, not the threat"
        );
        Ok(check("eps_large", value, self.subject.points(chance), &good, &bad))
    }

    /// Accuracy after few, some and many steps of PGD, in percent.
    fn pgd_by_steps(&self) -> Result<[(u32, f64); 3]> {
        let mut all = [1, 5, 2 * self.steps].map(|steps| (steps, f64::NAN));
        for (steps, accuracy) in &mut all {
            *accuracy = percent(&self.pgd(self.eps, *steps)?);
        }
        Ok(all)
    }

    /// More steps are no weaker.
    fn more_steps(&self, all: &[(u32, f64); 3]) -> TrustCheck {
        let value = all.windows(2).map(|two| two[1].1 - two[0].1).fold(0.0, f64::max);
        let [(few, a), (some, b), (many, c)] = all;
        let shown =
            format!("{a:.1}, {b:.1} and {c:.1} % of {} images after {few}, {some} and {many} steps", self.images());
        let limit = self.subject.points(CHANCE);
        let good = if value > 0.0 {
            format!("more steps of PGD are weaker by no more than chance allows, {limit:.1} points ({shown})")
        } else {
            format!("more steps of PGD are no weaker ({shown})")
        };
        let bad = format!("more steps of PGD are weaker ({shown}): the gradient misleads the attack");
        check("more_steps", value, limit, &good, &bad)
    }

    /// PGD, whose step and loss are fixed, is not far behind APGD.
    fn pgd_gap(&self, pgd: Option<f64>, apgd: &Result<Tensor>) -> Result<TrustCheck> {
        let apgd = percent(needed(apgd)?);
        let pgd = pgd.ok_or_else(|| Error::new("it is a comparison with PGD, which could not be run"))?;
        let (value, n) = (pgd - apgd, self.images());
        let good = if value > self.subject.points(CHANCE) {
            format!(
                "APGD leaves {apgd:.1} %, PGD {pgd:.1} % of {n} images: APGD is stronger, as it should be; quote it, or \
                 AutoAttack"
            )
        } else {
            format!(
                "APGD leaves {apgd:.1} %, PGD {pgd:.1} % of {n} images: the choice of the attack's loss and step \
                 matters little"
            )
        };
        let bad = format!(
            "APGD leaves {apgd:.1} %, PGD {pgd:.1} %: PGD is held back by the scale of the logits or by its step, so do \
             not quote it alone"
        );
        Ok(check("pgd_gap", value, self.subject.points(15.0), &good, &bad))
    }

    /// An attack without gradients breaks few images that resist APGD.
    fn black_box(&self, apgd: &Result<Tensor>) -> Result<TrustCheck> {
        let (norm, eps, queries) = (self.norm, self.eps, self.queries);
        let right = self.right(&format!("{{ type: square, norm: {norm}, eps: {eps}, n_queries: {queries} }}"))?;
        let value = also_broken(&right, needed(apgd)?);
        let found = format!("Square, which sees no gradient, breaks {value:.1} % that APGD does not");
        let good = format!("{found}: gradients are the better guide, as they should be");
        let bad = format!("{found}: the gradients are masked");
        Ok(check("black_box", value, self.subject.points(CHANCE), &good, &bad))
    }

    /// So do images made for another network.
    fn transfer(&self, apgd: &Result<Tensor>) -> Result<TrustCheck> {
        let other = self.subject.other.ok_or_else(|| Error::new("it needs another model (--transfer RUN)"))?;
        let value = also_broken(&self.subject.right(other, &self.apgd(self.eps))?, needed(apgd)?);
        let found = format!("images made for another model break {value:.1} % that APGD on this one does not");
        let good = format!("{found}: seeing the model helps, as it should");
        let bad = format!("{found}: its own gradients are masked");
        Ok(check("transfer", value, self.subject.points(CHANCE), &good, &bad))
    }
}

/// What several checks compare with; if it could not be run, they say so too.
fn needed(found: &Result<Tensor>) -> Result<&Tensor> {
    found.as_ref().map_err(|error| Error::new(error.message()))
}

/// Percent of the images that the white-box attack leaves `right`, and this one breaks.
fn also_broken(right: &Tensor, white_box: &Tensor) -> f64 {
    percent(&white_box.logical_and(&right.logical_not()))
}
