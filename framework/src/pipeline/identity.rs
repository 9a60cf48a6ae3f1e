//! What makes two runs the same one, whatever they are called and wherever they run.

use super::Pipeline;
use crate::Result;
use crate::record::{Rule, stamp};

impl Pipeline {
    /// The hash of what is trained: equal for two pipelines whose training ends with the same checkpoint.
    ///
    /// Left out are the name, the device, where the data lie, how often the state is saved, and what only the final evaluation
    /// uses, so that a run is found again although it was called otherwise or is to be judged anew.
    ///
    /// # Errors
    /// When a plugin's settings have no YAML form.
    pub fn training_hash(&self) -> Result<String> {
        let mut bare = self.by_content();
        bare.name = None;
        bare.device = "auto".into();
        bare.data.path = None;
        bare.train.checkpoint_steps = None;
        bare.evaluate.clear();
        bare.sweep.clear();
        let rule = Rule::parse(&self.select).ok();
        let selects = |name: &str| rule.as_ref().is_none_or(|rule| rule.names().contains(&name));
        bare.attacks.retain(|name, _| selects(name) || self.train.watch.contains(name));
        Ok(stamp::config_hash(&bare.to_yaml()?))
    }

    /// [`Pipeline::training_hash`] without the seed: equal for the runs whose mean is taken.
    ///
    /// # Errors
    /// As [`Pipeline::training_hash`].
    pub fn method_hash(&self) -> Result<String> {
        Self { seed: 0, ..self.clone() }.training_hash()
    }
}
