//! The numbers by name, out and in: PyTorch's `state_dict`.

use super::Parameters;
use super::declare::Spec;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

impl Parameters {
    /// Parameters and buffers under PyTorch's `state_dict` names and in its shapes; they share the
    /// network's memory, `num_batches_tracked` apart.
    pub fn state_dict(&self) -> Vec<(String, Tensor)> {
        let named = |specs: &[Spec], tensors: &[Tensor]| {
            specs.iter().zip(tensors).map(|(s, t)| (s.name.clone(), t.shallow_clone())).collect::<Vec<_>>()
        };
        let mut all = named(&self.params, &self.frozen);
        all.extend(named(&self.buffers, &self.buffer_views));
        all.extend(self.norms.iter().map(|norm| (norm.name.clone(), self.tracked.view([] as [i64; 0]))));
        all.extend(self.kept.iter().map(|(name, t)| (name.clone(), t.shallow_clone())));
        all
    }

    /// The flat tensors themselves, which are all of the network's state: for checkpoints and
    /// comparisons.
    pub fn storage(&self) -> Vec<(String, Tensor)> {
        let flat = [("flat", &self.flat), ("stats", &self.stats), ("tracked", &self.tracked)];
        let flat = flat.into_iter().map(|(name, t)| (name.to_string(), t.shallow_clone()));
        flat.chain(self.kept.iter().map(|(name, t)| (format!("kept.{name}"), t.shallow_clone()))).collect()
    }

    /// Copies `tensors` (under `state_dict` names) in.
    ///
    /// # Errors
    /// Names every tensor that is missing, unknown or of another shape, and changes nothing then.
    /// `num_batches_tracked` may be missing.
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let own: BTreeMap<String, Tensor> = self.state_dict().into_iter().collect();
        let mut wrong = Vec::new();
        for (name, mine) in &own {
            match tensors.get(name) {
                None if name.ends_with("num_batches_tracked") => {}
                None => wrong.push(format!("`{name}` {:?} is missing", mine.size())),
                Some(t) if t.size() != mine.size() => {
                    wrong.push(format!("`{name}` is {:?}, the model's is {:?}", t.size(), mine.size()));
                }
                Some(_) => {}
            }
        }
        wrong.extend(
            tensors
                .keys()
                .filter(|name| !own.contains_key(*name))
                .map(|name| format!("`{name}` is unknown to the model")),
        );
        if !wrong.is_empty() {
            let more = wrong.len().saturating_sub(8);
            let mut shown = wrong[..wrong.len() - more].join("\n  ");
            if more > 0 {
                shown += &format!("\n  and {more} more");
            }
            return Err(Error::new(format!("these weights do not fit the model\n  {shown}"))
                .help("is it the same `model:` as the one they were saved from?"));
        }
        self.copy_in(tensors);
        Ok(())
    }

    /// Copies the tensors in that the model has; the others are left alone.
    pub(super) fn copy_in<'a>(&self, tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) {
        let own: BTreeMap<String, Tensor> = self.state_dict().into_iter().collect();
        tch::no_grad(|| {
            for (name, tensor) in tensors {
                if let Some(mine) = own.get(name) {
                    mine.shallow_clone().copy_(tensor);
                }
            }
        });
        self.refresh_bf16_copy();
    }
}
