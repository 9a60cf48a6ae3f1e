//! What a model's crate knows about its published checkpoints; `foil import` asks for it.

use std::collections::BTreeMap;

/// Shapes by `state_dict` name.
pub type Shapes = BTreeMap<String, Vec<i64>>;

/// What a model's crate knows about its published checkpoints, submitted with
/// [`hint!`](crate::hint).
pub struct Hint {
    /// The model's registered name.
    pub model: &'static str,
    /// The settings, as YAML, that these shapes imply; `None` if the shapes are not this model's.
    pub settings: fn(&Shapes) -> Option<String>,
    /// Prefixes of names in published files that no forward pass reads.
    pub unused: &'static [&'static str],
    /// Parts of names that a code base names differently, all in one file: ours, theirs.
    pub renamed: &'static [(&'static str, &'static str)],
    /// The `normalize` of that code base's `Sequential` before the network, if it has no tensors
    /// that the file could hold.
    pub normalize: Option<&'static str>,
    /// The `normalize` by data set of the published network itself, which its file need not hold.
    pub inside: &'static [(&'static str, &'static str)],
}

impl Hint {
    /// A hint for the model `model` without special cases.
    pub const fn of(model: &'static str, settings: fn(&Shapes) -> Option<String>) -> Self {
        Self { model, settings, unused: &[], renamed: &[], normalize: None, inside: &[] }
    }

    /// This code base's name for ours, if it differs.
    pub fn name(&self, ours: &str) -> Option<String> {
        let theirs: Vec<&str> = ours
            .split('.')
            .map(|own| self.renamed.iter().find(|(ours, _)| *ours == own).map_or(own, |(_, theirs)| *theirs))
            .collect();
        let theirs = theirs.join(".");
        (theirs != ours).then_some(theirs)
    }
}

inventory::collect!(Hint);

impl Hint {
    /// Those of everything linked into the program.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Hint>.into_iter()
    }
}

/// Tells `foil import` what a model's published checkpoints look like: `hint! { Hint { … } }`, see
/// [`Hint`](crate::model::Hint).
#[macro_export]
macro_rules! hint {
    ($hint:expr) => {
        $crate::__private::inventory::submit! { $hint }
    };
}
