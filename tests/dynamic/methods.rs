//! A library trains as the same code linked in does, to the bit.

use super::{library, path};
use crate::tiny::{Ended, Place};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `plugins/template/examples/custom.rs`: a program with the template's plugins linked in, and none
/// of the methods.
fn custom() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = ["build", "--quiet", "--release", "--workspace", "--example", "custom"];
    let built = Command::new(cargo).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success());
    library("foil_template").ancestors().nth(2).unwrap().join("examples/custom")
}

fn run(place: &Place, program: &Path, args: &[&str]) -> Ended {
    let output = place.command(program.to_str().unwrap(), args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn each_method_from_a_library_trains_to_the_bits_of_the_linked_one() {
    let (place, custom, methods) = (Place::with(""), custom(), path("foil_methods"));
    let listed = run(&place, &custom, &["list", "loss"]).ok().out;
    assert!(listed.contains("template_loss") && !listed.contains("trades"), "the methods are not part of it: {listed}");
    for method in ["alp", "at", "cat_cw", "fat", "mart", "mma", "trades"] {
        let config = format!("{}/configs/smoke/{method}.yaml", env!("CARGO_MANIFEST_DIR"));
        let (linked, loaded) = (format!("{method}-linked"), format!("{method}-loaded"));
        let train = ["train", &config, "--no-eval", "images.train_limit=40", "images.test_limit=20"];
        place.foil(&[&train[..], &["--run-dir", &linked]].concat()).ok();
        run(&place, &custom, &[&train[..], &["--run-dir", &loaded, "--plugins", &methods]].concat()).ok();
        same(&place, &linked, &loaded);
    }
}

/// The same source, linked into a program and loaded from a library.
#[test]
fn each_kind_of_plugin_trains_alike_linked_and_loaded() {
    let (place, custom, template) = (Place::with(EVERY_KIND), custom(), path("foil_template"));
    // The digits are in the library of methods.
    let methods = path("foil_methods");
    run(&place, &custom, &["train", "tiny.yaml", "--no-eval", "--run-dir", "linked", "--plugins", &methods]).ok();
    place.foil(&["train", "tiny.yaml", "--no-eval", "--run-dir", "loaded", "--plugins", &template]).ok();
    same(&place, "linked", "loaded");
}

/// Augmentations of every sort: moved pixels, changed images, mixed images and labels.
#[test]
fn augmentations_from_a_library_change_images_as_the_linked_ones_do() {
    let (place, custom, methods) = (Place::with(AUGMENTED), custom(), path("foil_methods"));
    let listed = run(&place, &custom, &["list", "augment"]).ok().out;
    assert!(listed.contains("template_augment") && !listed.contains("cutmix"), "{listed}");
    let train = ["train", "tiny.yaml", "--no-eval", "--run-dir"];
    place.foil(&[&train[..], &["linked"]].concat()).ok();
    run(&place, &custom, &[&train[..], &["loaded", "--plugins", &methods]].concat()).ok();
    same(&place, "linked", "loaded");
    place.foil(&[&train[..], &["plain", "augment=null"]].concat()).ok();
    let weights = |run: &str| place.run(run).tensors("last.safetensors").0;
    assert_ne!(weights("plain"), weights("linked"));
}

const AUGMENTED: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 60, test_limit: 20 }
augment: [{ type: crop, pad: 2 }, flip, randaugment, random_erasing, mixup, { type: cutmix, probability: 0.5 }]
model: { type: small_cnn, width: 4 }
attack: { type: pgd, eps: 0.1, alpha: 0.05, steps: 2 }
loss: at
optimizer: { type: sgd, lr: 0.05 }
train: { epochs: 2, batch_size: 20, eval_batch_size: 20 }
";

/// One step after another of every kind of plugin in the template.
pub const EVERY_KIND: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 60, test_limit: 20 }
augment: [template_augment]
model: { type: template_model, hidden: 16 }
attack: { type: template_attack, eps: { type: template_scheduler, start: 0.2 }, steps: 2 }
loss: { type: template_loss, clean: { type: template_scheduler, start: 0.5 } }
optimizer: { type: template_optimizer, lr: { type: template_scheduler, start: 0.001 } }
update: template_update
average: { type: template_average, power: 0.5 }
train: { epochs: 2, batch_size: 20, eval_batch_size: 20 }
";

fn same(place: &Place, linked: &str, loaded: &str) {
    let (linked, loaded) = (place.run(linked), place.run(loaded));
    assert_eq!(linked.text("metrics.jsonl"), loaded.text("metrics.jsonl"));
    for name in ["last.safetensors", "best.safetensors", "state.safetensors"] {
        let (ours, theirs) = (linked.tensors(name).0, loaded.tensors(name).0);
        assert!(!ours.is_empty() && ours == theirs, "{}: {name}", linked.0.display());
    }
}
