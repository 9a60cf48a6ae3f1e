//! Masks against the algorithm on the correct images alone.

use super::*;
use foil::testing::{Images, assert_close, attack_from_yaml, images, network};

const D_MAX: f64 = 0.04;
const E_MIN: f64 = 0.02;

/// A batch with the clean logits it needs.
fn batch<'a>(network: &Network, images: &'a Images) -> Batch<'a> {
    let mut batch = images.batch(2);
    batch.clean_logits = Some(network.frozen(&batch.x, Mode::Eval, None));
    batch
}

fn attack() -> Box<dyn Attack> {
    let yaml = format!("{{ type: an_pgd, d_max: {D_MAX}, e_min: {E_MIN}, steps: 5, search_mode: eval }}");
    attack_from_yaml(&yaml, Kind::Double)
}

/// The distance of one correct image, and its direction: the paper's Algorithm 2 with plain numbers
/// and branches.
fn one(network: &Network, image: &Batch, stored: f64) -> (f64, Tensor) {
    let target = Target::new(network, &image.noise);
    let margin = |x: &Tensor| terms::soft_logit_margin(&target.logits(x, Mode::Eval), &image.y).double_value(&[0]);
    let eps = stored.max(E_MIN);
    let mut x = (&image.x + (image.uniform("start") * 2.0 - 1.0) * eps).clamp(0.0, 1.0);
    for _ in 0..5 {
        let value = |z: &Tensor| terms::soft_logit_margin(z, &image.y);
        let moved = &x + target.gradient(&x, Mode::Eval, &value).gradient.sign() * (2.5 * eps / 5.0);
        x = moved.maximum(&(&image.x - eps)).minimum(&(&image.x + eps)).clamp(0.0, 1.0);
    }
    let direction = (&x - &image.x) / (eps + 1e-12);
    let (mut low, mut high, mut distance) = (0f64, 1.05 * D_MAX, eps);
    let mut value = margin(&x);
    for _ in 0..10 {
        if value < 0.0 {
            low = low.max(distance);
        } else {
            high = high.min(distance);
        }
        distance = (low + high) / 2.0;
        value = margin(&(&image.x + &direction * distance).clamp(0.0, 1.0));
    }
    (distance, direction)
}

#[test]
fn masks_equal_the_algorithm_image_by_image() {
    let (network, images) = (network(Kind::Double), images(24, 5, Kind::Double));
    let batch = batch(&network, &images);
    let correct = terms::soft_logit_margin(batch.clean_logits.as_ref().unwrap(), &batch.y).lt(0.0);
    let mut attack = attack();
    let mut stored = vec![0.0; 24];
    let (mut wrong, mut near, mut far) = (0, 0, 0);
    // The second epoch begins at the distances that the first one found.
    for _ in 0..2 {
        let result = attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap();
        for i in 0..24 {
            let (mut expected, mut weight) = (images.x.get(i), 1.0);
            if correct.int64_value(&[i]) == 0 {
                stored[i as usize] = 0.0;
                wrong += 1;
            } else {
                let (distance, direction) =
                    one(&network, &images.rows(&Tensor::from_slice(&[i]), 2), stored[i as usize]);
                expected = images.x.get(i) + direction.squeeze_dim(0) * distance;
                stored[i as usize] = distance;
                weight = f64::from(distance < D_MAX);
                *(if distance < D_MAX { &mut near } else { &mut far }) += 1;
            }
            assert_close(&result.x.get(i), &expected, 1e-12);
            assert_eq!(result.side["mma.weight"].double_value(&[i]), weight, "image {i}");
        }
        assert_close(&attack.state()[0].1.narrow(0, 0, 24), &Tensor::from_slice(&stored), 1e-12);
    }
    assert!(wrong > 2 && near > 2 && far > 2, "{wrong} wrong, {near} near and {far} far images show too little");
}

