//! Masks against shrinking batches.

use super::*;
use foil::testing::{Images, assert_close, attack_from_yaml, images, network};
use foil_attacks as _;

fn perturb(network: &Network, images: &Images, yaml: &str) -> Tensor {
    let batch = images.batch(5);
    attack_from_yaml(yaml, Kind::Double).perturb(&Target::new(network, &batch.noise), &batch).unwrap().x
}

/// Algorithm 1 as one would write it first: images leave the batch. Also how many steps each took.
fn shrinking(
    network: &Network,
    images: &Images,
    objective: &dyn Objective,
    tau: i64,
    omega: f64,
) -> (Tensor, Vec<usize>) {
    let all = images.batch(5);
    let n = all.y.size()[0];
    let x = (&all.x + (all.uniform("start") * 2.0 - 1.0) * 0.1).clamp(0.0, 1.0);
    let mut active: Vec<i64> = (0..n).collect();
    let mut counter = vec![tau; n as usize];
    let mut taken = vec![0; n as usize];
    for k in 1..=6 {
        let rows = Tensor::from_slice(&active);
        let part = images.rows(&rows, 5);
        let target = Target::new(network, &part.noise);
        let clean = target.logits(&part.x, Mode::Eval);
        let reference = Reference { y: &part.y, clean: Some(&clean) };
        let ascent = target.ascend(&x.index_select(0, &rows), Mode::Eval, objective, reference);
        let said = Vec::<i64>::try_from(ascent.logits.argmax(-1, false)).unwrap();
        let labels = Vec::<i64>::try_from(&part.y).unwrap();
        let moved =
            x.index_select(0, &rows) + ascent.gradient.sign() * 0.03 + part.normal(&format!("noise.{k}")) * omega;
        let moved = Box01::new(&part.x, &Tensor::from(0.1), true).project(&moved);
        let mut stay = Vec::new();
        for (row, &i) in active.iter().enumerate() {
            let wrong = said[row] != labels[row];
            if wrong && counter[i as usize] == 0 {
                continue;
            }
            counter[i as usize] -= i64::from(wrong);
            taken[i as usize] += 1;
            x.get(i).copy_(&moved.get(row as i64));
            stay.push(i);
        }
        active = stay;
        if active.is_empty() {
            break;
        }
    }
    (x, taken)
}

#[test]
fn masks_equal_shrinking_batches() {
    let (network, images) = (network(Kind::Double), images(24, 7, Kind::Double));
    let mut seen = std::collections::BTreeSet::new();
    for name in ["ce", "kl"] {
        let objective: Box<dyn Objective> = foil::testing::from_yaml(name, Kind::Double);
        for tau in [0, 1, 2, 6] {
            for omega in [0.0, 0.02] {
                let (expected, taken) = shrinking(&network, &images, objective.as_ref(), tau, omega);
                let yaml = format!(
                    "{{ type: early_stopped_pgd, objective: {name}, eps: 0.1, alpha: 0.03, steps: 6, tau: {tau}, omega: {omega} }}"
                );
                assert_close(&perturb(&network, &images, &yaml), &expected, 1e-12);
                seen.extend(taken);
            }
        }
    }
    assert!(seen.len() >= 6, "images stopped after {seen:?} steps only: the comparison shows little");
}

#[test]
fn with_tau_as_large_as_steps_it_is_pgd() {
    let (network, images) = (network(Kind::Double), images(24, 8, Kind::Double));
    let pgd = perturb(&network, &images, "{ type: pgd, eps: 0.1, alpha: 0.03, steps: 6, start: uniform }");
    let stopped = |tau: u32| {
        let yaml = format!("{{ type: early_stopped_pgd, objective: ce, eps: 0.1, alpha: 0.03, steps: 6, tau: {tau} }}");
        perturb(&network, &images, &yaml)
    };
    assert_eq!(stopped(6), pgd);
    assert_eq!(stopped(60), pgd);
    assert_ne!(stopped(0), pgd);
}

#[test]
fn with_tau_0_an_image_misclassified_at_its_start_stays_there() {
    let (network, images) = (network(Kind::Double), images(24, 9, Kind::Double));
    let [start, end] = [0, 6].map(|steps| {
        let yaml =
            format!("{{ type: early_stopped_pgd, objective: ce, eps: 0.1, alpha: 0.03, steps: {steps}, tau: 0, start: gaussian }}");
        perturb(&network, &images, &yaml)
    });
    assert!(start.min().double_value(&[]) >= 0.0 && start.max().double_value(&[]) <= 1.0, "the start is clamped");
    let moved = (&end - &start).abs().flatten(1, -1).amax(1, false).gt(0.0);
    let right = network.frozen(&start, Mode::Eval, None).argmax(-1, false).eq_tensor(&images.y);
    assert_eq!(moved, right);
    assert_eq!(right.sum(Kind::Int64).int64_value(&[]), 18);
}
