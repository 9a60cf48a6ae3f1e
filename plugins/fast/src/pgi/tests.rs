use super::*;
use foil::prelude::*;
use foil::registry::DataFacts;
use foil::testing::{assert_close, loss_from_yaml};
use std::collections::BTreeMap;
use tch::Device;

/// z = W x for two pixels and three classes.
struct Three(Linear);

impl Model for Three {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.0.forward(pass, &xs.flatten(1, -1))
    }
}

fn network() -> Network {
    let nn = Builder::default();
    let linear = Linear::zero(&nn, "fc", 2, 3);
    let network = Network::new(Box::new(Three(linear)), nn, Some(0), Kind::Double, Device::Cpu);
    let weight = Tensor::from_slice2(&[[2.0, -1.0], [-1.0, 2.0], [0.0, 0.5]]);
    network.params().state_dict()[0].1.shallow_clone().copy_(&weight);
    network
}

fn attack(yaml: &str) -> Box<dyn Attack> {
    let facts = DataFacts { channels: 1, height: 1, width: 2, classes: 3, train: 5 };
    let problems = std::cell::RefCell::default();
    let component: Component<dyn Attack> = serde_yaml::from_str(yaml).unwrap();
    Build::new(facts, 0, Kind::Double, Device::Cpu, &problems).component("attack", &component).unwrap()
}

fn pairs(rows: [[f64; 2]; 2]) -> Tensor {
    Tensor::from_slice2(&rows)
}

/// The images 3 and 1 of five.
fn batch(clock: &Clock) -> Batch<'_> {
    let index = Tensor::from_slice(&[3i64, 1]);
    let noise = nn::Noise::new(&Tensor::from(7i64), &index);
    let (x, y) = (pairs([[0.6, 0.97], [0.3, 0.05]]).view([2, 1, 1, 2]), Tensor::from_slice(&[0i64, 1]));
    Batch { x, y, index, noise, clock, clean_logits: None }
}

// The fact sheet's numbers, which were computed in float64.
#[test]
fn a_step_of_the_fact_sheet() {
    let (network, clock) = (network(), Clock::new(9, 1, Device::Cpu));
    let mut attack = attack("{ type: fgsm_pgi, eps: 0.1, alpha: 0.1 }");
    let state: BTreeMap<_, _> = attack.state().into_iter().collect();
    let batch = batch(&clock);
    for (name, rows) in [("delta", [[0.05, -0.02], [-0.06, 0.1]]), ("momentum", [[2.0, 0.1], [-0.1, 0.3]])] {
        let _ = state[name].shallow_clone().index_copy_(0, &batch.index, &pairs(rows).view([2, 1, 1, 2]));
    }
    let _ = state["period"].shallow_clone().fill_(0);
    let target = Target::new(&network, &batch.noise);
    let found = attack.perturb(&target, &batch).unwrap();
    let of = |name: &str| state[name].index_select(0, &batch.index).view([2, 2]);
    assert_close(&of("delta"), &pairs([[0.1, 0.03], [0.04, 0.0]]), 1e-7);
    assert_close(&of("momentum"), &pairs([[0.29474646, 0.32877074], [0.16068375, -0.11529197]]), 1e-7);
    assert_close(&(&found.x - &batch.x).view([2, 2]), &pairs([[-0.05, 0.03], [0.04, 0.0]]), 1e-7);
    // Of the other images nothing is kept.
    assert_eq!(state["delta"].abs().sum(Kind::Double), of("delta").abs().sum(Kind::Double));

    let passes = [(Forward::Images(START), &found.images[START]), (Forward::Adversarial, &found.x)];
    let logits = passes.map(|(pass, x)| (pass, network.frozen(x, Mode::Eval, None)));
    let side = BTreeMap::new();
    let input = LossInput::new(logits.into_iter().collect(), &batch.y, &side, &clock);
    let loss = loss_from_yaml("fgsm_pgi");
    input.check(loss.as_ref()).unwrap();
    let output = loss.forward(&input).unwrap();
    let parts = Tensor::stack(&[&output.parts[0].1, &output.parts[1].1, &output.total], 0);
    assert_close(&parts, &Tensor::from_slice(&[1.40842110, 0.04760417, 1.88446276]), 1e-7);
}

#[test]
fn what_is_kept_begins_again_after_some_epochs() {
    let (network, clock) = (network(), Clock::new(9, 1, Device::Cpu));
    let mut attack = attack("{ type: fgsm_pgi, eps: 0.1, alpha: 0.01, reset: 2 }");
    let mut starts = Vec::new();
    for epoch in [0, 1, 3] {
        clock.set(epoch, 0);
        let batch = batch(&clock);
        let found = attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap();
        starts.push((&found.images[START] - &batch.x).view([2, 2]));
        assert!((&found.x - 0.5).abs().max().double_value(&[]) <= 0.5);
    }
    // In epoch 0 at eps everywhere, outside [0, 1] too; in epoch 1 where epoch 0 ended; then,
    // though epoch 2 did not have these images, at eps again.
    let at_eps = |start: &Tensor| (start.abs() - 0.1).abs().max().double_value(&[]) < 1e-12;
    assert_eq!(starts.iter().map(at_eps).collect::<Vec<_>>(), [true, false, true]);
    let state: BTreeMap<_, _> = attack.state().into_iter().collect();
    assert_eq!(Vec::<i64>::try_from(&state["period"]).unwrap(), [-1, 1, -1, 1, -1]);
}

// .6 for the label and .2 for each of the two others: -(.6 log p0 + .2 log p1 + .2 log p2).
#[test]
fn the_other_classes_share_what_the_label_lacks() {
    let (z, y) = (Tensor::from_slice2(&[[2.0, 0.0, -1.0]]), Tensor::from_slice(&[0i64]));
    let shares = Tensor::from_slice2(&[[0.6, 0.2, 0.2]]);
    let expected = -(shares * z.log_softmax(-1, None::<Kind>)).sum_dim_intlist(1, false, None::<Kind>);
    assert_close(&terms::smoothed_cross_entropy(&z, &y, smoothing(0.4, 3)), &expected, 1e-12);
}
