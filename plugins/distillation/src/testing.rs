//! The logits of the fact sheets' examples.

use foil::loss::LossInput;
use foil::prelude::*;
use foil::testing::loss_from_yaml;
use std::collections::BTreeMap;

/// Clean and attacked logits of the model, the teacher's clean ones, and what `loss` makes of them.
pub(crate) fn output(loss: &str, teacher: &Tensor) -> LossOutput {
    let clean = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]);
    let attacked = Tensor::from_slice2(&[[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]]);
    let teacher = teacher.shallow_clone();
    let passes = [(Forward::Clean, clean), (Forward::Adversarial, attacked), (crate::TEACHER, teacher)];
    let (y, side) = (Tensor::from_slice(&[0i64, 1]), BTreeMap::new());
    let clock = Clock::new(1, 1, tch::Device::Cpu);
    let input = LossInput::new(passes.into_iter().collect(), &y, &side, &clock);
    let loss = loss_from_yaml(loss);
    input.check(loss.as_ref()).unwrap();
    loss.forward(&input).unwrap()
}

/// The teacher's logits.
pub(crate) fn teacher() -> Tensor {
    Tensor::from_slice2(&[[3.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
}
