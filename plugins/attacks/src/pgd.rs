//! PGD: steps along the gradient, each projected back into the ball and into [0, 1].
//!
//! Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
//! arXiv:1706.06083. x' = P(x' + alpha · sign(gradient)) for Linf; for L2 the gradient is divided
//! by its norm and P scales delta into the ball.

use crate::ball::{Ball, Geometry, check_radius, refuse_l1};
use foil::prelude::*;

/// Where an attack starts.
#[settings]
pub enum Start {
    /// Uniform in the ball (L2: a uniform direction at a uniform radius, as in robust_overfitting),
    /// clamped to [0, 1].
    Uniform,
    /// x + 0.001 · N(0, 1), not clamped before the first step: TRADES, MART.
    Gaussian,
    /// The image itself.
    None,
}

/// Which point an attack returns.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Keep {
    /// The last one.
    Last,
    /// The one with the largest cross-entropy among the restarts' last points; costs a forward
    /// pass each. robust_overfitting and CAT make it with one restart too: the pass moves the
    /// running statistics. Where the update's pass computes the same statistics next, as with AT,
    /// the pass is skipped and the update's counts twice.
    Worst,
}

/// Projected gradient descent (Madry et al. 2018, arXiv:1706.06083).
///
/// `steps` times: x' = P(x' + alpha · sign(gradient of the objective)), where P projects into the
/// ball of radius eps around x and then into [0, 1]. For L2 the step is alpha ·
/// gradient/‖gradient‖.
#[settings]
pub struct Pgd {
    /// The objective to maximise.
    #[set(default = Component::named("ce").expect("`ce` is registered beside `pgd`"))]
    pub objective: Component<dyn Objective>,
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The ball's radius. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Step size.
    #[set(unit = "image", range = 0.0..)]
    pub alpha: Scheduled,
    /// Number of steps. With 0 the attack is its random start.
    #[set(default = 10, range = 0..=100_000)]
    pub steps: u32,
    /// Where it starts.
    #[set(default = Start::Uniform)]
    pub start: Start,
    /// Radius of a uniform start, if it is not eps (CAT's MNIST code starts in 0.1).
    #[set(unit = "image", range = 0.0..)]
    pub start_eps: Option<Scheduled>,
    /// Independent tries.
    #[set(default = 1, range = 1..=1000)]
    pub restarts: u32,
    /// Passes that each gradient is the mean of (expectation over transformation), for a network
    /// that draws random numbers when it is evaluated; AutoAttack's `rand` takes 20.
    #[set(default = 1, range = 1..=10_000)]
    pub eot: u32,
    /// Which point is returned; several restarts always keep the worst.
    #[set(default = Keep::Last)]
    pub keep: Keep,
    /// The model's mode during the attack: `train` in robust_overfitting and CAT, `eval` in TRADES,
    /// MART, FAT and every evaluation.
    #[set(default = Mode::Eval)]
    pub mode: Mode,
    /// Whether points are kept in [0, 1]. CAT's MNIST code does not, which is a different threat
    /// model.
    #[set(default = true)]
    pub clip: bool,
}

struct PgdAttack {
    config: Pgd,
    objective: Box<dyn Objective>,
}

impl Config<dyn Attack> for Pgd {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        refuse_l1(cx, self.norm);
        check_radius(cx, "eps", &self.eps, self.norm);
        check_radius(cx, "alpha", &self.alpha, self.norm);
        let objective = cx.objective("objective", &self.objective)?;
        Ok(Box::new(PgdAttack { config: self.clone(), objective }))
    }
}

impl PgdAttack {
    fn start(&self, batch: &Batch, eps: &Tensor, name: &str) -> Tensor {
        if let Some(given) = batch.noise.given(name) {
            return given;
        }
        let radius = self.config.start_eps.as_ref().map_or_else(|| eps.shallow_clone(), |r| batch.now(r));
        let moved = match (&self.config.start, self.config.norm) {
            (Start::None, _) => return batch.x.shallow_clone(),
            (Start::Gaussian, _) => return &batch.x + batch.normal(name) * 0.001,
            (Start::Uniform, Norm::Linf) => (batch.uniform(name) * 2.0 - 1.0) * radius,
            (Start::Uniform, Norm::L2 | Norm::L1) => {
                let length = batch.noise.uniform(&format!("{name}.length"), &[1, 1, 1], batch.x.kind()) * radius;
                self.config.norm.random(batch, name) * length
            }
        };
        let x = &batch.x + moved;
        if self.config.clip { x.clamp(0.0, 1.0) } else { x }
    }
}

