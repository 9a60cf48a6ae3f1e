//! What cannot be computed is refused in words, and what looks odd but can be is right.

use foil::guard;
use foil::prelude::*;
use foil::testing::{assert_close, attack_from_yaml, from_yaml, images, loss_from_yaml, loss_with, network};
use std::collections::BTreeMap;

const LOSSES: &[&str] = &["at", "trades", "mart", "alp", "cat", "mma"];

fn refusal(loss: &str, clean: &Tensor, y: &[i64]) -> String {
    let side = BTreeMap::from([("mma.weight".to_string(), Tensor::from_slice(&vec![1.0; y.len()]))]);
    loss_with(loss_from_yaml(loss).as_ref(), clean, clean, &Tensor::from_slice(y), &side).unwrap_err().to_string()
}

#[test]
fn losses_refuse_what_they_are_not_defined_for() {
    let z = Tensor::from_slice2(&[[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]);
    for loss in LOSSES {
        let label = refusal(loss, &z, &[0, 3]);
        assert!(
            label.contains("label 3 is out of range") && label.contains("3 classes, so labels are 0 to 2"),
            "{label}"
        );
        assert!(refusal(loss, &z, &[-1, 0]).contains("label -1 is out of range"));
        let classes = refusal(loss, &z.narrow(1, 0, 1), &[0, 0]);
        assert!(classes.contains("1 classes, but it needs 2"), "{classes}");
        for bad in [f64::NAN, f64::INFINITY] {
            let finite = refusal(loss, &(&z * bad), &[0, 1]);
            assert!(finite.contains("not all finite"), "{finite}");
        }
        let rows = refusal(loss, &z, &[0, 1, 2]);
        assert!(rows.contains("[2, 3], but must be [3, K]"), "{rows}");
    }
}

/// A training step does not check; libtorch does, and its panic becomes an error.
#[test]
fn a_label_out_of_range_ends_a_step_with_an_error() {
    let (network, mut images) = (network(Kind::Double), images(3, 1, Kind::Double));
    images.y = Tensor::from_slice(&[0i64, 9, 1]);
    for yaml in [
        "{ type: pgd, eps: 0.1, alpha: 0.05 }",
        "{ type: pgd, objective: cw, eps: 0.1, alpha: 0.05 }",
        "{ type: pgd, objective: slm, eps: 0.1, alpha: 0.05 }",
        "{ type: early_stopped_pgd, objective: ce, tau: 0, eps: 0.1, alpha: 0.05 }",
    ] {
        let batch = images.batch(1);
        let mut attack = attack_from_yaml(yaml, Kind::Double);
        let error = guard(|| attack.perturb(&Target::new(&network, &batch.noise), &batch)).unwrap_err();
        assert!(error.message().contains("index 9 is out of bounds"), "{yaml}: {error}");
    }
}

#[test]
fn without_steps_an_attack_is_its_start() {
    let (network, images) = (network(Kind::Double), images(5, 1, Kind::Double));
    let batch = images.batch(3);
    let expected = (&batch.x + (batch.uniform("start") * 2.0 - 1.0) * 0.1).clamp(0.0, 1.0);
    for rest in ["pgd", "early_stopped_pgd, objective: ce, tau: 0"] {
        let mut attack =
            attack_from_yaml(&format!("{{ type: {rest}, eps: 0.1, alpha: 0.05, steps: 0 }}"), Kind::Double);
        let x = attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap().x;
        assert_close(&x, &expected, 1e-12);
    }
}

/// 25 pixels give batch norm its statistics, so one image is enough; PyTorch's goldens run the same
/// path with more.
#[test]
fn a_batch_of_one_image_trains_through_batch_norm() {
    let images = images(1, 2, Kind::Double);
    for (attack, loss) in [
        ("{ type: pgd, eps: 0.1, alpha: 0.05, mode: train }", "trades"),
        ("{ type: an_pgd, d_max: 0.1 }", "mma"),
        ("{ type: early_stopped_pgd, objective: kl, tau: 0, eps: 0.1, alpha: 0.05 }", "mart"),
        ("{ type: pgd, eps: 0.1, alpha: 0.05 }", "{ type: alp, clean_ce: true }"),
    ] {
        let optimizer = from_yaml("{ type: sgd, lr: 0.1 }", Kind::Double);
        let model = Learner::new(network(Kind::Double), optimizer);
        let attack = attack_from_yaml(attack, Kind::Double);
        let mut step = foil::engine::Step::new(model, attack, loss_from_yaml(loss), ["attack", "loss"]);
        let outcome = step.run(&mut images.batch(1)).unwrap();
        for (name, t) in
            [("loss", &outcome.loss.total), ("gradient", &outcome.gradients.0), ("image", &outcome.adversarial.x)]
        {
            assert_eq!(t.isfinite().all().int64_value(&[]), 1, "{loss}: the {name} is not finite");
        }
        for (name, t) in step.model.network().params().state_dict() {
            assert_eq!(t.isfinite().all().int64_value(&[]), 1, "{loss}: {name} is not finite");
        }
    }
}
