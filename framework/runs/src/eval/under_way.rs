//! The progress of an attack, for other processes to read.

use super::AttackProgress;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A running attack of a measurement or an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its name in the evaluation, such as `pgd20`; `natural` for clean images.
    pub attack: String,
    /// Its number, from 1.
    pub number: u64,
    /// The number of attacks.
    pub of: u64,
    /// The stage of a chain, such as `square` of `autoattack`.
    #[serde(default)]
    pub stage: Option<String>,
    /// Images that it, or its stage, has seen.
    pub done: u64,
    /// Images that it will see: a stage of a chain sees those that are not broken.
    pub images: u64,
    /// Percent of the images seen that are still classified correctly.
    pub accuracy: f64,
}

impl UnderWay {
    /// The attack `name`, the `number`-th of `of`, with the progress in `progress`.
    pub fn new(name: &str, number: usize, of: usize, progress: &AttackProgress) -> Self {
        let ((done, images), stage) = (progress.seen(), progress.stage().map(str::to_string));
        let (number, of, accuracy) = (number as u64, of as u64, progress.accuracy());
        Self { attack: name.to_string(), number, of, stage, done, images, accuracy }
    }

    /// The attack and its stage: `autoattack square`.
    pub fn title(&self) -> String {
        match &self.stage {
            Some(stage) => format!("{} {stage}", self.attack),
            None => self.attack.clone(),
        }
    }
}

/// `attack 2 of 3: autoattack square, 128 of 812 images, accuracy 51.20 %`.
impl fmt::Display for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, of, done, images, accuracy, .. } = self;
        write!(f, "attack {number} of {of}: {}, {done} of {images} images, accuracy {accuracy:.2} %", self.title())
    }
}
