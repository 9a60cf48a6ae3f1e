//! Sums over an epoch, kept on the device so that a step reads nothing back.

use crate::record::Values;
use foil::Result;
use foil::distributed::World;
use foil::engine::Outcome;
use foil::loss::Forward;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Sums of per-image means and hits since the epoch began.
#[derive(Debug)]
pub struct EpochSums {
    sums: BTreeMap<String, Tensor>,
    images: i64,
    device: Device,
}

impl EpochSums {
    /// Nothing yet.
    pub fn new(device: Device) -> Self {
        Self { sums: BTreeMap::new(), images: 0, device }
    }

    fn add(&mut self, name: &str, value: &Tensor) {
        let device = self.device;
        let sum = self.sums.entry(name.to_string()).or_insert_with(|| Tensor::zeros([1], (Kind::Double, device)));
        let _ = sum.g_add_(value);
    }

    /// Adds a step's loss, its parts, and the hits on clean and attacked images; adds nothing if
    /// `counts` is false.
    pub fn step(&mut self, outcome: &Outcome, y: &Tensor, counts: bool) {
        if !counts {
            return self.idle(outcome);
        }
        let n = y.size()[0];
        self.images += n;
        self.add("train_loss", &(&outcome.loss.total * n as f64));
        for (name, value) in &outcome.loss.parts {
            self.add(&format!("train_{name}"), &(value * n as f64));
        }
        let hits = |z: &Tensor| z.argmax(-1, false).eq_tensor(y).sum(Kind::Double);
        let clean = [Forward::CleanFirst, Forward::Clean, Forward::CleanAfterUpdate];
        if let Some(z) = clean.iter().find_map(|pass| outcome.logits.get(pass)) {
            self.add("train_natural_acc", &(hits(z) * 100.0));
        }
        if let Some(z) = outcome.logits.get(&Forward::Adversarial) {
            self.add("train_adversarial_acc", &(hits(z) * 100.0));
        }
    }

    /// A step without images of this rank: the sums exist all the same.
    fn idle(&mut self, outcome: &Outcome) {
        let device = self.device;
        let zero = || Tensor::zeros([1], (Kind::Double, device));
        let parts = outcome.loss.parts.iter().map(|(name, _)| format!("train_{name}"));
        for name in parts.chain(["train_loss".to_string()]) {
            self.sums.entry(name).or_insert_with(zero);
        }
    }

    /// Sums the ranks' tallies on rank 0; the others are reset.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn merge(&mut self, world: World) -> Result<()> {
        if !world.is_joined() {
            return Ok(());
        }
        // A rank without images so far has no hits, so the ranks agree on the names first.
        let names: Vec<&str> = self.sums.keys().map(String::as_str).collect();
        let mut all: Vec<String> = world
            .gather(&names.join("\n"))?
            .join("\n")
            .lines()
            .filter(|name| !name.is_empty())
            .map(String::from)
            .collect();
        all.sort();
        all.dedup();
        let mine = |name: &String| self.sums.get(name).map_or(0.0, |sum| sum.double_value(&[0]));
        let mut values: Vec<f64> = all.iter().map(mine).collect();
        values.push(self.images as f64);
        let sums = Tensor::from_slice(&values);
        world.sum(&sums)?;
        let sums = if world.is_first() { sums } else { sums.zeros_like() };
        self.images = sums.double_value(&[all.len() as i64]) as i64;
        let sum = |i: usize| sums.narrow(0, i as i64, 1).copy().to_device(self.device);
        self.sums = all.iter().enumerate().map(|(i, name)| (name.clone(), sum(i))).collect();
        Ok(())
    }

    /// The means so far; reads them from the device.
    pub fn means(&self) -> Values {
        let images = self.images.max(1) as f64;
        self.sums.iter().map(|(name, sum)| (name.clone(), sum.double_value(&[0]) / images)).collect()
    }

    /// The mean loss so far, if there was a step; reads it from the device.
    pub fn loss(&self) -> Option<f64> {
        self.sums.get("train_loss").map(|sum| sum.double_value(&[0]) / self.images.max(1) as f64)
    }

    /// The sums by name, and the number of images, for a checkpoint within an epoch.
    pub fn state(&self) -> (Vec<(String, Tensor)>, i64) {
        (self.sums.iter().map(|(name, sum)| (name.clone(), sum.shallow_clone())).collect(), self.images)
    }

    /// The epoch_sums that [`EpochSums::state`] gave.
    pub fn restore(sums: BTreeMap<String, Tensor>, images: i64, device: Device) -> Self {
        Self { sums: sums.into_iter().map(|(name, sum)| (name, sum.to_device(device))).collect(), images, device }
    }
}
