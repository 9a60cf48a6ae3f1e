//! The names of passes and sets of images in Python.

use foil::loss::{Forward, ImageSet};
use foil::registry::lasting;

/// The names of passes in Python.
const PASSES: [(&str, Forward); 6] = [
    ("clean_first", Forward::CleanFirst),
    ("clean", Forward::Clean),
    ("adversarial", Forward::Adversarial),
    ("clean_again", Forward::CleanAgain),
    ("together", Forward::Together),
    ("clean_after_update", Forward::CleanAfterUpdate),
];

/// Before the colon in the name of a pass of the model over a set of images that the attack makes;
/// a network's name is there in the pass of another one.
const OF_MODEL: &str = "images";

/// The names of sets of images in Python.
pub(super) const SETS: [(&str, ImageSet); 2] = [("clean", ImageSet::Clean), ("adversarial", ImageSet::Adversarial)];

/// The set of images that has this name in Python.
fn set(called: &str) -> ImageSet {
    let own = SETS.iter().find(|(name, _)| *name == called);
    own.map_or_else(|| ImageSet::Named(lasting(called)), |(_, set)| *set)
}

/// The name of a set of images in Python.
pub(super) fn set_name(set: ImageSet) -> &'static str {
    match set {
        ImageSet::Named(name) => name,
        set => SETS.iter().find(|(_, one)| *one == set).map_or("", |(name, _)| name),
    }
}

/// The pass that has this name in Python.
pub(super) fn pass(called: &str) -> Option<Forward> {
    if let Some((network, images)) = called.split_once(':') {
        return Some(match network {
            OF_MODEL => Forward::Images(lasting(images)),
            network => Forward::Network(lasting(network), set(images)),
        });
    }
    PASSES.iter().find(|(name, _)| *name == called).map(|(_, pass)| *pass)
}

/// The name of a pass in Python.
pub(super) fn name(pass: Forward) -> &'static str {
    match pass {
        Forward::Images(set) => lasting(&format!("{OF_MODEL}:{set}")),
        Forward::Network(network, set) => lasting(&format!("{network}:{}", set_name(set))),
        pass => PASSES.iter().find(|(_, one)| *one == pass).map_or("", |(name, _)| name),
    }
}
