//! Labels that give several classes a share of an image, as mixup makes them.

use foil::prelude::*;
use foil::registry::plugins;
use foil::testing::{FACTS, assert_close, from_yaml, images, loss_from_yaml, loss_on, network};

/// Everything of a kind that has a meaning for them, with its example's settings.
fn with_meaning<T: foil::registry::Kind + ?Sized>(has: fn(&T) -> bool) -> Vec<&'static str> {
    let of_kind = plugins().into_iter().filter(|entry| entry.kind() == T::NAME);
    let built = of_kind.filter(|entry| {
        let mut map: serde_yaml::Mapping = serde_yaml::from_str(entry.example()).unwrap();
        map.insert("type".into(), entry.name().into());
        has(from_yaml::<T>(&serde_yaml::to_string(&map).unwrap(), Kind::Double).as_ref())
    });
    let mut names: Vec<&str> = built.map(|entry| entry.name()).collect();
    names.sort_unstable();
    names
}

/// What is refused: MART's, MMA's and CAT's weights and margins are of one label, as are `cw`,
/// `slm` and `dlr`; FAT, MMA and AutoAttack ask which images are right.
#[test]
fn losses_objectives_and_attacks_say_whether_they_have_a_meaning_for_them() {
    let losses = with_meaning::<dyn Loss>(|loss| loss.soft_labels());
    assert_eq!(losses, ["alp", "ard", "at", "each_of", "grad_align", "hat", "lbgat", "rslad", "score", "trades"]);
    for (yaml, soft) in [
        ("{ type: cat, weighted: false }", true),
        ("{ type: score, bound: 0.3 }", false),
        ("{ type: trades, label_smoothing: 0.1 }", true),
    ] {
        assert_eq!(loss_from_yaml(yaml).soft_labels(), soft, "{yaml}");
    }
    let objectives = with_meaning::<dyn Objective>(|objective| objective.soft_labels());
    assert_eq!(objectives, ["ce", "kl", "least_likely", "squared"]);
    for (yaml, soft) in [
        ("none", true),
        ("{ type: fgsm, eps: 0.1 }", true),
        ("{ type: n_fgsm, eps: 0.1 }", true),
        ("{ type: pgd, eps: 0.1, alpha: 0.1, restarts: 3 }", true),
        ("{ type: pgd, eps: 0.1, alpha: 0.1, objective: kl }", true),
        ("{ type: pgd, eps: 0.1, alpha: 0.1, objective: cw }", false),
        ("{ type: early_stopped_pgd, objective: ce, eps: 0.1, alpha: 0.1, tau: 1, omega: 0.02 }", false),
        ("{ type: correct_only, inner: { type: fgsm, eps: 0.1 } }", false),
        ("{ type: an_pgd, d_max: 0.3 }", false),
        ("{ type: grad_align, eps: 0.1 }", true),
        ("{ type: free, eps: 0.1 }", true),
        ("{ type: fgsm_pgi, eps: 0.1, alpha: 0.1 }", false),
        ("{ type: max_of, attacks: [{ type: fgsm, eps: 0.1 }] }", true),
        ("{ type: one_of, attacks: [{ type: apgd, eps: 0.1 }] }", false),
        ("{ type: autoattack, eps: 0.1 }", false),
    ] {
        assert_eq!(from_yaml::<dyn Attack>(yaml, Kind::Double).soft_labels(), soft, "{yaml}");
    }
}

fn logits() -> [Tensor; 2] {
    let clean = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]);
    [clean, Tensor::from_slice2(&[[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]])]
}