#[test]
fn found_distances_lie_at_the_boundary() {
    let (network, images) = (network(Kind::Double), images(24, 6, Kind::Double));
    let batch = batch(&network, &images);
    let result = attack().perturb(&Target::new(&network, &batch.noise), &batch).unwrap();
    let distance = &result.side["mma.distance"];
    let margin = |distance: &Tensor| {
        let along = (&result.x - &batch.x) / result.side["mma.distance"].clamp_min(1e-9).view([-1, 1, 1, 1]);
        let x = (&batch.x + along * distance.view([-1, 1, 1, 1])).clamp(0.0, 1.0);
        terms::soft_logit_margin(&network.frozen(&x, Mode::Eval, None), &batch.y)
    };
    // Ten bisections leave an interval of 1.05 · d_max / 1024 around a boundary, if one was found.
    let width = 1.05 * D_MAX / 1024.0;
    let crosses = margin(&(distance - width)).lt(0.0).logical_and(&margin(&(distance + width)).ge(0.0));
    let searched = distance.gt(2.0 * width).logical_and(&distance.lt(D_MAX));
    assert!(searched.sum(Kind::Int64).int64_value(&[]) > 2);
    assert_eq!(searched.logical_and(&crosses), searched);
}

#[test]
fn the_clean_pass_is_asked_for() {
    let (network, images) = (network(Kind::Double), images(4, 5, Kind::Double));
    let batch = images.batch(2);
    let error = attack().perturb(&Target::new(&network, &batch.noise), &batch).unwrap_err();
    assert!(error.to_string().contains("no logits of the clean images"), "{error}");
}

/// In train mode, which takes the statistics of a batch.
fn searching(statistics: &str) -> Box<dyn Attack> {
    let yaml = format!("{{ type: an_pgd, d_max: {D_MAX}, e_min: {E_MIN}, steps: 5, search_statistics: {statistics} }}");
    attack_from_yaml(&yaml, Kind::Double)
}

fn state(network: &Network) -> Vec<(String, Tensor)> {
    network.params().state_dict().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

/// The authors' code picks the correct images out of the batch, and nothing else passes through the
/// network.
#[test]
fn a_search_in_train_mode_is_that_of_the_correct_images_alone() {
    let images = images(24, 5, Kind::Double);
    let [ours, theirs, whole] = [(); 3].map(|()| network(Kind::Double));
    let batch = batch(&ours, &images);
    let correct = terms::soft_logit_margin(batch.clean_logits.as_ref().unwrap(), &batch.y).lt(0.0);
    let rows = correct.nonzero().view(-1);
    assert!((2..23).contains(&rows.size()[0]), "{rows:?}");
    let alone = batch.rows(&rows);

    let found = searching("correct").perturb(&Target::new(&ours, &batch.noise), &batch).unwrap();
    let expected = searching("batch").perturb(&Target::new(&theirs, &alone.noise), &alone).unwrap();
    assert_close(&found.x.index_select(0, &rows), &expected.x, 1e-12);
    for name in ["mma.distance", "mma.weight"] {
        assert_close(&found.side[name].index_select(0, &rows), &expected.side[name], 1e-12);
    }
    let wrong = correct.logical_not().nonzero().view(-1);
    assert_eq!(found.x.index_select(0, &wrong), batch.x.index_select(0, &wrong));
    for ((name, a), (_, b)) in state(&ours).iter().zip(&state(&theirs)) {
        assert_close(&a.to_kind(Kind::Double), &b.to_kind(Kind::Double), 1e-12);
        assert!(!name.ends_with("tracked") || a.int64_value(&[]) == 11, "{name}: {a:?}");
    }
    // The whole batch's statistics are others.
    let other = searching("batch").perturb(&Target::new(&whole, &batch.noise), &batch).unwrap();
    assert!((other.side["mma.distance"].copy() - &found.side["mma.distance"]).abs().max().double_value(&[]) > 1e-4);
}

#[test]
fn where_no_image_is_correct_nothing_moves() {
    let (network, images) = (network(Kind::Double), images(6, 5, Kind::Double));
    let mut batch = batch(&network, &images);
    batch.clean_logits = Some(Tensor::zeros([6, 4], (Kind::Double, batch.x.device())));
    let before = state(&network);
    let found = searching("correct").perturb(&Target::new(&network, &batch.noise), &batch).unwrap();
    assert_eq!(found.x, batch.x);
    for ((name, after), (_, before)) in state(&network).iter().zip(&before) {
        assert_eq!(after, before, "{name}");
    }
}
