use super::*;
use foil::testing::{FACTS, assert_close, attack_from_yaml, images, network};
use tch::Device;

/// Leaves the images as they are but for a constant, which it adds to those whose index is a
/// multiple of a number.
#[settings]
struct Shift {
    /// What is added.
    by: f64,
    /// To which images.
    every: i64,
}

impl Config<dyn Attack> for Shift {
    fn build(&self, _: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(self.clone()))
    }
}

impl Attack for Shift {
    fn perturb(&mut self, _: &Target, batch: &Batch) -> Result<Adversarial> {
        let moved = batch.index.remainder(self.every).eq(0).to_kind(batch.x.kind()).view([-1, 1, 1, 1]);
        Ok(Adversarial::new(&batch.x + moved * self.by))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

register!(dyn Attack, "shift", Shift, "{ by: 0.1, every: 2 }");

// By hand: an attack that does nothing first, then ones that move every second and every third
// image, by different amounts. Where the second and the third are equal (both 0), the first counts,
// which is the image itself.
#[test]
fn the_largest_cross_entropy_counts() {
    let (network, images) = (network(Kind::Double), images(12, 3, Kind::Double));
    let batch = images.batch(1);
    let target = Target::new(&network, &batch.noise);
    let shift = |by: f64, every: i64| format!("{{ type: shift, by: {by}, every: {every} }}");
    let all = [shift(0.0, 1), shift(-0.2, 2), shift(-0.4, 3)];
    let one = |yaml: &String| attack_from_yaml(yaml, Kind::Double).perturb(&target, &batch).unwrap().x;
    let loss = |x: &Tensor| terms::cross_entropy(&target.logits(x, Mode::Eval), &batch.y);
    let (xs, losses): (Vec<Tensor>, Vec<Vec<f64>>) =
        all.iter().map(one).map(|x| (x.shallow_clone(), Vec::<f64>::try_from(loss(&x)).unwrap())).unzip();
    let yaml = format!("{{ type: max_of, mode: eval, attacks: [{}] }}", all.join(", "));
    let found = attack_from_yaml(&yaml, Kind::Double).perturb(&target, &batch).unwrap().x;
    let mut taken = Vec::new();
    for image in 0..12 {
        let largest = losses.iter().map(|loss| loss[image]).fold(f64::MIN, f64::max);
        let first = losses.iter().position(|loss| loss[image] == largest).unwrap();
        assert_eq!(found.get(image as i64), xs[first].get(image as i64), "image {image}");
        taken.push(first);
    }
    assert!([0, 1, 2].iter().all(|which| taken.contains(which)), "{taken:?}");
}

// The fact sheet: r = .4 and .25 give .6 / 1.35 and .75 / 1.35.
#[test]
fn an_attack_is_drawn_by_what_it_broke() {
    let drawn = |counts: &[f64], uniform: f64| {
        let counts = Tensor::from_slice(counts).view([-1, 2]);
        draw(&counts, &Tensor::from_slice(&[uniform])).int64_value(&[0])
    };
    let counts = [40.0, 100.0, 50.0, 200.0];
    for (uniform, expected) in [(0.0, 0), (0.44444444, 0), (0.44444445, 1), (0.99999, 1)] {
        assert_eq!(drawn(&counts, uniform), expected, "{uniform}");
    }
    // Until each has had a batch, and where nothing was ever broken, all are alike.
    for counts in [[40.0, 100.0, 0.0, 0.0], [100.0, 100.0, 7.0, 7.0]] {
        assert_eq!([0.49, 0.51].map(|uniform| drawn(&counts, uniform)), [0, 1]);
    }
    // One against which nothing was lost is not drawn again.
    assert_eq!([0.0, 0.999].map(|uniform| drawn(&[9.0, 9.0, 1.0, 9.0], uniform)), [1, 1]);
}

const TRAINING: &str = "steps: 4, start: none, keep: worst";

fn eat(run_all: bool) -> String {
    let linf = format!("{{ type: apgd, eps: 0.05, {TRAINING} }}");
    let l1 = format!("{{ type: apgd, norm: L1, eps: 2, {TRAINING}, share: 0.05, large_radii: false }}");
    format!("{{ type: one_of, run_all: {run_all}, attacks: [{linf}, {l1}] }}")
}

/// Twelve batches of eight images: their attacked images, the numbers of the drawn attacks, and the
/// state at the end.
fn steps(run_all: bool) -> (Vec<Tensor>, Vec<i64>, Vec<(String, Tensor)>) {
    let network = network(Kind::Double);
    let mut attack = attack_from_yaml(&eat(run_all), Kind::Double);
    let (mut found, mut drawn) = (Vec::new(), Vec::new());
    for seed in 0..12 {
        let images = images(8, seed, Kind::Double);
        let batch = images.batch(seed);
        let target = Target::new(&network, &batch.noise);
        let made = attack.perturb(&target, &batch).unwrap();
        attack.learning_mut().unwrap().after_update(&target, &batch, &made).unwrap();
        drawn.push(attack.state()[2].1.int64_value(&[0]));
        found.push(made.x);
    }
    let state = attack.state().into_iter().map(|(name, t)| (name, t.copy())).collect();
    (found, drawn, state)
}

#[test]
fn running_all_attacks_keeps_the_drawn_ones_images() {
    let ((one, drawn, state), all) = (steps(false), steps(true));
    assert_eq!((&one, &drawn, &state), (&all.0, &all.1, &all.2));
    assert!(drawn.contains(&0) && drawn.contains(&1), "{drawn:?}");
    // Each image was counted once, and what was broken for that attack.
    let counts = &state[0].1;
    let attacked = Vec::<f64>::try_from(counts.select(1, 1)).unwrap();
    let times = |which: i64| 8.0 * drawn.iter().filter(|one| **one == which).count() as f64;
    assert_eq!(attacked, [times(0), times(1)]);
    let right = Vec::<f64>::try_from(counts.select(1, 0)).unwrap();
    assert!(right.iter().zip(&attacked).all(|(right, all)| *right > 0.0 && right < all), "{right:?} of {attacked:?}");
    let capturable = [false, true].map(|run_all| attack_from_yaml(&eat(run_all), Kind::Double).capturable());
    assert_eq!(capturable, [false, true]);
}

// What is broken counts on the way: an image that a later, better point leaves right is not right.
#[test]
fn an_attack_says_what_it_broke_on_the_way() {
    let (network, images) = (network(Kind::Double), images(16, 2, Kind::Double));
    let batch = images.batch(1);
    for norm in ["Linf, eps: 0.05", "L2, eps: 0.4", "L1, eps: 2, large_radii: false"] {
        let iterates = std::cell::RefCell::default();
        let target = Target::new(&network, &batch.noise);
        let yaml = format!("{{ type: apgd, norm: {norm}, {TRAINING} }}");
        let recording = Target::new(&network, &batch.noise).recording(&iterates);
        let found = attack_from_yaml(&yaml, Kind::Double).perturb(&recording, &batch).unwrap();
        let points: Vec<Tensor> = iterates.take();
        let wrong = |x: &Tensor| target.logits(x, Mode::Eval).argmax(-1, false).ne_tensor(&batch.y);
        let loss = |x: &Tensor| terms::cross_entropy(&target.logits(x, Mode::Eval), &batch.y);
        // A point that an image went back to is not looked at again.
        let broken = points.iter().map(&wrong).fold(wrong(&batch.x), |all, one| all.logical_or(&one));
        assert_eq!(found.broken.unwrap(), broken, "{norm}");
        let most = points.iter().map(&loss).fold(loss(&batch.x), |most, one| most.maximum(&one));
        assert_close(&loss(&found.x), &most, 1e-12);
        let broken = broken.sum(Kind::Int64).int64_value(&[]);
        assert!((4..16).contains(&broken), "{norm}: {broken}");
    }
}

#[test]
fn state_that_would_be_lost_is_refused() {
    let problems = std::cell::RefCell::default();
    let yaml = format!("{{ type: max_of, attacks: [{}] }}", eat(false));
    let component: Component<dyn Attack> = serde_yaml::from_str(&yaml).unwrap();
    Build::new(FACTS, 0, Kind::Double, Device::Cpu, &problems).component::<dyn Attack>("attack", &component);
    let problems = problems.into_inner();
    assert!(problems[0].message.contains("learns or keeps something"), "{problems:?}");
}
