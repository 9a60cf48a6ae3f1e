//! Attacks on a network that draws random numbers when it is evaluated.

use foil::prelude::*;
use foil::testing::{TinyNet, assert_close, attack_from_yaml, images, network};
use tch::Device;

/// A [`TinyNet`] of images with noise of this size.
struct Noisy(TinyNet, f64);

impl Model for Noisy {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let noise = pass.draw(&xs.size()[1..], xs.kind()).expect("the batch has random numbers");
        self.0.forward(pass, &(xs + (noise - 0.5) * self.1))
    }
}

fn noisy(size: f64) -> Network {
    let nn = Builder::default();
    let noisy = Network::new(Box::new(Noisy(TinyNet::new(&nn), size)), nn, None, Kind::Double, Device::Cpu);
    noisy.params().load(&network(Kind::Double).params().state_dict().into_iter().collect()).unwrap();
    noisy
}

#[test]
fn a_gradient_is_the_mean_over_passes_that_each_draw_their_own_numbers() {
    let (network, images) = (noisy(2.0), images(4, 3, Kind::Double));
    let batch = images.batch(1);
    let target = Target::new(&network, &batch.noise);
    let loss = |logits: &Tensor| foil::loss::terms::cross_entropy(logits, &batch.y);
    let look = |target: &Target| target.gradient(&batch.x, Mode::Eval, &loss);
    network.start_step();
    let single = [(); 3].map(|()| look(&target));
    network.start_step();
    let mean = look(&target.averaging(3));
    assert_close(&mean.gradient, &(single.iter().map(|one| &one.gradient).sum::<Tensor>() / 3.0), 1e-12);
    assert_eq!(mean.logits, single[2].logits);
    assert!((&single[0].gradient - &single[1].gradient).abs().max().double_value(&[]) > 1e-3);
}

/// Percent of 64 images that are right under an attack, over 16 looks at what it found.
fn left(attack: &str) -> f64 {
    let (network, images) = (noisy(3.0), images(64, 3, Kind::Double));
    let batch = images.batch(1);
    network.start_step();
    let target = Target::new(&network, &batch.noise);
    let found = attack_from_yaml(attack, Kind::Double).perturb(&target, &batch).unwrap().x;
    let right = || target.logits(&found, Mode::Eval).argmax(-1, false).eq_tensor(&batch.y).to_kind(Kind::Double);
    (0..16).map(|_| right().mean(None::<Kind>).double_value(&[]) * 100.0 / 16.0).sum()
}

#[test]
fn averaged_gradients_break_more() {
    for attack in [
        "{ type: fgsm, eps: 0.1, eot: EOT }",
        "{ type: pgd, eps: 0.1, alpha: 0.03, steps: 5, start: none, eot: EOT }",
        "{ type: pgd, norm: L2, eps: 0.5, alpha: 0.15, steps: 5, start: none, eot: EOT }",
    ] {
        let [one, many] = ["1", "20"].map(|eot| left(&attack.replace("EOT", eot)));
        eprintln!("{attack}: {one} {many}");
        assert!(many < one - 1.0, "{attack}: {one} % are left, with 20 passes {many} %");
    }
}

#[test]
fn the_random_version_of_autoattack_is_apgd_on_two_losses() {
    let mut attack = attack_from_yaml("{ type: autoattack, version: rand, eps: 0.1, steps: 3 }", Kind::Double);
    let names: Vec<String> = attack.stages().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["apgd_ce", "apgd_dlr"]);
    // With one pass its first stage is the plain one.
    let found = |version: &str, eot: u32, network: &Network| {
        let images = images(4, 3, Kind::Double);
        let batch = images.batch(1);
        network.start_step();
        let yaml = format!("{{ type: autoattack, version: {version}, eps: 0.1, steps: 3, n_queries: 5, eot: {eot} }}");
        let mut attack = attack_from_yaml(&yaml, Kind::Double);
        let (_, stage) = attack.stages().swap_remove(0);
        stage.perturb(&Target::new(network, &batch.noise), &batch).unwrap().x
    };
    let noisy = noisy(3.0);
    assert_eq!(found("rand", 1, &noisy), found("standard", 7, &noisy), "`standard` makes one pass");
    assert_ne!(found("rand", 7, &noisy), found("standard", 7, &noisy));
}
