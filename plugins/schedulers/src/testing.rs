//! Shared by the schedulers' tests.

use foil::prelude::*;

pub(crate) fn scheduler(yaml: &str) -> Box<dyn Scheduler> {
    serde_yaml::from_str::<Component<dyn Scheduler>>(yaml).unwrap().build_alone().unwrap()
}

/// The problem reported for a scheduler's settings.
pub(crate) fn problem(yaml: &str) -> String {
    let built = serde_yaml::from_str::<Component<dyn Scheduler>>(yaml);
    match built.map(|component| component.build_alone()) {
        Ok(Ok(_)) => "nothing".to_string(),
        Ok(Err(error)) => error.message().to_string(),
        Err(error) => error.to_string(),
    }
}

/// The number at a step of a run of 200 epochs of 391 steps.
pub(crate) fn at(scheduler: &dyn Scheduler, epoch: u64, step: u64) -> f64 {
    scheduler.value(&Progress { epoch, step, steps_per_epoch: 391, epochs: 200 })
}

pub(crate) fn close(ours: f64, expected: f64) {
    assert!((ours - expected).abs() < 1e-15, "{ours} is not {expected}");
}