impl Attack for PgdAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let (mode, target) = (self.mode(), &target.averaging(self.config.eot));
        let (eps, alpha) = (batch.now(&self.config.eps), batch.now(&self.config.alpha));
        let clean = target.clean_logits(self.objective.as_ref(), &batch.x, mode)?;
        let reference = Reference { y: &batch.y, clean: clean.as_ref() };
        let pick = self.config.restarts > 1 || self.config.keep == Keep::Worst;
        let ball = Ball::new(self.config.norm, &batch.x, &eps, self.config.clip);
        let mut worst: Option<(Tensor, Tensor)> = None;
        for restart in 0..self.config.restarts {
            let name = if restart == 0 { "start".to_string() } else { format!("start.{restart}") };
            let mut x = self.start(batch, &eps, &name);
            target.iterate(&x);
            for _ in 0..self.config.steps {
                let gradient = target.ascend(&x, mode, self.objective.as_ref(), reference).gradient;
                x = ball.ascend(&x, &gradient, &alpha);
                target.iterate(&x);
            }
            // A Gaussian start is not clamped by itself.
            if self.config.steps == 0 {
                x = ball.project(&x);
            }
            if !pick || (target.skips_last_pass() && self.ends_with_train_pass()) {
                return Ok(Adversarial::new(x));
            }
            let loss = terms::cross_entropy(&target.logits(&x, mode), &batch.y);
            worst = Some(match worst {
                None => (loss, x),
                Some((best_loss, best)) => {
                    let better = loss.ge_tensor(&best_loss);
                    (loss.where_self(&better, &best_loss), x.where_self(&better.view([-1, 1, 1, 1]), &best))
                }
            });
        }
        worst.map(|(_, x)| Adversarial::new(x)).ok_or_else(|| Error::new("`restarts` is 0"))
    }

    fn ends_with_train_pass(&self) -> bool {
        self.config.mode == Mode::Train && self.config.keep == Keep::Worst && self.config.restarts == 1
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(self.config.norm, &self.config.eps)
    }

    fn soft_labels(&self) -> bool {
        self.objective.soft_labels()
    }

    fn mode(&self) -> Mode {
        self.config.mode
    }

    fn networks(&self) -> Vec<String> {
        self.objective.network().into_iter().collect()
    }
}

register!(dyn Attack, "pgd", Pgd, "{ eps: 8/255, alpha: 2/255, steps: 10 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::engine::Network;
    use foil::testing::{assert_close, attack_from_yaml};

    /// z = (0, w · x) for two pixels, so that with label 0 the cross-entropy grows along w = (4,
    /// -3).
    struct Line(Linear);

    impl Model for Line {
        fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
            self.0.forward(pass, &xs.flatten(1, -1))
        }
    }

    /// The attacked pixels of the image (0.5, 0.05) with label 0.
    fn attacked(yaml: &str) -> Tensor {
        let nn = Builder::default();
        let network =
            Network::new(Box::new(Line(Linear::zero(&nn, "fc", 2, 2))), nn, Some(0), Kind::Double, tch::Device::Cpu);
        network.params().state_dict()[0].1.get(1).copy_(&Tensor::from_slice(&[4.0, -3.0]));
        let clock = foil::scheduler::Clock::new(1, 1, tch::Device::Cpu);
        let zero = || Tensor::from_slice(&[0i64]);
        let batch = Batch {
            x: Tensor::from_slice(&[0.5, 0.05]).view([1, 1, 1, 2]),
            y: zero(),
            index: zero(),
            noise: nn::Noise::new(&zero(), &zero()),
            clock: &clock,
            clean_logits: Option::None,
        };
        attack_from_yaml(yaml, Kind::Double).perturb(&Target::new(&network, &batch.noise), &batch).unwrap().x.view(-1)
    }

    // The sign of the gradient is (1, -1), its direction (0.8, -0.6); the second pixel stops at 0.
    #[test]
    fn two_pixels_by_hand() {
        let check =
            |yaml: &str, expected: [f64; 2]| assert_close(&attacked(yaml), &Tensor::from_slice(&expected), 1e-12);
        check("{ type: pgd, eps: 0.3, alpha: 0.04, steps: 1, start: none }", [0.54, 0.01]);
        check("{ type: pgd, eps: 0.3, alpha: 0.04, steps: 5, start: none }", [0.7, 0.0]);
        check("{ type: pgd, eps: 0.1, alpha: 0.04, steps: 5, start: none }", [0.6, 0.0]);
        check("{ type: pgd, eps: 0.1, alpha: 0.04, steps: 5, start: none, clip: false }", [0.6, -0.05]);
        check("{ type: pgd, norm: L2, eps: 1, alpha: 0.05, steps: 1, start: none }", [0.54, 0.02]);
        check("{ type: pgd, norm: L2, eps: 0.05, alpha: 0.5, steps: 1, start: none }", [0.54, 0.02]);
        check("{ type: fgsm, eps: 0.02 }", [0.52, 0.03]);
        check("{ type: fgsm, eps: 0.2 }", [0.7, 0.0]);
    }

    #[test]
    fn radii_on_the_scale_of_bytes_are_refused() {
        for yaml in ["{ type: pgd, eps: 8, alpha: 0.1 }", "{ type: pgd, eps: 0.1, alpha: 2 }", "{ type: fgsm, eps: 8 }"]
        {
            let refused = std::panic::catch_unwind(|| attack_from_yaml(yaml, Kind::Float)).err().unwrap();
            let message = refused.downcast_ref::<String>().unwrap();
            assert!(message.contains("but images are scaled to [0, 1]"), "{message}");
        }
        attack_from_yaml("{ type: pgd, norm: L2, eps: 2, alpha: 0.5 }", Kind::Float);
    }
}
