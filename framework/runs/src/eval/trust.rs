//! Whether accuracies under attack can be trusted: signs of masked gradients, checked on a few
//! images.
//!
//! After AutoAttack's flags (Croce & Hein 2020) and the list of Carlini et al., "On Evaluating
//! Adversarial Robustness", 2019, arXiv:1902.06705, section 5; and Athalye et al. 2018,
//! arXiv:1802.00420, section 3.

use super::percent;
use crate::record::{Norm, Threat, TrustCheck};
use foil::attack::{Attack, Batch, Target};
use foil::engine::{Network, guard};
use foil::loss::terms;
use foil::nn::Mode;
use foil::registry::{Build, Component, DataFacts};
use foil::{Error, Result};
use std::cell::RefCell;
use tch::{Kind, Tensor};

/// How thorough the checks are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// No check is run.
    Off,
    /// Short attacks on a tenth of the images, at least 16, at most 64.
    #[default]
    Quick,
    /// Longer attacks on at most 512 images.
    Full,
}

impl Depth {
    /// All of them, by the names that the command line and records use.
    pub const NAMED: [(&str, Self); 3] = [("off", Self::Off), ("quick", Self::Quick), ("full", Self::Full)];

    /// How many of `n` images are checked.
    pub fn images(self, n: i64) -> i64 {
        match self {
            Depth::Off => 0,
            Depth::Quick => (n / 10).clamp(16, 64).min(n),
            Depth::Full => n.min(512),
        }
    }

    /// (steps of a strong attack, queries of Square)
    fn budget(self) -> (u32, u32) {
        if self == Depth::Full { (50, 1000) } else { (10, 100) }
    }
}

/// The subject of the checks.
pub struct Subject<'a> {
    /// The model.
    pub network: &'a Network,
    /// The images that it is checked on.
    pub batch: &'a Batch<'a>,
    /// Facts about the data.
    pub data: DataFacts,
    /// Every norm and radius that the evaluation's attacks may use; without any, only checks that
    /// need no attack are run.
    pub threats: &'a [Threat],
    /// How thoroughly.
    pub depth: Depth,
    /// Another model, whose adversarial images are tried on this one.
    pub other: Option<&'a Network>,
}

/// A check that was run: it passes if `value` does not exceed `limit`.
fn check(name: &str, value: f64, limit: f64, good: &str, bad: &str) -> TrustCheck {
    let passed = value <= limit;
    let says = if passed { good } else { bad }.to_string();
    TrustCheck { name: name.into(), passed: Some(passed), value, limit, says }
}

