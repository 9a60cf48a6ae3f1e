//! The progress of an attack over the images of a split.

use crate::record::{AttackResult, Stage};
use serde::{Deserialize, Serialize};

/// What is known about each image so far, by its position in the split, and the images still to be
/// attacked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackProgress {
    /// The stages' names; one, the entry's own, for a single attack.
    pub(super) stages: Vec<String>,
    /// The current stage.
    pub(super) stage: usize,
    /// The positions that the current stage has yet to attack, in order.
    pub(super) todo: Vec<i64>,
    /// Images whose logits were not finite.
    pub(super) lost: u64,
    right: Vec<bool>,
    /// Bits of f32, since JSON has no infinity.
    margins: Vec<u32>,
    broken_in: Vec<Option<usize>>,
    pub(super) seconds: Vec<f64>,
}

/// The results of one batch.
pub(super) struct Verdict {
    pub right: Vec<bool>,
    pub margins: Vec<f32>,
}

impl AttackProgress {
    /// Before the first batch of `n` images.
    pub(super) fn new(stages: Vec<String>, n: i64) -> Self {
        let (count, seconds) = (n as usize, vec![0.0; stages.len()]);
        let margins = vec![f32::INFINITY.to_bits(); count];
        let (right, broken_in) = (vec![true; count], vec![None; count]);
        Self { stages, stage: 0, todo: (0..n).collect(), lost: 0, right, margins, broken_in, seconds }
    }

    /// Whether every stage is done.
    pub fn is_done(&self) -> bool {
        self.stage >= self.stages.len()
    }

    /// Notes what became of the next images. An image that stands keeps its smallest margin, a
    /// broken one that which broke it. Returns (row of the batch, place in the split) of those
    /// whose margin is this one.
    pub(super) fn note(&mut self, verdict: &Verdict) -> Vec<(i64, i64)> {
        let places: Vec<i64> = self.todo.drain(..verdict.right.len()).collect();
        let mut taken = Vec::new();
        for (row, ((place, right), margin)) in (0..).zip(places.into_iter().zip(&verdict.right).zip(&verdict.margins)) {
            let i = place as usize;
            let nearer = margin.total_cmp(&f32::from_bits(self.margins[i])).is_lt();
            if !right || nearer || self.stage == 0 {
                self.margins[i] = margin.to_bits();
                taken.push((row, place));
            }
            if !right {
                self.right[i] = false;
                self.broken_in[i] = Some(self.stage);
            }
        }
        taken
    }

    /// The stages' names, and for each image the number of the one that broke it.
    pub(super) fn stages(&self) -> (&[String], &[Option<usize>]) {
        (&self.stages, &self.broken_in)
    }

    /// Moves to the next stage, which sees the images that are not broken.
    pub(super) fn next_stage(&mut self) {
        self.stage += 1;
        self.todo = (0..).zip(&self.right).filter(|(_, right)| **right).map(|(i, _)| i).collect();
    }

    /// The current stage, for an attack in stages.
    pub fn stage(&self) -> Option<&str> {
        self.stages.get(self.stage).filter(|_| self.stages.len() > 1).map(String::as_str)
    }

    /// (images that the current stage has seen, images that it will have seen at its end)
    pub fn seen(&self) -> (u64, u64) {
        let earlier = self.broken_in.iter().flatten().filter(|stage| **stage < self.stage).count();
        let all = self.right.len() - earlier;
        ((all - self.todo.len()) as u64, all as u64)
    }

    /// For each image, whether it is still classified correctly.
    pub fn right(&self) -> &[bool] {
        &self.right
    }

    /// For each image, z_y minus the largest other logit at the attacked image; NaN where the
    /// model returned no finite logits.
    pub fn margins(&self) -> Vec<f32> {
        self.margins.iter().copied().map(f32::from_bits).collect()
    }

    /// Percent of the images seen that are still classified correctly.
    pub fn accuracy(&self) -> f64 {
        let unseen = if self.stage == 0 { self.todo.len() } else { 0 };
        let right = self.right.iter().filter(|right| **right).count() - unseen;
        100.0 * right as f64 / (self.right.len() - unseen).max(1) as f64
    }

