//! The trust checks on models that mask their gradients on purpose, each of which must be found out, and on one that does not.

use foil::eval::trust::{Depth, Subject};
use foil::prelude::*;
use foil::record::{Norm, Threat, TrustCheck};
use foil::testing::{FACTS, TinyNet, images, network};
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
    let subject = Subject { network: &masked, batch: &batch, data: FACTS, threat, depth: Depth::Quick, other };
    subject.checks().unwrap()
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

#[test]
fn off_is_off_and_without_a_radius_only_the_model_is_looked_at() {
    let (network, images) = (network(Kind::Float), images(8, 3, Kind::Float));
    let batch = images.batch(1);
    let count = |eps: f64, depth: Depth| {
        let threat = Threat { norm: Norm::Linf, eps };
        Subject { network: &network, batch: &batch, data: FACTS, threat, depth, other: None }.checks().unwrap().len()
    };
    assert_eq!((count(0.1, Depth::Off), count(0.0, Depth::Quick), count(0.1, Depth::Quick)), (0, 3, 9));
    assert_eq!([50, 400, 10_000, 10].map(|n| Depth::Quick.images(n)), [16, 40, 64, 10]);
    assert_eq!((Depth::Full.images(10_000), Depth::Off.images(50)), (512, 0));
}