impl Subject<'_> {
    /// Every check, in a fixed order: those that need no attack, then for each threat the others,
    /// under its name if there are several. A check that cannot be run says why. Empty for
    /// [`Depth::Off`].
    pub fn checks(&self) -> Vec<TrustCheck> {
        if self.depth == Depth::Off || self.batch.y.size()[0] == 0 {
            return Vec::new();
        }
        let _evaluating = self.network.evaluating();
        let ran = |name: &str, check: &dyn Fn() -> Result<TrustCheck>| {
            guard(check).unwrap_or_else(|error| not_run(name, error.message()))
        };
        let mut checks = vec![
            ran("zero_gradients", &|| self.zero_gradients()),
            ran("random_outputs", &|| Ok(self.random_outputs())),
            ran("probabilities", &|| Ok(self.probabilities())),
        ];
        for &threat in self.threats {
            let mut found = self.attacked(threat);
            if self.threats.len() > 1 {
                found.iter_mut().for_each(|check| check.name += &format!(" ({threat})"));
            }
            checks.append(&mut found);
        }
        checks
    }

    /// The limit in points, but never less than one image.
    fn points(&self, limit: f64) -> f64 {
        limit.max(100.0 / self.batch.y.size()[0] as f64)
    }

    fn logits(&self, x: &Tensor) -> Tensor {
        Target::new(self.network, &self.batch.noise).logits(x, Mode::Eval)
    }

    fn zero_gradients(&self) -> Result<TrustCheck> {
        let target = Target::new(self.network, &self.batch.noise);
        let loss = |logits: &Tensor| terms::cross_entropy(logits, &self.batch.y);
        let Some(gradient) = target.gradient_if_any(&self.batch.x, Mode::Eval, &loss)? else {
            let bad = "the logits do not depend differentiably on the images: no attack can follow their gradients";
            return Ok(check("zero_gradients", 100.0, 1.0, "", bad));
        };
        let value = percent(&gradient.flatten(1, -1).abs().amax(1, false).eq(0.0));
        let good = format!("{value:.1} % of the input gradients are zero: attacks that follow them can work");
        let bad = format!(
            "{value:.1} % of the input gradients are zero: attacks that follow them get no signal there, and fail whatever the model"
        );
        Ok(check("zero_gradients", value, 1.0, &good, &bad))
    }

    fn random_outputs(&self) -> TrustCheck {
        let [first, second] = [0, 1].map(|_| self.logits(&self.batch.x));
        let scale = first.abs().max().double_value(&[]).max(1e-12);
        let value = (first - second).abs().max().double_value(&[]) / scale;
        let bad = "two passes over the same images differ: the model is randomised, so average each gradient over several \
                   passes (`eot: 20` in pgd and apgd, `version: rand` in autoattack)";
        check("random_outputs", value, 1e-4, "two passes over the same images agree: the model is not randomised", bad)
    }

    fn probabilities(&self) -> TrustCheck {
        let logits = self.logits(&self.batch.x);
        let sums = (logits.sum_dim_intlist(-1, false, Kind::Double) - 1.0).abs().lt(1e-4);
        let value = percent(&sums.logical_and(&logits.ge(0.0).all_dim(-1, false)));
        let bad = "the outputs are probabilities, not logits: the losses of the attacks apply softmax once more and lose the gradient";
        check("probabilities", value, 50.0, "the outputs are logits, as the attacks expect", bad)
    }

    /// Whether each image is classified correctly under an attack on `network`, `[N]` bool.
    ///
    /// # Errors
    /// Why it cannot be run.
    fn right(&self, network: &Network, settings: &str) -> Result<Tensor> {
        let missing = || Error::new("its attack is not linked into this program");
        let component = serde_yaml::from_str::<Component<dyn Attack>>(settings).map_err(|_| missing())?;
        let problems = RefCell::default();
        let (kind, device) = (network.params().kind(), network.params().device());
        let attack = Build::new(self.data, 0, kind, device, &problems).component("trust", &component);
        let mut attack = attack.filter(|_| problems.borrow().is_empty()).ok_or_else(missing)?;
        let _evaluating = network.evaluating();
        guard(|| {
            network.start_step();
            // Not shrinking: what transfers is the strongest point, not the first that breaks.
            let target = Target::new(network, &self.batch.noise);
            let x = self.batch.unwritten(|| attack.perturb(&target, self.batch))?.x;
            Ok(self.logits(&x).argmax(-1, false).eq_tensor(&self.batch.y))
        })
    }

    fn attacked(&self, Threat { norm, eps }: Threat) -> Vec<TrustCheck> {
        let network = self.network;
        let n = self.batch.y.size()[0];
        let (steps, queries) = self.depth.budget();
        // Half the range of a pixel: within it every image can become the same grey.
        let pixels = (self.data.channels * self.data.height * self.data.width) as f64;
        let far = if norm == Norm::Linf { 0.5 } else { 0.5 * pixels.sqrt() };
        let pgd = |eps: f64, steps: u32| {
            let alpha = 2.5 * eps / f64::from(steps);
            self.right(
                network,
                &format!("{{ type: pgd, norm: {norm}, eps: {eps}, alpha: {alpha}, steps: {steps}, start: none }}"),
            )
        };
        let apgd = |eps: f64, steps: u32| {
            let one = |objective: &str| {
                format!("{{ type: apgd, objective: {objective}, norm: {norm}, eps: {eps}, steps: {steps} }}")
            };
            format!("{{ type: worst_of, attacks: [{}, {}] }}", one("ce"), one("dlr"))
        };
        let mut checks = Vec::new();
        let mut add = |name: &str, found: Result<TrustCheck>| {
            checks.push(found.unwrap_or_else(|error| not_run(name, error.message())));
        };

        let none = pgd(0.0, steps).map(|right| {
            let natural = self.logits(&self.batch.x).argmax(-1, false).eq_tensor(&self.batch.y);
            let value = percent(&right.ne_tensor(&natural));
            let bad = format!("with eps 0 the attack changes the prediction for {value:.1} % of the images: attack and model disagree on what an image is");
            check("eps_zero", value, 0.0, "with eps 0 the attacked images are the clean ones", &bad)
        });
        add("eps_zero", none);

        let large = self.right(network, &apgd(far, 2 * steps)).map(|right| {
            // What guessing can reach on so few images: two standard deviations above its mean.
            let (value, guess) = (percent(&right), 1.0 / self.data.classes as f64);
            let chance = 100.0 * (guess + 2.0 * (guess * (1.0 - guess) / right.numel() as f64).sqrt());
            let good = format!("with eps {far:.4} ({norm}) {value:.1} % are still correct, no more than by chance: the attacks reach every image");
            let bad = format!("with eps {far:.4} ({norm}), where every image can become the same grey, {value:.1} % are still correct: the attacks fail, not the threat");
            check("eps_large", value, self.points(chance), &good, &bad)
        });
        add("eps_large", large);

        let counts = [1, 5, 2 * steps];
        let fewer: Result<Vec<f64>> = counts.iter().map(|&k| pgd(eps, k).map(|right| percent(&right))).collect();
        let last = fewer.as_ref().ok().and_then(|all| all.last().copied());
        add(
            "more_steps",
            fewer.map(|all| {
                let value = all.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max);
                let shown = format!(
                    "{:.1}, {:.1} and {:.1} % of {n} images after {}, {} and {} steps",
                    all[0], all[1], all[2], counts[0], counts[1], counts[2]
                );
                let limit = self.points(2.0);
                let good = if value > 0.0 {
                    format!("more steps of PGD are weaker by no more than chance allows, {limit:.1} points ({shown})")
                } else {
                    format!("more steps of PGD are no weaker ({shown})")
                };
                let bad = format!("more steps of PGD are weaker ({shown}): the gradient misleads the attack");
                check("more_steps", value, limit, &good, &bad)
            }),
        );

        let white = self.right(network, &apgd(eps, 2 * steps));
        let needed = || white.as_ref().map_err(|error| Error::new(error.message()));
        let pgd = || last.ok_or_else(|| Error::new("it is a comparison with PGD, which could not be run"));
        add("pgd_gap", needed().and_then(|white| Ok((white, pgd()?))).map(|(white, pgd)| {
            let (apgd, value) = (percent(white), pgd - percent(white));
            let good = if value > self.points(2.0) {
                format!("APGD leaves {apgd:.1} %, PGD {pgd:.1} % of {n} images: APGD is stronger, as it should be; quote it, or AutoAttack")
            } else {
                format!("APGD leaves {apgd:.1} %, PGD {pgd:.1} % of {n} images: the choice of the attack's loss and step matters little")
            };
            let bad = format!("APGD leaves {apgd:.1} %, PGD {pgd:.1} %: PGD is held back by the scale of the logits or by its step, so do not quote it alone");
            check("pgd_gap", value, self.points(15.0), &good, &bad)
        }));

        // Of the images that resist the white-box attacks, how many does a black-box attack break?
        let weaker = |name: &str, found: Result<Tensor>, good: &str, bad: &str| {
            found.and_then(|right| Ok((right, needed()?))).map(|(right, white)| {
                let value = percent(&white.logical_and(&right.logical_not()));
                let told = |text: &str| text.replace("{}", &format!("{value:.1}"));
                check(name, value, self.points(2.0), &told(good), &told(bad))
            })
        };
        let square = format!("{{ type: square, norm: {norm}, eps: {eps}, n_queries: {queries} }}");
        add(
            "black_box",
            weaker(
                "black_box",
                self.right(network, &square),
                "Square, which sees no gradient, breaks {} % that APGD does not: gradients are the better guide, as they should be",
                "Square, which sees no gradient, breaks {} % that APGD does not: the gradients are masked",
            ),
        );
        let transferred = match self.other {
            Some(other) => self.right(other, &apgd(eps, 2 * steps)),
            None => Err(Error::new("it needs another model (--transfer RUN)")),
        };
        add(
            "transfer",
            weaker(
                "transfer",
                transferred,
                "images made for another model break {} % that APGD on this one does not: seeing the model helps, as it should",
                "images made for another model break {} % that APGD on this one does not: its own gradients are masked",
            ),
        );
        checks
    }
}

fn not_run(name: &str, why: &str) -> TrustCheck {
    TrustCheck { name: name.into(), passed: None, value: 0.0, limit: 0.0, says: format!("not run: {why}") }
}
