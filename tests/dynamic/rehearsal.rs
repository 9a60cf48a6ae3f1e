//! `foil check` runs each plugin once, and says which of them does what it must not.

use super::path;
use crate::tiny::Place;

const BASE: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 40, test_limit: 20 }
model: wrong_model
attack: none
loss: wrong_loss
optimizer: wrong_optimizer
train: { epochs: 1, batch_size: 20, eval_batch_size: 20 }
";

/// Checks the pipeline of plugins that behave but for `change`.
fn check(change: &[&str]) -> crate::tiny::Ended {
    let place = Place::with(BASE);
    place.foil(&[&["check", "tiny.yaml", "--plugins", &path("foil_misbehaving")], change].concat())
}

#[track_caller]
fn finds(change: &str, parts: &[&str]) {
    let message = check(&[change]).error();
    for part in parts.iter().chain(&["--> override `", "help: "]) {
        assert!(message.contains(part), "{change}: `{part}` is not in\n{message}");
    }
    assert_eq!(message.matches("error: ").count(), 1, "{change} is one problem:\n{message}");
    check(&[change, "--no-run"]).ok();
}

#[test]
fn plugins_that_behave_pass() {
    let out = check(&[]).ok().out;
    assert!(out.starts_with("ok  "), "{out}");
}

#[test]
fn losses() {
    let wrong = |how: &str, what: &str| {
        finds(
            &format!("loss={{ type: wrong_loss, how: {how} }}"),
            &[&format!("error: `loss` is `wrong_loss`, which {what}")],
        );
    };
    wrong("detached", "returns a loss without a gradient: it is detached from the logits");
    wrong("not_scalar", "returns a loss of shape [2], but it must be a scalar");
    wrong("whole", "returns a loss of Int64, but it must be Float");
    wrong("part", "returns a part `bound` that is -inf on ordinary logits");
    wrong("infinite", "returns a loss that is inf on ordinary logits");
    wrong("constant", "does not depend on the logits");
    wrong("writes", "writes into the logits of the pass Clean");
    wrong("random", "gives another value when it runs a second time on the same logits");
    wrong("gradient", "has a gradient that is not finite, though its value is");
    wrong(
        "feature",
        "fails when it is run: it asks for the model's feature `penultimate`, which this model does not name",
    );
}

#[test]
fn models() {
    let wrong = |how: &str, what: &str| {
        finds(&format!("model={{ type: wrong_model, how: {how} }}"), &[&format!("error: `model` {what}")]);
    };
    wrong("classes", "is `wrong_model`, which returns logits of 9 classes, but the data have 10");
    wrong("shape", "is `wrong_model`, which returns [2, 1, 10] for 2 images, but logits are [2, 10]");
    wrong("double", "is `wrong_model`, which returns logits of Double, but the images are Float");
    wrong("nan", "is `wrong_model`, which has logits that are not finite");
    wrong("given", "is `wrong_model`, which starts `scale` with other numbers each time, whatever the seed");
    wrong("random", "is `wrong_model`, which gives other logits when it runs a second time on the same images");
    wrong("writes", "is `wrong_model`, which fails when it is run: its forward pass writes into");
    wrong("detached", "is `wrong_model`, which returns logits in train mode that do not depend differentiably");
}

#[test]
fn a_name_that_two_tensors_have_is_refused_without_a_run() {
    for more in [&[][..], &["--no-run"]] {
        let message = check(&[&["model={ type: wrong_model, how: twice }"], more].concat()).error();
        let places = message.matches("misbehaving/src/wrong.rs:").count();
        assert!(message.contains("`model` cannot be built: it declares two tensors called `fc.weight`"), "{message}");
        assert_eq!(places, 2, "{message}");
    }
}

#[test]
fn attacks() {
    for (key, path) in [("attack", "attack"), ("attacks.evaluate", "attacks.evaluate")] {
        let wrong = |how: &str, what: &str| {
            finds(
                &format!("{key}={{ type: wrong_attack, how: {how} }}"),
                &[&format!("error: `{path}` is `wrong_attack`, which {what}")],
            );
        };
        wrong("shape", "returns images [2, 784] for [2, 1, 28, 28]");
        wrong("double", "returns images of Double, but was given Float");
        wrong("nan", "returns images that are not finite");
        wrong("side", "lists `weight` in `provides`, but does not return it");
        wrong("random", "gives other images when it runs a second time with the same seed");
        wrong("writes", "fails when it is run: it writes into the images or labels it is given");
    }
    let late = "attack={ type: wrong_attack, how: late }";
    finds(late, &["`attack` is `wrong_attack`, which writes into the images or labels after the update"]);
}

#[test]
fn an_attack_that_needs_a_gradient_and_a_model_that_has_none() {
    let message = check(&["model={ type: wrong_model, how: flat }", "attack={ type: wrong_attack, how: gradient }"]);
    let message = message.error();
    let expected = "`attack` is `wrong_attack`, which takes gradients of the images, but in eval mode the model \
                    `wrong_model` has none";
    assert!(message.contains(expected), "{message}");
    check(&["model={ type: wrong_model, how: flat }"]).ok();
}

#[test]
fn optimizers() {
    let wrong = |how: &str, what: &str| {
        let change = format!("optimizer={{ type: wrong_optimizer, how: {how} }}");
        finds(&change, &[&format!("`optimizer` is `wrong_optimizer`, which {what}")]);
    };
    wrong("random", "gives other parameters when a step runs a second time from the same seed");
    wrong("nan", "leaves parameters that are not finite");
}

/// A panic has its line, an error too; of an operator that libtorch refuses, the caller's name, as
/// foil is built without debug information.
#[test]
fn what_a_plugin_raises_carries_its_place() {
    finds(
        "loss={ type: wrong_loss, how: error }",
        &[
            "which fails when it is run: there is nothing to compare (at tests/libraries/misbehaving/src/wrong.rs:",
            "help: compare something",
        ],
    );
    finds(
        "loss={ type: panicking_loss, at: forward }",
        &["told to panic in forward (at tests/libraries/misbehaving/src/lib.rs:"],
    );
    finds("loss={ type: wrong_loss, how: torch }", &["The size of tensor a", "WrongLoss", "::forward"]);
}

#[test]
fn several_parts_are_reported_at_once_and_a_sweep_says_which_run() {
    let message = check(&["model.how=classes", "attack={ type: wrong_attack, how: nan }"]).error();
    assert_eq!(message.matches("error: ").count(), 2, "{message}");
    let message = check(&["sweep={ loss.how: [\"\", detached] }"]).error();
    assert!(message.contains("it is detached") && message.contains("in the run"), "{message}");
}
