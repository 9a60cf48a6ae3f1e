//! What must hold for every image and every number, by proptest.

use foil::prelude::*;
use foil::testing::{Images, assert_close, from_yaml, images, loss_from_yaml, loss_on, loss_with, network};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Every loss, with each option that changes its formula.
const LOSSES: &[&str] = &[
    "{ type: at }",
    "{ type: trades }",
    "{ type: trades, single_clean_pass: true, detach_target: true }",
    "{ type: mart }",
    "{ type: alp }",
    "{ type: alp, clean_ce: true, distance: length, label_smoothing: 0.1 }",
    "{ type: mma }",
    "{ type: cat }",
    "{ type: cat, weighted: false }",
];

/// Attacks that stay in the ball of radius EPS and in [0, 1], in eval mode; EPS is put in.
const ATTACKS: &[&str] = &[
    "{ type: pgd, eps: EPS, alpha: 0.05, steps: 3 }",
    "{ type: pgd, eps: EPS, alpha: 0.05, steps: 3, objective: kl, start: gaussian }",
    "{ type: pgd, eps: EPS, alpha: 0.05, steps: 3, objective: cw, start: none }",
    "{ type: pgd, eps: EPS, alpha: 0.05, steps: 0 }",
    "{ type: pgd, eps: EPS, alpha: 0.05, steps: 2, objective: slm, restarts: 2 }",
    "{ type: pgd, eps: EPS, alpha: 0.05, steps: 3, objective: least_likely }",
    "{ type: fgsm, eps: EPS }",
    "{ type: early_stopped_pgd, objective: ce, eps: EPS, alpha: 0.05, steps: 3, tau: 1, omega: 0.02 }",
    "{ type: correct_only, inner: { type: pgd, eps: EPS, alpha: 0.05, steps: 3 } }",
    "{ type: apgd, eps: EPS, steps: 6 }",
    "{ type: apgd, objective: dlr, eps: EPS, steps: 4, restarts: 2 }",
    "{ type: square, eps: EPS, n_queries: 15 }",
    "{ type: worst_of, attacks: [{ type: fgsm, eps: EPS }, { type: square, eps: EPS, n_queries: 5 }] }",
];

/// Those whose steps may leave the ball: only what they return lies in it.
const ROAMING: &[&str] =
    &["{ type: fab_t, eps: EPS, steps: 5, targets: 2 }", "{ type: autoattack, eps: EPS, steps: 3, n_queries: 9 }"];

fn attack(template: &str, eps: f64) -> Box<dyn Attack> {
    from_yaml(&template.replace("EPS", &eps.to_string()), Kind::Double)
}

