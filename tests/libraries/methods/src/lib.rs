//! The seven methods, augmentations and what they share, as a library for a program that has none
//! of them.
//!
//! One library for all, because each copy of the framework takes a second to link; the crates
//! themselves are unchanged.

use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_cat as _;
use foil_datasets as _;
use foil_fat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_trades as _;

foil::export_plugin!(
    "foil-alp",
    "foil-at",
    "foil-attacks",
    "foil-augmentations",
    "foil-cat",
    "foil-datasets",
    "foil-fat",
    "foil-mart",
    "foil-mma",
    "foil-models",
    "foil-optimizers",
    "foil-schedulers",
    "foil-trades"
);
