//! The identity of a run, whatever its name and wherever it runs.

use super::{Log, Pipeline};
use crate::record::{Rule, stamp};
use foil::Result;
use foil::engine::Normalize;

impl Pipeline {
    /// The hash of what is trained: equal for two pipelines whose training gives the same
    /// checkpoint.
    ///
    /// Files and libraries count by their content, and the data by `images.content` and
    /// `extra.content`: see
    /// [`Pipeline::pinned`].
    ///
    /// It leaves out the name, the device, the folder of the data, how often the state is saved,
    /// what is logged, and what only the final evaluation uses, so that a run is found again under
    /// another name or for another evaluation.
    ///
    /// # Errors
    /// When a plugin's settings have no YAML form.
    pub fn training_hash(&self) -> Result<String> {
        Ok(stamp::config_hash(&self.trained()?.to_yaml()?))
    }

    /// What the hash is of: the pipeline without what leaves its training as it is.
    pub(super) fn trained(&self) -> Result<Self> {
        let mut bare = self.by_content()?;
        bare.name = None;
        bare.device = "auto".into();
        // The default, published data, need not be stated.
        bare.images.content = bare.images.content.filter(|content| content != foil::data::PUBLISHED);
        if let Some(extra) = &mut bare.extra {
            extra.content = extra.content.take().filter(|content| content != foil::data::PUBLISHED);
            // It follows from the images and the network.
            extra.labels_content = None;
        }
        bare.train.checkpoint_steps = None;
        bare.log = Log::default();
        bare.evaluate.clear();
        bare.corruptions = None;
        bare.sweep.clear();
        let rule = Rule::parse(&self.select).ok();
        let selects = |name: &str| rule.as_ref().is_none_or(|rule| rule.names().contains(&name));
        bare.attacks.retain(|name, _| selects(name) || self.train.watch.contains(name));
        Ok(bare)
    }

    /// The same pipeline with the content of its data filled in, and with the numbers of
    /// `normalize: data` where only reading the data gives them.
    ///
    /// # Errors
    /// When the data are not found, or their files are damaged.
    pub fn pinned(self) -> Result<Self> {
        self.with_content(false)
    }

    /// As [`Pipeline::pinned`], for a run that is about to start: the data stay in memory until
    /// they are read.
    ///
    /// # Errors
    /// As [`Pipeline::pinned`].
    pub fn pinned_to_begin(self) -> Result<Self> {
        self.with_content(true)
    }

    fn with_content(mut self, keep: bool) -> Result<Self> {
        let content = crate::data::content(&self, keep)?;
        let of_extra = crate::data::content_of_extra(&self, keep)?;
        self.images.content = content;
        if let Some(extra) = &mut self.extra {
            extra.content = of_extra;
        }
        if self.normalize.is_of_data() && crate::data::facts(&self)?.mean.is_empty() {
            let (mean, std) = crate::data::moments(&self, false)?;
            self.normalize = Normalize::given(mean, std);
        }
        Ok(self)
    }

    /// [`Pipeline::training_hash`] without the seed: equal for the runs that are averaged.
    ///
    /// # Errors
    /// As [`Pipeline::training_hash`].
    pub fn method_hash(&self) -> Result<String> {
        Self { seed: 0, ..self.clone() }.training_hash()
    }
}