    /// The name of a group of stages: the part before the dot.
    fn group(&self, stage: usize) -> &str {
        self.stages[stage].split('.').next().unwrap_or_default()
    }

    /// For each image the stage that broke it; empty for a single attack.
    pub fn broken_by(&self) -> Vec<Option<String>> {
        if self.stages.len() == 1 {
            return Vec::new();
        }
        self.broken_in.iter().map(|stage| stage.map(|stage| self.group(stage).to_string())).collect()
    }

    /// The row of the record.
    pub fn entry(&self, name: &str, attack: serde_json::Value) -> AttackResult {
        let (seconds, accuracy) = (self.seconds.iter().sum(), self.accuracy());
        AttackResult { name: name.to_string(), attack, accuracy, seconds, stages: self.summary() }
    }

    /// A chain's stages, with each group as one.
    fn summary(&self) -> Vec<Stage> {
        let n = self.right.len();
        let (mut stages, mut left): (Vec<Stage>, usize) = (Vec::new(), n);
        if self.stages.len() == 1 {
            return stages;
        }
        for (i, seconds) in self.seconds.iter().enumerate() {
            let broken = self.broken_in.iter().filter(|stage| **stage == Some(i)).count();
            left -= broken;
            let accuracy = 100.0 * left as f64 / n.max(1) as f64;
            match stages.last_mut().filter(|last| last.name == self.group(i)) {
                Some(last) => {
                    (last.accuracy, last.broken) = (accuracy, last.broken + broken as u64);
                    last.seconds += seconds;
                }
                None => stages.push(Stage {
                    name: self.group(i).to_string(),
                    accuracy,
                    broken: broken as u64,
                    seconds: *seconds,
                }),
            }
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(right: &[bool], margins: &[f32]) -> Verdict {
        Verdict { right: right.to_vec(), margins: margins.to_vec() }
    }

    #[test]
    fn survivors_go_on_and_stages_add_up() {
        let stages = ["clean", "apgd_t.1", "apgd_t.2", "square"].map(String::from).to_vec();
        let mut progress = AttackProgress::new(stages, 4);
        progress.note(&verdict(&[true, false], &[3.0, -1.0]));
        assert_eq!((progress.accuracy(), progress.is_done()), (50.0, false));
        progress.note(&verdict(&[true, true], &[2.0, 1.0]));
        progress.next_stage();
        assert_eq!((&progress.todo[..], progress.seen()), (&[0, 2, 3][..], (0, 3)));
        progress.note(&verdict(&[true, true], &[4.0, 0.5]));
        assert_eq!(progress.seen(), (2, 3));
        progress.note(&verdict(&[false], &[-0.25]));
        assert_eq!(progress.seen(), (3, 3));
        progress.next_stage();
        progress.note(&verdict(&[false, true], &[-2.0, 0.75]));
        progress.next_stage();
        progress.note(&verdict(&[true], &[0.125]));
        progress.next_stage();
        assert!(progress.is_done());
        assert_eq!(progress.margins(), [-2.0, -1.0, 0.125, -0.25]);
        let by = progress.broken_by();
        let by: Vec<&str> = by.iter().map(|by| by.as_deref().unwrap_or("")).collect();
        assert_eq!(by, ["apgd_t", "clean", "", "apgd_t"]);
        let entry = progress.entry("autoattack", serde_json::Value::Null);
        let stages: Vec<(&str, f64, u64)> =
            entry.stages.iter().map(|s| (s.name.as_str(), s.accuracy, s.broken)).collect();
        assert_eq!(stages, [("clean", 75.0, 1), ("apgd_t", 25.0, 2), ("square", 25.0, 0)]);
        assert_eq!(entry.accuracy, 25.0);
    }

    #[test]
    fn a_single_attack_has_no_stages() {
        let mut progress = AttackProgress::new(vec!["pgd20".into()], 2);
        progress.note(&verdict(&[true, false], &[3.0, f32::NAN]));
        progress.next_stage();
        let entry = progress.entry("pgd20", serde_json::Value::Null);
        assert!(entry.stages.is_empty() && progress.broken_by().is_empty());
        let text = serde_json::to_string(&progress).unwrap();
        let back: AttackProgress = serde_json::from_str(&text).unwrap();
        assert!(back == progress && back.margins()[1].is_nan());
    }
}
