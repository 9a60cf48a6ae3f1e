//! AN-PGD: the nearest boundary along an attack's direction, by bisection.

use foil::prelude::*;

/// MMA's adaptive-norm PGD (Ding et al. 2020, Algorithm 2): moves each correctly classified image
/// onto its decision boundary.
///
/// An image is correct where its soft logit margin (objective `slm`) is below 0 in the clean
/// train-mode pass; others stay clean. PGD on `slm` in eval mode, with radius e_i = max(e_min, the
/// distance found last time), step 2.5 · e_i / `steps` and a uniform start, gives the direction u =
/// (x' - x) / (e_i + 1e-12). Then `search_steps` bisections of [0, 1.05 · d_max], beginning at e_i,
/// look for the e where the prediction f(clamp(x + e · u, 0, 1)) changes. The training image is x +
/// e · u, which, as in the authors' code, is not clamped to [0, 1]. e_i is kept for the next
/// epoch, 0 for misclassified images. `mma.weight` is 0 for correct images with e_i >= d_max,
/// otherwise 1.
///
/// The authors' code puts only the correct images through AN-PGD. Here all images go through and
/// masks select; the result is the same. PGD treats each image by itself. The search runs in train
/// mode, in `search_steps` + 1 passes that move batch norm's running statistics, and takes the
/// statistics of the correct images alone; `search_statistics: batch` takes the whole batch's, and
/// with `search_mode: eval` images do not affect each other. If no image is correct, the statistics
/// do not move. It is an attack for training: it keeps distances by training image, so it cannot
/// evaluate a model. The paper tests with `pgd` on `slm`.
#[settings]
pub struct AnPgd {
    /// Images farther than this from the boundary count as robust. 12/255, 20/255 or 32/255 on
    /// CIFAR, 0.45 on MNIST.
    #[set(unit = "image", above = 0.0, range = ..=1.0)]
    pub d_max: Scheduled,
    /// The smallest radius of PGD, and the first one. 0.005 on CIFAR, 0.1 on MNIST.
    #[set(default = 0.005.into(), unit = "image", above = 0.0, range = ..=1.0)]
    pub e_min: Scheduled,
    /// PGD steps. 10 on CIFAR, 40 on MNIST.
    #[set(default = 10, range = 1..=100_000)]
    pub steps: u32,
    /// Bisections.
    #[set(default = 10, range = 0..=100)]
    pub search_steps: u32,
    /// The model's mode during the search: `train` as in the authors' code, or `eval`.
    #[set(default = Mode::Train)]
    pub search_mode: Mode,
    /// Whose statistics batch norm takes in a search in train mode.
    #[set(default = Statistics::Correct)]
    pub search_statistics: Statistics,
}

/// Images whose statistics batch norm takes.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Statistics {
    /// The correct images, as in the authors' code.
    Correct,
    /// The whole batch, which foil's CUDA kernels compute faster.
    Batch,
}

struct AnPgdAttack {
    config: AnPgd,
    /// The distance found last for each training image, `[train]`.
    radii: Tensor,
}

impl Config<dyn Attack> for AnPgd {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(AnPgdAttack { config: self.clone(), radii: Tensor::zeros([cx.data.train], (cx.kind, cx.device)) }))
    }
}

impl AnPgdAttack {
    /// The direction to the boundary, `[N, C, H, W]`, from PGD in a ball of `radii` `[N]`, and the
    /// point it ended at.
    fn direction(&self, target: &Target, batch: &Batch, radii: &Tensor) -> (Tensor, Tensor) {
        let eps = radii.view([-1, 1, 1, 1]);
        let alpha = &eps * 2.5 / f64::from(self.config.steps);
        let ball = Box01::new(&batch.x, &eps, true);
        let start = || (&batch.x + (batch.uniform("start") * 2.0 - 1.0) * &eps).clamp(0.0, 1.0);
        let mut x = batch.noise.given("start").unwrap_or_else(start);
        target.iterate(&x);
        for _ in 0..self.config.steps {
            let margin = |logits: &Tensor| terms::soft_logit_margin(logits, &batch.y);
            let gradient = target.gradient(&x, Mode::Eval, &margin).gradient;
            x = ball.ascend(&x, &gradient, &alpha);
            target.iterate(&x);
        }
        ((&x - &batch.x) / (eps + 1e-12), x)
    }

    /// The distance to the boundary along `direction`, `[N]`, by bisection from the point `x` at
    /// distance `radii`.
    fn search(&self, target: &Target, batch: &Batch, direction: &Tensor, x: &Tensor, radii: &Tensor) -> Tensor {
        let mode = self.config.search_mode;
        let margin = |x: &Tensor| terms::soft_logit_margin(&target.logits(x, mode), &batch.y);
        let mut low = radii.zeros_like();
        let mut high = &low + batch.now(&self.config.d_max) * 1.05;
        let mut distance = radii.shallow_clone();
        let mut inside = margin(x).lt(0.0);
        for _ in 0..self.config.search_steps {
            low = distance.where_self(&inside, &low);
            high = high.where_self(&inside, &high.minimum(&distance));
            distance = (&low + &high) / 2.0;
            // The last look decides nothing, but in train mode it moves the running statistics, as
            // in the authors' code.
            inside = margin(&(&batch.x + distance.view([-1, 1, 1, 1]) * direction).clamp(0.0, 1.0)).lt(0.0);
        }
        distance
    }
}

impl Attack for AnPgdAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let clean = batch.clean_logits.as_ref().ok_or_else(|| {
            Error::new("it was given no logits of the clean images")
                .help("use it with a loss that makes them, such as `mma`")
        })?;
        let correct = terms::soft_logit_margin(clean, &batch.y).lt(0.0);
        let radii = self.radii.index_select(0, &batch.index).maximum(&batch.now(&self.config.e_min));
        let radii = radii.to_kind(batch.x.kind());
        let (direction, x) = self.direction(target, batch, &radii);
        let distance = match self.config.search_statistics {
            Statistics::Correct => self.search(&target.selecting(&correct), batch, &direction, &x, &radii),
            Statistics::Batch => self.search(target, batch, &direction, &x, &radii),
        };

        let moved = &batch.x + distance.view([-1, 1, 1, 1]) * direction;
        let far = distance.ge_tensor(&batch.now(&self.config.d_max)).logical_and(&correct);
        let found = &distance * correct.to_kind(distance.kind());
        let _ = self.radii.index_copy_(0, &batch.index, &found.to_kind(self.radii.kind()));
        Ok(Adversarial::new(moved.where_self(&correct.view([-1, 1, 1, 1]), &batch.x))
            .with("mma.weight", far.logical_not().to_kind(distance.kind()))
            .with("mma.distance", found))
    }

    /// Train mode, whatever the search's: with distances kept by training image it cannot evaluate.
    fn mode(&self) -> Mode {
        Mode::Train
    }

    fn provides(&self) -> Vec<&'static str> {
        vec!["mma.weight", "mma.distance"]
    }

    fn needs_clean_logits(&self) -> bool {
        true
    }

    fn learning(&self) -> Option<&dyn Learning> {
        Some(self)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        Some(self)
    }
}

impl Learning for AnPgdAttack {
    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("radius".to_string(), self.radii.shallow_clone())]
    }

    fn per_image(&self) -> Vec<String> {
        vec!["radius".to_string()]
    }
}

register!(dyn Attack, "an_pgd", AnPgd, "{ d_max: 32/255, e_min: 0.005, steps: 10 }");

#[cfg(test)]
mod tests;
