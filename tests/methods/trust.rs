//! The trust checks on models that mask their gradients on purpose, each of which must be found
//! out, and on one that does not.

use foil::prelude::*;
use foil::testing::{FACTS, TinyNet, attack_from_yaml, images, network};
use foil_runs::eval::trust::{Depth, Subject};
use foil_runs::record::TrustCheck;
use tch::Device;

/// What stands between the images and the logits of a [`TinyNet`].
#[derive(Clone, Copy, Debug)]
enum Mask {
    Nothing,
    /// Images in three grey levels: a step function, whose gradient is zero.
    Quantised,
    /// Logits so large that softmax saturates in 32 bits.
    Scaled,
    /// Probabilities in place of logits.
    Probabilities,
    /// Other numbers at each look.
    Random,
    /// Logits of images that autograd does not follow.
    Detached,
    /// A backward pass that fails.
    Failing,
}

struct Masked(TinyNet, Mask);

impl Model for Masked {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let logits = |xs: &Tensor| self.0.forward(pass, xs);
        match self.1 {
            Mask::Nothing => logits(xs),
            Mask::Quantised => logits(&((xs * 2.0).round() / 2.0)),
            Mask::Scaled => logits(xs) * 1e5,
            Mask::Probabilities => logits(xs).softmax(-1, None::<Kind>),
            Mask::Random => logits(xs) + logits(xs).rand_like() * 0.5,
            Mask::Detached => logits(&xs.detach()),
            Mask::Failing => {
                let (out, xs) = (tch::no_grad(|| logits(xs)), [xs]);
                let fails = |_| Err(Error::new("told to fail"));
                nn::autograd::node(c"failing", &xs, &[&out], fails).unwrap().remove(0)
            }
        }
    }
}

/// The checks of a model on images of which it names most, at a radius where a few stand.
fn checks(mask: Mask, norm: Norm, other: Option<&Network>) -> Vec<TrustCheck> {
    let nn = Builder::default();
    let masked = Network::new(Box::new(Masked(TinyNet::new(&nn), mask)), nn, None, Kind::Float, Device::Cpu);
    let plain = network(Kind::Float);
    masked.params().load(&plain.params().state_dict().into_iter().collect()).unwrap();
    let images = images(32, 3, Kind::Float);
    let batch = images.batch(1);
    let threat = Threat { norm, eps: if norm == Norm::Linf { 0.05 } else { 0.3 } };
    let threats = &[threat];
    Subject { network: &masked, batch: &batch, data: FACTS, threats, depth: Depth::Quick, other }.checks()
}

fn failed(checks: &[TrustCheck]) -> Vec<&str> {
    for check in checks {
        eprintln!("{check:?}");
        assert!(check.says.len() > 20 && !check.says.contains("{}"), "{check:?}");
    }
    checks.iter().filter(|check| check.passed == Some(false)).map(|check| check.name.as_str()).collect()
}

#[test]
fn a_plain_model_passes() {
    for norm in [Norm::Linf, Norm::L2] {
        let plain = checks(Mask::Nothing, norm, None);
        assert_eq!(failed(&plain), [""; 0]);
        let names: Vec<&str> = plain.iter().map(|check| check.name.as_str()).collect();
        let all = [
            "zero_gradients",
            "random_outputs",
            "probabilities",
            "eps_zero",
            "eps_large",
            "more_steps",
            "pgd_gap",
            "black_box",
            "transfer",
        ];
        assert_eq!(names, all);
        assert_eq!(plain[8].passed, None, "there is no other model");
    }
}

#[test]
fn masked_gradients_are_found_out() {
    let found = |mask: Mask, expected: &[&str]| {
        let checks = checks(mask, Norm::Linf, Some(&network(Kind::Float)));
        let failed = failed(&checks);
        assert!(expected.iter().all(|name| failed.contains(name)), "{mask:?}: {failed:?}, not {expected:?}");
    };
    found(Mask::Quantised, &["zero_gradients", "eps_large"]);
    found(Mask::Scaled, &["zero_gradients", "pgd_gap"]);
    found(Mask::Probabilities, &["probabilities"]);
    found(Mask::Random, &["random_outputs"]);
}

/// What cannot be run is neither passed nor failed, and does not keep the other checks from
/// running.
#[test]
fn without_gradients_the_checks_that_need_them_are_not_run() {
    for (mask, gradients, why) in [
        (Mask::Detached, Some(false), "logits in eval mode do not depend differentiably on its images"),
        (Mask::Failing, None, "told to fail"),
    ] {
        let checks = checks(mask, Norm::Linf, Some(&network(Kind::Float)));
        let of = |name: &str| checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(of("zero_gradients").passed, gradients, "{:?}", of("zero_gradients"));
        assert_eq!(of("random_outputs").passed, Some(true));
        for name in ["eps_zero", "eps_large", "more_steps", "pgd_gap", "black_box"] {
            assert!(of(name).passed.is_none() && of(name).says.contains(why), "{mask:?}: {:?}", of(name));
        }
    }
}

