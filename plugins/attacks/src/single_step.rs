//! Single-step attacks for training: FGSM from a random start, and from noise.

use crate::Start;
use crate::ball::check_radius;
use crate::pgd::{Keep, Pgd};
use foil::prelude::*;

/// FGSM from a random start (Wong, Rice, Kolter 2020, "Fast is better than free",
/// arXiv:2001.03994, Algorithm 3).
///
/// A uniform start in the ball and in [0, 1], one step of `alpha` along the sign of the gradient of
/// the cross-entropy, back into the ball and into [0, 1]. It is `pgd` with one step. The authors
/// train with eps 8/255, alpha 10/255, in train mode, and a cyclic learning rate. Watch an attack
/// of several steps: such training may collapse from one epoch to the next (catastrophic
/// overfitting), and then only single-step attacks fail.
#[settings]
pub struct FgsmRs {
    /// The ball's radius.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// The step; 1.25 times the radius in the paper.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub alpha: Scheduled,
    /// The model's mode during the attack.
    #[set(default = Mode::Train)]
    pub mode: Mode,
}

impl Config<dyn Attack> for FgsmRs {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let one_step = Pgd {
            objective: Component::named("ce")?,
            norm: Norm::Linf,
            eps: self.eps.clone(),
            alpha: self.alpha.clone(),
            steps: 1,
            start: Start::Uniform,
            start_eps: Option::None,
            restarts: 1,
            eot: 1,
            keep: Keep::Last,
            mode: self.mode,
            clip: true,
        };
        one_step.build(cx)
    }
}

/// FGSM from noise (de Jorge et al. 2022, "Make Some Noise", arXiv:2202.01181, Eq. 5).
///
/// x + eta, clamped to [0, 1], eta uniform in ±`noise` · eps; then one step of eps along the sign
/// of the gradient of the cross-entropy there, and [0, 1] again. Nothing is projected into the ball
/// around x, so images may lie up to (`noise` + 1) · eps away. For training only.
#[settings]
pub struct NFgsm {
    /// The radius that is trained for, and the step.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// The noise's radius, relative to eps: 2 in the paper on CIFAR.
    #[set(default = 2.0.into(), range = 0.0..)]
    pub noise: Scheduled,
    /// The model's mode during the attack.
    #[set(default = Mode::Train)]
    pub mode: Mode,
}

struct NFgsmAttack {
    config: NFgsm,
    objective: Box<dyn Objective>,
}

impl Config<dyn Attack> for NFgsm {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_radius(cx, "eps", &self.eps, Norm::Linf);
        let objective = cx.objective("objective", &Component::named("ce")?)?;
        Ok(Box::new(NFgsmAttack { config: self.clone(), objective }))
    }
}

impl Attack for NFgsmAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let (eps, noise) = (batch.now(&self.config.eps), batch.now(&self.config.noise));
        let start = batch.noise.given("start").unwrap_or_else(|| {
            let eta = (batch.uniform("eta") * 2.0 - 1.0) * (&eps * noise);
            (&batch.x + eta).clamp(0.0, 1.0)
        });
        target.iterate(&start);
        let reference = Reference { y: &batch.y, clean: Option::None };
        let gradient = target.ascend(&start, self.config.mode, self.objective.as_ref(), reference).gradient;
        let x = (start + gradient.sign() * eps).clamp(0.0, 1.0);
        target.iterate(&x);
        Ok(Adversarial::new(x))
    }

    fn soft_labels(&self) -> bool {
        self.objective.soft_labels()
    }

    fn mode(&self) -> Mode {
        self.config.mode
    }
}

register!(dyn Attack, "fgsm_rs", FgsmRs, "{ eps: 8/255, alpha: 10/255 }");
register!(dyn Attack, "n_fgsm", NFgsm, "{ eps: 8/255 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, attack_from_yaml};

    /// z = W x for two pixels and three classes.
    struct Three(Linear);

    impl Model for Three {
        fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
            self.0.forward(pass, &xs.flatten(1, -1))
        }
    }

    /// The attacked pixels of two images, with the `draw` in ±1 in place of the random one.
    fn attacked(yaml: &str, name: &str, draw: &Tensor) -> Tensor {
        let nn = Builder::default();
        let linear = Linear::zero(&nn, "fc", 2, 3);
        let network = Network::new(Box::new(Three(linear)), nn, Some(0), Kind::Double, tch::Device::Cpu);
        let weight = Tensor::from_slice2(&[[2.0, -1.0], [-1.0, 2.0], [0.0, 0.5]]);
        network.params().state_dict()[0].1.shallow_clone().copy_(&weight);
        let clock = Clock::new(1, 1, tch::Device::Cpu);
        let (y, index) = (Tensor::from_slice(&[0i64, 1]), Tensor::from_slice(&[0i64, 1]));
        let mut noise = nn::Noise::new(&Tensor::from(0i64), &index);
        noise.give(name, ((draw + 1.0) / 2.0).view([2, 1, 1, 2]));
        let x = Tensor::from_slice2(&[[0.6, 0.97], [0.3, 0.05]]).view([2, 1, 1, 2]);
        let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: Option::None };
        let target = Target::new(&network, &batch.noise);
        attack_from_yaml(yaml, Kind::Double).perturb(&target, &batch).unwrap().x.view([2, 2])
    }

    // W = torch.tensor([[2., -1], [-1, 2], [0, .5]]); x = torch.tensor([[.6, .97], [.3, .05]]);
    // y = torch.tensor([0, 1])
    // eta = torch.tensor([[-.17, .12], [.15, -.19]]); s = (x + eta).clamp(0, 1).requires_grad_()
    // g, = torch.autograd.grad(F.cross_entropy(s @ W.T, y), s); (s + .1 * g.sign()).clamp(0, 1)
    #[test]
    fn from_noise_equals_pytorch() {
        let eta = Tensor::from_slice2(&[[-0.17, 0.12], [0.15, -0.19]]);
        let found = attacked("{ type: n_fgsm, eps: 0.1 }", "eta", &(eta / 0.2));
        assert_close(&found, &Tensor::from_slice2(&[[0.33, 1.0], [0.55, 0.0]]), 1e-12);
    }

    // the same with the step .125 and what is left of x in the ball of .1:
    // d = (s + .125 * g.sign() - x).clamp(-.1, .1); (x + d).clamp(0, 1)
    #[test]
    fn from_a_random_start_equals_pytorch() {
        let start = Tensor::from_slice2(&[[0.68, 1.0], [0.21, 0.03]]);
        let found = attacked("{ type: fgsm_rs, eps: 0.1, alpha: 0.125 }", "start", &(start * 2.0 - 1.0));
        assert_close(&found, &Tensor::from_slice2(&[[0.555, 1.0], [0.335, 0.0]]), 1e-12);
    }
}
