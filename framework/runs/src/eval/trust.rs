//! Whether accuracies under attack can be trusted: signs of masked gradients, checked on a few
//! images.
//!
//! After AutoAttack's flags (Croce & Hein 2020) and the list of Carlini et al., "On Evaluating
//! Adversarial Robustness", 2019, arXiv:1902.06705, section 5; and Athalye et al. 2018,
//! arXiv:1802.00420, section 3.

mod under_threat;

use under_threat::UnderThreat;

use super::percent;
use crate::record::{Threat, TrustCheck};
use foil::attack::{Attack, Batch, Target};
use foil::engine::Network;
use foil::guard;
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
            let mut found = UnderThreat::of(self, threat).checks();
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
}

fn not_run(name: &str, why: &str) -> TrustCheck {
    TrustCheck { name: name.into(), passed: None, value: 0.0, limit: 0.0, says: format!("not run: {why}") }
}
