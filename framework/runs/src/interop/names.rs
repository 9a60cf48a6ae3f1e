//! The names that an imported checkpoint came with, so that an export gives them back.

use super::checkpoint::StoredTensor;
use super::recognise::Fit;
use foil::engine::Normalize;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tch::Tensor;

/// Its key beside the model card.
const KEY: &str = "foil.names";

/// What a checkpoint calls the tensors of a network.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// foil's name to the checkpoint's.
    tensors: BTreeMap<String, String>,
    /// Name and shape of the mean before the network, and of the deviation, where it holds them.
    normalisation: Option<[(String, Vec<i64>); 2]>,
}

impl Names {
    pub(super) fn of(fit: &Fit) -> Self {
        let stored = |entry: &StoredTensor| (entry.name.clone(), entry.shape.clone());
        Self {
            tensors: fit.tensors.iter().map(|(own, entry)| (own.clone(), entry.name.clone())).collect(),
            normalisation: fit.normalisation.map(|(mean, std)| [stored(mean), stored(std)]),
        }
    }

    /// Takes them out of the texts of a checkpoint of foil's; `None` if foil trained it.
    pub fn taken(texts: &mut HashMap<String, String>) -> Option<Self> {
        serde_json::from_str(&texts.remove(KEY)?).ok()
    }

    /// Puts them with the texts of a checkpoint.
    pub(super) fn put(&self, texts: &mut HashMap<String, String>) {
        if let Ok(text) = serde_json::to_string(self) {
            texts.insert(KEY.into(), text);
        }
    }

    /// The tensors of `state` that the checkpoint has, under its names, with its normalisation.
    pub fn restored(&self, state: &[(String, Tensor)], normalize: &Normalize) -> Vec<(String, Tensor)> {
        let named = |(own, tensor): &(String, Tensor)| Some((self.tensors.get(own)?.clone(), tensor.shallow_clone()));
        let mut restored: Vec<(String, Tensor)> = state.iter().filter_map(named).collect();
        if let (Some(stored), Some((mean, std))) = (&self.normalisation, normalize.affine(&[], &[])) {
            for ((name, shape), values) in stored.iter().zip([mean, std]) {
                let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
                let numel = usize::try_from(shape.iter().product::<i64>()).unwrap_or(0).min(values.len());
                let tensor = Tensor::from_slice(&values[..numel]);
                restored.extend(tensor.f_reshape(shape).ok().map(|tensor| (name.clone(), tensor)));
            }
        }
        restored
    }
}