/// The attacked images, and every iterate.
fn run(attack: &mut dyn Attack, network: &Network, batch: &Batch) -> (Tensor, Vec<Tensor>) {
    let iterates = RefCell::default();
    let x = attack.perturb(&Target::new(network, &batch.noise).recording(&iterates), batch).unwrap().x;
    (x, iterates.into_inner())
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

/// Logits `[n, 4]`, labels, and side tensors for MMA.
fn logits(images: &Images) -> (Tensor, Tensor, BTreeMap<String, Tensor>) {
    let n = images.y.size()[0];
    let z = |from: i64| images.x.flatten(1, -1).narrow(1, from, 4) * 6.0 - 3.0;
    let weight = images.index.remainder(3).gt(0).to_kind(Kind::Double);
    (z(0), z(20).view([n, 4]), BTreeMap::from([("mma.weight".to_string(), weight)]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn attacks_stay_in_the_ball_and_the_box_at_every_step(seed in 0u64..1000, n in 1i64..6, eps in 0.0..0.4f64) {
        let (network, images) = (network(Kind::Double), images(n, seed, Kind::Double));
        for template in ATTACKS {
            let (x, iterates) = run(attack(template, eps).as_mut(), &network, &images.batch(seed));
            // TRADES's Gaussian start may lie outside until the first step.
            let gaussian = usize::from(template.contains("gaussian"));
            for point in iterates.iter().skip(gaussian).chain([&x]) {
                prop_assert!(largest(&(point - &images.x)) <= eps + 1e-12, "{template} leaves the ball");
                prop_assert!(largest(&(point - 0.5)) <= 0.5, "{template} leaves [0, 1]");
            }
        }
    }

    #[test]
    fn what_roaming_attacks_return_lies_in_the_ball_and_the_box(seed in 0u64..1000, n in 1i64..6, eps in 0.0..0.4f64) {
        let (network, images) = (network(Kind::Double), images(n, seed, Kind::Double));
        for template in ROAMING {
            let (x, _) = run(attack(template, eps).as_mut(), &network, &images.batch(seed));
            prop_assert!(largest(&(&x - &images.x)) <= eps + 1e-12, "{template} leaves the ball");
            prop_assert!(largest(&(&x - 0.5)) <= 0.5, "{template} leaves [0, 1]");
        }
    }

    #[test]
    fn an_l2_attack_stays_in_its_ball(seed in 0u64..1000, n in 1i64..6, eps in 0.0..2.0f64) {
        let (network, images) = (network(Kind::Double), images(n, seed, Kind::Double));
        for (template, roams) in [
            ("{ type: pgd, norm: L2, eps: EPS, alpha: 0.4, steps: 4 }", false),
            ("{ type: apgd, norm: L2, eps: EPS, steps: 4 }", false),
            ("{ type: square, norm: L2, eps: EPS, n_queries: 6 }", false),
            ("{ type: fab_t, norm: L2, eps: EPS, steps: 4 }", true),
        ] {
            let (x, iterates) = run(attack(template, eps).as_mut(), &network, &images.batch(seed));
            for point in iterates.iter().filter(|_| !roams).chain([&x]) {
                let length = (point - &images.x).flatten(1, -1).square().sum_dim_intlist(1, false, None::<Kind>).sqrt();
                prop_assert!(largest(&length) <= eps + 1e-12, "{template} leaves the ball");
                prop_assert!(largest(&(point - 0.5)) <= 0.5, "{template} leaves [0, 1]");
            }
        }
    }

    #[test]
    fn an_l1_attack_stays_in_its_ball(seed in 0u64..1000, n in 1i64..6, eps in 0.0..4.0f64) {
        let (network, images) = (network(Kind::Double), images(n, seed, Kind::Double));
        for (template, roams) in [
            ("{ type: apgd, norm: L1, eps: EPS, steps: 6, large_radii: false }", false),
            ("{ type: apgd, norm: L1, eps: EPS, steps: 6, start: none, keep: worst }", true),
            ("{ type: apgd_t, norm: L1, eps: EPS, steps: 6 }", true),
            ("{ type: pgd_l1, eps: EPS, steps: 4, mode: eval }", false),
        ] {
            let (x, iterates) = run(attack(template, eps).as_mut(), &network, &images.batch(seed));
            for point in iterates.iter().filter(|_| !roams).chain([&x]) {
                let length = (point - &images.x).flatten(1, -1).abs().sum_dim_intlist(1, false, None::<Kind>);
                prop_assert!(largest(&length) <= eps + 1e-12, "{template} leaves the ball");
                prop_assert!(largest(&(point - 0.5)) <= 0.5, "{template} leaves [0, 1]");
            }
        }
    }

    #[test]
    fn with_radius_0_images_stay_clean(seed in 0u64..1000) {
        let (network, images) = (network(Kind::Double), images(4, seed, Kind::Double));
        for template in ATTACKS.iter().chain(ROAMING) {
            prop_assert!(run(attack(template, 0.0).as_mut(), &network, &images.batch(seed)).0 == images.x, "{template}");
        }
    }

    #[test]
    fn permuting_the_batch_permutes_the_attacked_images(seed in 0u64..1000) {
        let (network, images) = (network(Kind::Double), images(6, seed, Kind::Double));
        let order = foil::nn::permutation(&[seed], 6, tch::Device::Cpu);
        for template in ATTACKS {
            let (x, _) = run(attack(template, 0.1).as_mut(), &network, &images.batch(seed));
            let (permuted, _) = run(attack(template, 0.1).as_mut(), &network, &images.rows(&order, seed));
            let off = (permuted - x.index_select(0, &order)).abs().flatten(1, -1).amax([1i64].as_slice(), false);
            let others = off.gt(1e-12).sum(Kind::Int64).int64_value(&[]);
            // APGD halves an image's step where its loss did not rise. A rise by one rounding is
            // one too, and the batch's order rounds: 2 of 1000 seeds, an image each.
            let most = i64::from(template.contains("apgd"));
            prop_assert!(others <= most, "{template}: {others} images by up to {off}");
        }
    }

    #[test]
    fn more_restarts_are_never_weaker(seed in 0u64..1000) {
        let (network, images) = (network(Kind::Double), images(6, seed, Kind::Double));
        let worst = |restarts: u32| {
            let yaml = format!("{{ type: pgd, eps: 0.1, alpha: 0.05, steps: 2, keep: worst, restarts: {restarts} }}");
            let (x, _) = run(attack(&yaml, 0.0).as_mut(), &network, &images.batch(seed));
            terms::cross_entropy(&network.frozen(&x, Mode::Eval, None), &images.y)
        };
        prop_assert!((worst(3) - worst(1)).min().double_value(&[]) >= 0.0);
    }

    #[test]
    fn losses_see_differences_of_logits_only(seed in 0u64..1000, n in 1i64..8, shift in -20.0..20.0f64) {
        let images = images(n, seed, Kind::Double);
        let (clean, adversarial, side) = logits(&images);
        for yaml in LOSSES {
            let loss: Box<dyn Loss> = from_yaml(yaml, Kind::Double);
            let total = |by: f64| {
                loss_with(loss.as_ref(), &(&clean + by), &(&adversarial + by), &images.y, &side).unwrap().total
            };
            assert_close(&total(shift), &total(0.0), 1e-10);
        }
    }

    #[test]
    fn losses_are_means_over_the_batch_in_any_order(seed in 0u64..1000) {
        let images = images(6, seed, Kind::Double);
        let (clean, adversarial, side) = logits(&images);
        for yaml in LOSSES {
            let loss: Box<dyn Loss> = from_yaml(yaml, Kind::Double);
            let of = |rows: &Tensor| {
                let pick = |t: &Tensor| t.index_select(0, rows);
                let side = side.iter().map(|(name, t)| (name.clone(), pick(t))).collect();
                loss_with(loss.as_ref(), &pick(&clean), &pick(&adversarial), &pick(&images.y), &side).unwrap().total
            };
            let whole = of(&images.index);
            assert_close(&of(&foil::nn::permutation(&[seed], 6, tch::Device::Cpu)), &whole, 1e-12);
            let halves = (of(&images.index.narrow(0, 0, 3)) + of(&images.index.narrow(0, 3, 3))) / 2.0;
            assert_close(&halves, &whole, 1e-12);
        }
    }

    /// Where nothing was attacked, and MMA excuses no image, what is left is the clean
    /// cross-entropy in each method's form.
    #[test]
    fn with_clean_images_losses_reduce_to_their_clean_form(seed in 0u64..1000) {
        let images = images(6, seed, Kind::Double);
        let (clean, _, _) = logits(&images);
        let side = BTreeMap::from([("mma.weight".to_string(), Tensor::ones([6], (Kind::Double, tch::Device::Cpu)))]);
        let ce = terms::cross_entropy(&clean, &images.y);
        let p = terms::label_probability(&clean, &images.y);
        let runner_up = terms::largest_other(&clean.softmax(-1, None::<Kind>), &images.y);
        for yaml in LOSSES {
            let loss: Box<dyn Loss> = from_yaml(yaml, Kind::Double);
            let expected = match yaml {
                _ if yaml.contains("cat") && !yaml.contains("weighted") => &ce * (-&p + 1.000_000_1),
                _ if yaml.contains("mart") => &ce - (-&runner_up + 1.0001).log(),
                _ if yaml.contains("smoothing") => &ce * 0.9 - clean.log_softmax(-1, None::<Kind>).mean_dim([1i64].as_slice(), false, None::<Kind>) * 0.1,
                _ => ce.shallow_clone(),
            };
            let total = loss_with(loss.as_ref(), &clean, &clean, &images.y, &side).unwrap().total;
            assert_close(&total, &expected.mean(None::<Kind>), 1e-10);
        }
    }

    /// A mask's output is a sigmoid, so a bias of ±infinity makes it 1 or 0 everywhere.
    #[test]
    fn a_full_mask_keeps_the_attack_and_an_empty_one_the_image(seed in 0u64..1000, concat in any::<bool>()) {
        let (network, images) = (network(Kind::Double), images(5, seed, Kind::Double));
        let input = if concat { "concat" } else { "sum" };
        let yaml = format!(
            "{{ type: calibrated, inner: {{ type: pgd, eps: 0.1, alpha: 0.05, steps: 3 }}, mask: tiny_mask, beta1: 0.05, optimizer: {{ type: sgd, lr: 0.1 }}, input: {input} }}"
        );
        let attacked = run(attack(ATTACKS[0], 0.1).as_mut(), &network, &images.batch(seed)).0;
        for (bias, expected) in [(f64::INFINITY, &attacked), (f64::NEG_INFINITY, &images.x)] {
            let mut calibrated = attack(&yaml, 0.0);
            for (name, mut numbers) in calibrated.learner().unwrap().network().params().state_dict() {
                if name == "out.bias" {
                    let _ = numbers.fill_(bias);
                }
            }
            assert_close(&run(calibrated.as_mut(), &network, &images.batch(seed)).0, expected, 1e-15);
        }
    }
}

/// The ablation A1 of the CAT paper: TRADES's loss with one clean pass, in value and in both
/// gradients.
#[test]
fn cat_without_its_weight_is_trades() {
    let z = |by: f64| (Tensor::arange(20, (Kind::Double, tch::Device::Cpu)) * by).sin().view([5, 4]) * 3.0;
    let y = Tensor::from_slice(&[0i64, 3, 1, 2, 2]);
    let [ours, theirs] =
        ["{ type: cat, beta: 5, weighted: false }", "{ type: trades, beta: 5, single_clean_pass: true }"].map(|yaml| {
            let [clean, attacked] = [1.3, 2.1].map(|by| z(by).set_requires_grad(true));
            let total = loss_on(loss_from_yaml(yaml).as_ref(), &clean, &attacked, &y).total;
            let gradients = Tensor::run_backward(&[&total], &[&clean, &attacked], false, false);
            Tensor::cat(&[total.view(1), gradients[0].flatten(0, -1), gradients[1].flatten(0, -1)], 0)
        });
    assert_close(&ours, &theirs, 1e-14);
}
