//! Every loss, objective and attack from outside, by its config: against PyTorch's numbers, by its
//! properties, and on bad input.
//!
//! A formula's hand-worked case belongs beside the formula; what holds for all of them belongs
//! here.

mod bad_input;
mod eot;
mod features;
mod goldens;
mod gradients;
mod properties;
mod soft;
mod suite;
mod trust;
mod wrappers;

// A plugin crate that nothing names is not linked.
use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_averages as _;
use foil_cat as _;
use foil_datasets as _;
use foil_distillation as _;
use foil_dkl as _;
use foil_fast as _;
use foil_fat as _;
use foil_hat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_score as _;
use foil_self_adaptive as _;
use foil_trades as _;
use foil_updates as _;

use foil::prelude::*;

/// A mask network small enough for a golden: `TinyMask` of `tests/goldens/make.py`.
#[settings]
struct TinyMask {}

struct Mask {
    conv: Conv2d,
    bn: BatchNorm2d,
    out: Conv2d,
}

impl Config<dyn Model> for TinyMask {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let nn = cx.builder();
        Ok(Box::new(Mask {
            conv: Conv2d::new(nn, "conv", [cx.inputs(), 3], 3, 1, 1),
            bn: BatchNorm2d::new(nn, "bn", 3),
            out: Conv2d::new(nn, "out", [3, cx.data.channels], 3, 1, 1),
        }))
    }
}

impl Model for Mask {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features = nn::leaky_relu(self.bn.forward(pass, &self.conv.forward(pass, xs)), 0.2);
        self.out.forward(pass, &features).sigmoid()
    }

    fn is_mask(&self) -> bool {
        true
    }
}

register!(dyn Model, "tiny_mask", TinyMask, "{}");

/// What `foil explain` shows as an example can be read and built.
#[test]
fn every_example_builds() {
    let mut built = 0;
    for entry in foil::registry::plugins() {
        let yaml = entry.example().replacen('{', &format!("{{ type: {}, ", entry.name()), 1);
        match entry.kind() {
            "attack" => drop(foil::testing::from_yaml::<dyn Attack>(&yaml, Kind::Float)),
            "loss" => drop(foil::testing::from_yaml::<dyn Loss>(&yaml, Kind::Float)),
            "objective" => drop(foil::testing::from_yaml::<dyn Objective>(&yaml, Kind::Float)),
            _ => continue,
        }
        assert!(
            entry.description().lines().count() > 2 || entry.name() == "none" || entry.kind() == "objective",
            "{yaml}"
        );
        built += 1;
    }
    assert!(built >= 18, "only {built} plugins are linked in");
}
