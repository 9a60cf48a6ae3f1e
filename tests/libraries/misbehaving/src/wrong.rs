//! Plugins that do what their trait forbids, each in its own way, for `foil check` to find.

use foil::attack::Learning;
use foil::prelude::*;

/// Cross-entropy of the attacked images, returned wrongly.
#[settings]
pub struct WrongLoss {
    /// `detached`, `not_scalar`, `whole`, `part`, `infinite`, `constant`, `writes`, `random`,
    /// `error`, `gradient`, `feature` or `torch`.
    #[set(default = "")]
    pub how: String,
}

impl Loss for WrongLoss {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }
    fn features(&self) -> Vec<(Forward, &'static str)> {
        if self.how == "feature" { vec![(Forward::Clean, "penultimate")] } else { Vec::new() }
    }
    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let logits = input.adversarial()?;
        let each = terms::cross_entropy(logits, input.y());
        let mean = each.mean(None::<Kind>);
        let zero = (logits * 0.0).sum(None::<Kind>);
        Ok(LossOutput::new(match self.how.as_str() {
            "detached" => mean.detach(),
            "not_scalar" => each,
            "whole" => mean.to_kind(Kind::Int64),
            "part" => return Ok(LossOutput::new(&mean + zero.log()).part("robust", &mean).part("bound", &zero.log())),
            "infinite" => mean - zero.log(),
            "constant" => Tensor::from(1f32).set_requires_grad(true) * 2.0,
            "writes" => {
                let _ = tch::no_grad(|| input.clean().map(|z| z.shallow_clone().g_mul_scalar_(2.0)))?;
                mean
            }
            "random" => mean * (1.0 + Tensor::rand([] as [i64; 0], (Kind::Float, tch::Device::Cpu))),
            "error" => return Err(Error::new("there is nothing to compare").help("compare something")),
            "gradient" => mean + zero.sqrt(),
            "torch" => mean + (logits + Tensor::from_slice(&[1f32; 7])).sum(None::<Kind>),
            _ => mean,
        }))
    }
}

register!(dyn Loss, "wrong_loss", WrongLoss, "{}");

/// One linear layer that returns its logits wrongly.
#[settings]
pub struct WrongModel {
    /// `classes`, `shape`, `double`, `nan`, `twice`, `given`, `random`, `writes`, `detached` or
    /// `flat`.
    #[set(default = "")]
    pub how: String,
}

struct WrongNet {
    how: String,
    fc: Linear,
    given: Option<nn::GivenParameter>,
}

impl Config<dyn Model> for WrongModel {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let pixels = cx.inputs() * cx.data.height * cx.data.width;
        let classes = cx.data.classes - i64::from(self.how == "classes");
        let fc = Linear::new(cx.builder(), "fc", pixels, classes);
        if self.how == "twice" {
            let _ = Linear::new(cx.builder(), "fc", classes, classes);
        }
        let random = || Tensor::randn([classes], (Kind::Float, cx.device));
        let given = (self.how == "given").then(|| cx.builder().given("scale", &random(), true));
        let given = given.and_then(|given| if let nn::Given::Parameter(id) = given { Some(id) } else { None });
        Ok(Box::new(WrongNet { how: self.how.clone(), fc, given }))
    }
}

impl Model for WrongNet {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        if self.how == "writes" {
            let _ = tch::no_grad(|| xs.shallow_clone().g_mul_scalar_(0.5));
        }
        let logits = self.fc.forward(pass, &xs.flatten(1, -1));
        match self.how.as_str() {
            "shape" => logits.unsqueeze(1),
            "double" => logits.to_kind(Kind::Double),
            "nan" => (&logits * 0.0).log() - f64::INFINITY * 0.0,
            "random" => &logits + Tensor::rand_like(&logits),
            "detached" => logits.detach(),
            "flat" => self.fc.forward(pass, &xs.round().detach().flatten(1, -1)),
            _ => match self.given {
                Some(id) => logits * pass.parameter(id),
                None => logits,
            },
        }
    }
}

register!(dyn Model, "wrong_model", WrongModel, "{}");

/// The images as they are, returned wrongly.
#[settings]
pub struct WrongAttack {
    /// `shape`, `double`, `nan`, `side`, `random`, `writes`, `late` or `gradient`.
    #[set(default = "")]
    pub how: String,
}

struct Wrong(String);

impl Config<dyn Attack> for WrongAttack {
    fn build(&self, _: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(Wrong(self.how.clone())))
    }
}

impl Attack for Wrong {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let x = &batch.x;
        Ok(Adversarial::new(match self.0.as_str() {
            "shape" => x.flatten(1, -1),
            "double" => x.to_kind(Kind::Double),
            "nan" => x / 0.0 * 0.0,
            "random" => x + Tensor::rand_like(x) * 0.01,
            "writes" => x.shallow_clone().g_add_scalar_(0.1),
            "gradient" => {
                x + target.gradient(x, Mode::Eval, &|z| terms::cross_entropy(z, &batch.y)).gradient.sign() * 0.01
            }
            _ => x.shallow_clone(),
        }))
    }
    fn mode(&self) -> Mode {
        Mode::Eval
    }
    fn provides(&self) -> Vec<&'static str> {
        if self.0 == "side" { vec!["weight"] } else { Vec::new() }
    }
    fn learning(&self) -> Option<&dyn Learning> {
        if self.0 == "late" { Some(self) } else { None }
    }
    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        if self.0 == "late" { Some(self) } else { None }
    }
}

impl Learning for Wrong {
    fn after_update(&mut self, _: &Target, batch: &Batch, _: &Adversarial) -> Result<Vec<(&'static str, Tensor)>> {
        let _ = batch.x.shallow_clone().g_add_scalar_(0.1);
        Ok(Vec::new())
    }
}

register!(dyn Attack, "wrong_attack", WrongAttack, "{}");

/// Plain gradient descent that follows other numbers.
#[settings]
pub struct WrongOptimizer {
    /// `random` or `nan`.
    #[set(default = "")]
    pub how: String,
}

impl Config<dyn Optimizer> for WrongOptimizer {
    fn build(&self, _: &Build) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(WrongDescent(self.how.clone())))
    }
}

struct WrongDescent(String);

impl Optimizer for WrongDescent {
    fn prepare(&mut self, _: &Tensor, _: &[Span]) {}
    fn update(&mut self, values: &Tensor, gradient: &Tensor, _: &Clock) {
        let step = match self.0.as_str() {
            "random" => gradient * Tensor::rand_like(gradient),
            "nan" => gradient / 0.0,
            _ => gradient * 0.1,
        };
        let _ = values.shallow_clone().g_sub_(&step);
    }
    fn learning_rate(&self, _: &Progress) -> f64 {
        0.1
    }
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }
}

register!(dyn Optimizer, "wrong_optimizer", WrongOptimizer, "{}");