#[test]
fn every_radius_is_looked_at() {
    let (network, images) = (network(Kind::Float), images(32, 3, Kind::Float));
    let batch = images.batch(1);
    let left = |threats: &[Threat]| {
        let subject =
            Subject { network: &network, batch: &batch, data: FACTS, threats, depth: Depth::Quick, other: None };
        let checks = subject.checks();
        checks.into_iter().filter(|check| check.name.starts_with("pgd_gap")).collect::<Vec<_>>()
    };
    let threats = [(Norm::Linf, 0.05), (Norm::L2, 0.3), (Norm::Linf, 0.4)].map(|(norm, eps)| Threat { norm, eps });
    let alone = threats.map(|threat| left(&[threat]).remove(0));
    let together = left(&threats);
    for ((alone, together), name) in alone.iter().zip(&together).zip(["(Linf 0.05)", "(L2 0.3)", "(Linf 0.4)"]) {
        assert_eq!(together.name, format!("pgd_gap {name}"));
        assert_eq!((&together.says, together.value), (&alone.says, alone.value));
    }
    assert_ne!(alone[0].says, alone[2].says);
}

#[test]
fn off_is_off_and_without_a_radius_only_the_model_is_looked_at() {
    let (network, images) = (network(Kind::Float), images(8, 3, Kind::Float));
    let batch = images.batch(1);
    let count = |threats: &[Threat], depth: Depth| {
        Subject { network: &network, batch: &batch, data: FACTS, threats, depth, other: None }.checks().len()
    };
    let threats = [Threat { norm: Norm::Linf, eps: 0.1 }, Threat { norm: Norm::L2, eps: 0.5 }];
    let of = |n: usize| count(&threats[..n], Depth::Quick);
    assert_eq!((count(&threats, Depth::Off), of(0), of(1), of(2)), (0, 3, 9, 15));
    assert_eq!([50, 400, 10_000, 10].map(|n| Depth::Quick.images(n)), [16, 40, 64, 10]);
    assert_eq!((Depth::Full.images(10_000), Depth::Off.images(50)), (512, 0));
}

/// Norm and radius as the attack has them, whatever is around it; none for a radius that is
/// scheduled, or that belongs to each image.
#[test]
fn an_attack_says_its_threat_models() {
    let [linf, small] = [0.1, 0.05].map(|eps| Threat { norm: Norm::Linf, eps });
    let l2 = Threat { norm: Norm::L2, eps: 0.5 };
    let pgd = "{ type: pgd, eps: 0.1, alpha: 0.02 }";
    let of_l2 = "{ type: pgd, norm: L2, eps: 0.5, alpha: 0.1 }";
    let mask = "mask: tiny_mask, beta1: 0.05, optimizer: { type: sgd, lr: 0.1 }";
    let cases = [
        ("none".to_string(), vec![]),
        (pgd.into(), vec![linf]),
        (of_l2.into(), vec![l2]),
        ("{ type: pgd, eps: { type: multistep, start: 0.1, milestones: [1] }, alpha: 0.02 }".into(), vec![]),
        ("{ type: fgsm, eps: 0.05 }".into(), vec![small]),
        ("{ type: early_stopped_pgd, objective: ce, eps: 0.1, alpha: 0.02, tau: 0 }".into(), vec![linf]),
        ("{ type: an_pgd, d_max: 0.1 }".into(), vec![]),
        ("{ type: autoattack, norm: L2, eps: 0.5 }".into(), vec![l2]),
        ("{ type: square, eps: 0.1, restarts: 2 }".into(), vec![linf]),
        (format!("{{ type: correct_only, inner: {of_l2} }}"), vec![l2]),
        (format!("{{ type: as_trained, inner: {pgd} }}"), vec![linf]),
        (format!("{{ type: calibrated, inner: {{ type: correct_only, inner: {of_l2} }}, {mask} }}"), vec![l2]),
        (format!("{{ type: worst_of, attacks: [{of_l2}, {pgd}, {of_l2}] }}"), vec![l2, linf]),
    ];
    for (yaml, expected) in cases {
        assert_eq!(attack_from_yaml(&yaml, Kind::Float).threats(), expected, "{yaml}");
    }
}

/// Training's threat model is the attack's; if that has none, it is the largest of the evaluation.
#[test]
fn a_run_is_evaluated_by_its_largest_radius() {
    let run = |attack: &str| {
        let text = format!(
            "{{ name: run, device: cpu, data: mnist, model: mlp, attack: {attack}, loss: at, \
             optimizer: {{ type: sgd, lr: 0.1 }}, evaluate: [natural, nothing, small, both], \
             attacks: {{ nothing: {{ type: fgsm, eps: 0 }}, small: {{ type: fgsm, eps: 0.1 }}, \
             unused: {{ type: fgsm, eps: 0.9 }}, both: {{ type: worst_of, attacks: [\
             {{ type: pgd, norm: L2, eps: 0.5, alpha: 0.1 }}, {{ type: fgsm, eps: 0.1 }}] }} }}, \
             train: {{ epochs: 1, batch_size: 10 }} }}"
        );
        let loaded = foil_runs::pipeline::load_text("run.yaml".as_ref(), &text, &[]).unwrap();
        let whole = foil_runs::pipeline::assemble(&loaded.pipeline, Kind::Float, tch::Device::Cpu, true).unwrap();
        let alone = foil::distributed::World::alone();
        let evaluated =
            foil_runs::pipeline::assemble_evaluation(alone, &loaded.pipeline, Kind::Float, tch::Device::Cpu, true);
        (whole, evaluated.unwrap())
    };
    let [linf, l2] = [(Norm::Linf, 0.1), (Norm::L2, 0.5)].map(|(norm, eps)| Threat { norm, eps });
    let (whole, evaluated) = run("{ type: pgd, eps: 0.1, alpha: 0.02 }");
    assert_eq!((whole.threat(), whole.eval_threat()), (linf, l2));
    assert_eq!((evaluated.threat(), evaluated.threats()), (l2, vec![linf, l2]));
    assert_eq!(run("none").0.threat(), l2);
}
