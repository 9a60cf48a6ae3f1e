//! An objective, a scheduler, a model and an optimiser that panic.

use super::here;
use foil::prelude::*;
use foil::scheduler::Clock;

/// Cross-entropy that panics.
#[settings]
pub struct PanickingObjective {
    /// `value`, `needs_clean` or `least_classes`.
    #[set(default = "")]
    pub at: String,
}

impl Objective for PanickingObjective {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        here("value", &self.at);
        terms::cross_entropy(logits, reference.y)
    }
    fn needs_clean(&self) -> bool {
        here("needs_clean", &self.at);
        false
    }
    fn least_classes(&self) -> i64 {
        here("least_classes", &self.at);
        2
    }
}

register!(dyn Objective, "panicking_objective", PanickingObjective, "{}");

/// A number that panics from some step on.
#[settings]
pub struct PanickingScheduler {
    /// `check` or `value`.
    #[set(default = "")]
    pub at: String,
    /// The number.
    #[set(default = 0.1)]
    pub start: f64,
    /// The first step at which it panics.
    #[set(default = 0)]
    pub step: u64,
}

impl Scheduler for PanickingScheduler {
    fn value(&self, progress: &Progress) -> f64 {
        if progress.step >= self.step {
            here("value", &self.at);
        }
        self.start
    }
    fn check(&self, _: &Build) {
        here("check", &self.at);
    }
}

register!(dyn Scheduler, "panicking_scheduler", PanickingScheduler, "{}");

/// One linear layer that panics.
#[settings]
pub struct PanickingModel {
    /// `build`, `forward`, `input_gradient` or `is_mask`.
    #[set(default = "")]
    pub at: String,
}

struct Net(PanickingModel, Linear);

impl Config<dyn Model> for PanickingModel {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        here("build", &self.at);
        let pixels = cx.inputs() * cx.data.height * cx.data.width;
        Ok(Box::new(Net(self.clone(), Linear::new(cx.builder(), "fc", pixels, cx.data.classes))))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        here("forward", &self.0.at);
        self.1.forward(pass, &xs.flatten(1, -1))
    }
    fn input_gradient(&self, _: &Pass, _: &Tensor, _: &dyn Fn(&Tensor) -> Tensor) -> Option<(Tensor, Tensor)> {
        here("input_gradient", &self.0.at);
        None
    }
    fn is_mask(&self) -> bool {
        here("is_mask", &self.0.at);
        false
    }
}

register!(dyn Model, "panicking_model", PanickingModel, "{}");

/// Plain gradient descent that panics.
#[settings]
pub struct PanickingOptimizer {
    /// `prepare`, `update`, `learning_rate` or `state`.
    #[set(default = "")]
    pub at: String,
    /// Learning rate.
    #[set(default = 0.1.into())]
    pub lr: Scheduled,
}

impl Config<dyn Optimizer> for PanickingOptimizer {
    fn build(&self, _: &Build) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(Descent(self.clone())))
    }
}

struct Descent(PanickingOptimizer);

impl Optimizer for Descent {
    fn prepare(&mut self, _: &Tensor, _: &[Span]) {
        here("prepare", &self.0.at);
    }
    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock) {
        here("update", &self.0.at);
        let _ = values.shallow_clone().g_sub_(&(gradient * self.0.lr.at(clock)));
    }
    fn learning_rate(&self, progress: &Progress) -> f64 {
        here("learning_rate", &self.0.at);
        self.0.lr.value(progress)
    }
    fn state(&self) -> Vec<(String, Tensor)> {
        here("state", &self.0.at);
        Vec::new()
    }
}

register!(dyn Optimizer, "panicking_optimizer", PanickingOptimizer, "{}");
