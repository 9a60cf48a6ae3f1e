//! Training on a problem, by one objective or the other.

use super::Problem;
use super::oracle::{OracleLoss, OraclePgd};
use crate::attack::{Attack, Batch, Target};
use crate::engine::{Learner, Network, Normalize, Step};
use crate::loss::Loss;
use crate::model::Model;
use crate::nn::{Mode, Noise, key_of, name_key, permutation};
use crate::optim::Optimizer;
use crate::registry::{Build, Component, DataFacts};
use crate::scheduler::Clock;
use crate::{Error, Result};
use serde_json::json;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// What is descended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The worst loss in the ball with the class of x: E max CE(f(x'), y), by foil's `pgd` and `at`.
    Eq7,
    /// The worst loss in the ball with the oracle's class there: E max CE(f(x'), oracle(x')).
    Eq17,
}

/// A trained network and the points it was trained on.
#[derive(Debug)]
pub struct Trained {
    step: Step,
    seed: u64,
    problem: Problem,
    /// Training points `[n, 2]`.
    pub points: Tensor,
}

const POINTS: i64 = 4000;
const BATCH: i64 = 200;
const STEPS: u32 = 10;

impl Objective {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Eq7 => "Eq. 7",
            Objective::Eq17 => "Eq. 17",
        }
    }
}

/// Trains a perceptron of two hidden layers for `epochs` passes over 4,000 points.
///
/// # Errors
/// When a plugin that it takes (`mlp`, `adam`, `pgd`, `at`) is not in this program.
pub fn train(problem: Problem, objective: Objective, epochs: u64, seed: u64) -> Result<Trained> {
    let points = problem.sample(POINTS, seed, "train");
    let n = points.size()[0];
    let (images, labels) = (points.view([-1, 1, 1, 2]), problem.oracle(&points));
    let mut step = step(problem, objective, epochs, seed, n)?;
    let batches = (n as u64).div_ceil(BATCH as u64);
    let clock = Clock::new(epochs, batches, Device::Cpu);
    for epoch in 0..epochs {
        let order = permutation(&[seed, name_key("shuffle"), epoch], n, Device::Cpu);
        let key = Tensor::from(key_of(&[seed, name_key("train"), epoch]));
        for (number, rows) in order.split(BATCH, 0).iter().enumerate() {
            clock.set(epoch, number as u64);
            let (x, y) = (images.index_select(0, rows), labels.index_select(0, rows));
            let noise = Noise::new(&key, rows);
            step.run(&mut Batch { x, y, index: rows.shallow_clone(), noise, clock: &clock, clean_logits: None })?;
        }
    }
    Ok(Trained { step, seed, problem, points })
}

fn step(problem: Problem, objective: Objective, epochs: u64, seed: u64, n: i64) -> Result<Step> {
    let problems = RefCell::default();
    let data = DataFacts { channels: 1, height: 1, width: 2, classes: 2, train: n };
    let cx = Build::new(data, seed, Kind::Float, Device::Cpu, &problems);
    let alpha = 0.25 * problem.eps();
    let parts = || {
        let network = cx.network("model", &part::<dyn Model>(json!({ "type": "mlp", "hidden": [96, 96] })).ok()?, 1)?;
        let rate =
            json!({ "type": "multistep", "start": 0.005, "milestones": [0.75 * epochs as f64, 0.9 * epochs as f64] });
        let optimizer =
            cx.component("optimizer", &part::<dyn Optimizer>(json!({ "type": "adam", "lr": rate })).ok()?)?;
        let (attack, loss): (Box<dyn Attack>, Box<dyn Loss>) = match objective {
            Objective::Eq7 => {
                let pgd = json!({ "type": "pgd", "eps": problem.eps(), "alpha": alpha, "steps": STEPS });
                let attack = cx.component("attack", &part(pgd).ok()?)?;
                (attack, cx.component("loss", &part(json!({ "type": "at", "log_clean": false })).ok()?)?)
            }
            Objective::Eq17 => (Box::new(OraclePgd { problem, alpha, steps: STEPS }), Box::new(OracleLoss)),
        };
        Some((network.normalized(&Normalize::given(vec![0.5], vec![0.29]), &[], &[]), optimizer, attack, loss))
    };
    let (network, optimizer, attack, loss) = parts().ok_or_else(|| {
        let found = problems.borrow().first().map_or_else(String::new, |problem| format!(": {}", problem.message));
        Error::new(format!("this program lacks what the two-dimensional problems are trained with{found}"))
            .help("they take the plugins mlp, adam, multistep, pgd and at")
    })?;
    Ok(Step { model: Learner::new(network, optimizer), attack, loss, names: ["pgd", objective.name()] })
}

fn part<T: crate::registry::Kind + ?Sized>(settings: serde_json::Value) -> Result<Component<T>> {
    serde_json::from_value(settings).map_err(Error::of)
}

impl Trained {
    /// The network.
    pub fn network(&self) -> &Network {
        self.step.model.network()
    }

    /// f(x) as one number `[n]` for points `[n, 2]`: the logit of class 1 less that of class 0.
    pub fn score(&self, points: &Tensor) -> Tensor {
        let logits = tch::no_grad(|| self.network().frozen(&points.reshape([-1, 1, 1, 2]), Mode::Eval, None));
        logits.select(1, 1) - logits.select(1, 0)
    }

    /// What training's attack makes of the first `n` training points now, `[n, 2]`, and the class that is asked for
    /// there, `[n]`.
    ///
    /// # Errors
    /// What the attack reports.
    pub fn attacked(&mut self, n: i64) -> Result<(Tensor, Tensor)> {
        let points = self.points.narrow(0, 0, n.min(self.points.size()[0]));
        let index = Tensor::arange(points.size()[0], (Kind::Int64, Device::Cpu));
        let y = self.problem.oracle(&points);
        let noise = Noise::new(&self.problem.key(self.seed, "picture"), &index);
        let clock = Clock::new(1, 1, Device::Cpu);
        let x = points.view([-1, 1, 1, 2]);
        let batch = Batch { x, y: y.shallow_clone(), index, noise, clock: &clock, clean_logits: None };
        let target = Target::new(self.step.model.network(), &batch.noise);
        let made = self.step.attack.perturb(&target, &batch)?;
        let asked = made.side.into_values().next().unwrap_or(y);
        Ok((made.x.view([-1, 2]), asked))
    }
}
