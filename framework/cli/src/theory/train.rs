//! Training by one of the objectives.

use super::constrained::Constrained;
use super::objective::{Both, Objective};
use super::{Oracle, Problem};
use foil::attack::{Attack, Batch, Target};
use foil::engine::{Learner, Network, Normalize, Step};
use foil::loss::Loss;
use foil::model::Model;
use foil::nn::{Mode, Noise, key_of, name_key, permutation};
use foil::optim::Optimizer;
use foil::registry::{Build, Component, DataFacts};
use foil::scheduler::Clock;
use foil::{Error, Result};
use serde_json::json;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// What a network is trained on.
#[derive(Debug)]
pub struct Task {
    /// Who knows the class.
    pub oracle: Oracle,
    /// The ball's radius within Linf, in units of the square.
    pub eps: f64,
    /// Training points `[n, 2]`.
    pub points: Tensor,
}

/// A trained network.
#[derive(Debug)]
pub struct Trained {
    step: Step,
    seed: u64,
    /// What it was trained on.
    pub task: Task,
}

const BATCH: i64 = 200;
const ATTACK_STEPS: u32 = 8;

impl Task {
    /// `n` training points of a problem.
    pub fn of(problem: Problem, n: i64, seed: u64) -> Task {
        Task { oracle: problem.oracle(), eps: problem.eps(), points: problem.sample(n, seed, "train") }
    }
}

/// Trains a perceptron of two hidden layers for `epochs` passes over the points, in batches of 200.
///
/// # Errors
/// When a plugin that it takes (`mlp`, `adam`, `multistep`, `pgd`, `at`) is not in this program.
pub fn train(task: Task, objective: Objective, epochs: u64, seed: u64) -> Result<Trained> {
    let n = task.points.size()[0];
    let (images, labels) = (task.points.view([-1, 1, 1, 2]), task.oracle.label(&task.points));
    let mut step = step(&task, objective, epochs, seed)?;
    let clock = Clock::new(epochs, (n as u64).div_ceil(BATCH as u64), Device::Cpu);
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
    Ok(Trained { step, seed, task })
}

fn step(task: &Task, objective: Objective, epochs: u64, seed: u64) -> Result<Step> {
    let problems = RefCell::default();
    let data = DataFacts { channels: 1, height: 1, width: 2, classes: 2, train: task.points.size()[0] };
    let cx = Build::new(data, seed, Kind::Float, Device::Cpu, &problems);
    let (oracle, eps, alpha) = (task.oracle, task.eps, 0.25 * task.eps);
    let parts = || {
        let network = cx.network("model", &part::<dyn Model>(json!({ "type": "mlp", "hidden": [64, 64] })).ok()?, 1)?;
        let rate =
            json!({ "type": "multistep", "start": 0.01, "milestones": [0.6 * epochs as f64, 0.85 * epochs as f64] });
        let optimizer =
            cx.component("optimizer", &part::<dyn Optimizer>(json!({ "type": "adam", "lr": rate })).ok()?)?;
        let pgd = || {
            let pgd = json!({ "type": "pgd", "eps": eps, "alpha": alpha, "steps": ATTACK_STEPS });
            cx.component::<dyn Attack>("attack", &part(pgd).ok()?)
        };
        let (attack, loss): (Box<dyn Attack>, Box<dyn Loss>) = match objective {
            Objective::Eq1 => (pgd()?, cx.component("loss", &part(json!({ "type": "at", "log_clean": false })).ok()?)?),
            Objective::Eq17 => (pgd()?, Box::new(Both)),
            Objective::Eq7 => (Box::new(Constrained { oracle, eps, alpha, steps: ATTACK_STEPS }), Box::new(Both)),
        };
        Some((network.normalized(&Normalize::given(vec![0.5], vec![0.29]), &[], &[]), optimizer, attack, loss))
    };
    let (network, optimizer, attack, loss) = parts().ok_or_else(|| {
        let found = problems.borrow().first().map_or_else(String::new, |problem| format!(": {}", problem.message));
        Error::new(format!("this program lacks what the two-dimensional problems are trained with{found}"))
            .help("they take the plugins mlp, adam, multistep, pgd and at")
    })?;
    Ok(Step::new(Learner::new(network, optimizer), attack, loss, ["inner maximum", objective.name()]))
}

fn part<T: foil::registry::Kind + ?Sized>(settings: serde_json::Value) -> Result<Component<T>> {
    serde_json::from_value(settings).map_err(Error::of)
}

impl Trained {
    fn network(&self) -> &Network {
        self.step.model.network()
    }

    /// f(x) as one number `[n]` for points `[n, 2]`: the logit of class 2 less that of class 1. It
    /// is continuous in x.
    pub fn score(&self, points: &Tensor) -> Tensor {
        let logits = tch::no_grad(|| self.network().frozen(&points.reshape([-1, 1, 1, 2]), Mode::Eval, None));
        logits.select(1, 1) - logits.select(1, 0)
    }

    /// What training's inner maximum makes of `points` `[n, 2]` now, `[n, 2]`.
    ///
    /// # Errors
    /// What the attack reports.
    pub fn attacked(&mut self, points: &Tensor) -> Result<Tensor> {
        let index = Tensor::arange(points.size()[0], (Kind::Int64, Device::Cpu));
        let noise = Noise::new(&Tensor::from(key_of(&[self.seed, name_key("picture")])), &index);
        let clock = Clock::new(1, 1, Device::Cpu);
        let (x, y) = (points.view([-1, 1, 1, 2]), self.task.oracle.label(points));
        let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
        let target = Target::new(self.step.model.network(), &batch.noise);
        Ok(self.step.attack.perturb(&target, &batch)?.x.view([-1, 2]))
    }
}