// z = torch.tensor([[2., 0., -1.], [.5, 1., 0.]], dtype=torch.float64);
// a = torch.tensor([[1., 1., -1.], [0., .5, 1.]], …)
// y = torch.tensor([[.7, .3, 0.], [.2, .2, .6]]); ce = F.cross_entropy;
// p, q = z.softmax(1), a.softmax(1)
// kl = F.kl_div(F.log_softmax(a, 1), p, reduction='batchmean');  t = y * (1 - .1 - .1 / 2) + .1 / 2
// at: ce(a, y), ce(a, y, label_smoothing=.1);  trades: ce(z, y) + 6 * kl;
// alp: ce(a, y) + .5 * F.mse_loss(z, a)
// score: ((p - y) ** 2).sum(1).mean() + 4 * ((q - p) ** 2).sum(1).mean(), with t for y;
// cat: ce(z, y) + 5 * kl
#[test]
fn losses_equal_pytorchs() {
    let [clean, attacked] = logits();
    let y = Tensor::from_slice2(&[[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]]);
    for (yaml, expected) in [
        ("at", 0.8694466731606241),
        ("{ type: at, label_smoothing: 0.1 }", 0.9127800064939574),
        ("{ type: trades, beta: 6 }", 2.691732664242614),
        ("{ type: alp, lambda: 0.5 }", 1.1611133398272908),
        ("{ type: score, beta: 4 }", 1.0140919617061752),
        ("{ type: score, beta: 4, label_smoothing: 0.1 }", 0.9999836161925734),
        ("{ type: cat, beta: 5, weighted: false }", 2.4222868610520134),
    ] {
        let found = loss_on(loss_from_yaml(yaml).as_ref(), &clean, &attacked, &y).total;
        assert_close(&found, &Tensor::from(expected), 1e-12);
    }
}

// ce(a, y, reduction='none');  torch.autograd.grad(ce(a, y, reduction='sum'), a)
#[test]
fn the_cross_entropy_that_attacks_ascend_equals_pytorchs() {
    let [_, attacked] = logits();
    let y = Tensor::from_slice2(&[[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]]);
    let (objective, reference) = (from_yaml::<dyn Objective>("ce", Kind::Double), Reference { y: &y, clean: None });
    let expected = Tensor::from_slice(&[0.7586236756795135, 0.9802696706417346]);
    assert_close(&objective.value(&attacked, reference), &expected, 1e-12);
    let expected = Tensor::from_slice2(&[
        [-0.23168946916651878, 0.1683105308334812, 0.06337893833303763],
        [-0.013676276774152452, 0.10719588571849836, -0.09351960894434597],
    ]);
    assert_close(&objective.logit_grad(&attacked, reference).unwrap(), &expected, 1e-12);
}

/// Where one class has the whole share, they are the label of that class.
#[test]
fn whole_shares_are_labels() {
    let [clean, attacked] = logits();
    let y = Tensor::from_slice(&[0i64, 1]);
    let shares = terms::shares(&y, 3, Kind::Double);
    for yaml in [
        "at",
        "trades",
        "alp",
        "{ type: alp, clean_ce: true, distance: length, label_smoothing: 0.1 }",
        "{ type: score, label_smoothing: 0.2 }",
        "{ type: cat, weighted: false }",
    ] {
        let loss = loss_from_yaml(yaml);
        let total = |y: &Tensor| loss_on(loss.as_ref(), &clean, &attacked, y).total;
        assert_close(&total(&shares), &total(&y), 1e-12);
    }
    let (network, images) = (network(Kind::Double), images(6, 4, Kind::Double));
    for yaml in ["{ type: pgd, eps: 0.1, alpha: 0.05, steps: 3, restarts: 2 }", "{ type: n_fgsm, eps: 0.1 }"] {
        let attacked = |y: Tensor| {
            let mut batch = images.batch(7);
            batch.y = y;
            let mut attack = from_yaml::<dyn Attack>(yaml, Kind::Double);
            attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap().x
        };
        let shares = terms::shares(&images.y, FACTS.classes, Kind::Double);
        assert_close(&attacked(shares), &attacked(images.y.shallow_clone()), 1e-9);
    }
}

/// A loss that asks for one label reports labels of several, and labels of another number of
/// classes than the logits have are reported.
#[test]
fn wrong_labels_are_reported() {
    let [clean, attacked] = logits();
    let said = |yaml: &str, y: &Tensor| {
        let side = std::collections::BTreeMap::new();
        foil::testing::loss_with(loss_from_yaml(yaml).as_ref(), &clean, &attacked, y, &side).unwrap_err().to_string()
    };
    let shares = |classes: i64| terms::shares(&Tensor::from_slice(&[0i64, 1]), classes, Kind::Double);
    assert!(said("mart", &shares(3)).contains("labels are [2, 3], but must be [N]"));
    assert!(said("at", &shares(4)).contains("labels are [2, 4], but must be [2, 3]"));
}
