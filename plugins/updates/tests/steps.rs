//! Two steps with each update, against PyTorch.
//!
//! ```python
//! # torch, float64; x', x and y as below; AWP from the fact sheet of the authors' code: the
//! # direction is taken in a copy of the network, so the network's statistics do not move
//! class Net(nn.Module):
//!     def __init__(self): self.bn, self.fc = nn.BatchNorm2d(1), nn.Linear(2, 2)  # numbers as below
//!     def forward(self, x): return self.fc(self.bn(x).flatten(1))
//! net = Net().train(); opt = torch.optim.SGD(net.parameters(), lr=.1, momentum=.9, weight_decay=.01)
//! for _ in range(2):
//!     # AWP
//!     proxy = copy.deepcopy(net).train(); named = dict(proxy.named_parameters())
//!     grads = dict(zip(named, torch.autograd.grad(loss(proxy), named.values())))
//!     v = {n: gamma * p.norm() / (grads[n].norm() + 1e-20) * grads[n]
//!          for n, p in net.named_parameters() if p.dim() > 1 and "weight" in n}
//!     for n, p in net.named_parameters(): p.data += v.get(n, 0)
//!     opt.zero_grad(); loss(net).backward(); opt.step()
//!     for n, p in net.named_parameters(): p.data -= v.get(n, 0)
//!     net(x)  # AT only
//!     # SAM, with t = |p| + .01 for weights in ASAM, else 1
//!     opt.zero_grad(); loss(net).backward()
//!     g = {n: p.grad * t[n] for n, p in net.named_parameters()}
//!     norm = torch.stack([q.norm() for q in g.values()]).norm()
//!     e = {n: rho * g[n] * t[n] / (norm + 1e-16) for n in g}
//!     for n, p in net.named_parameters(): p.data += e[n]
//!     opt.zero_grad(); loss(net).backward()
//!     for n, p in net.named_parameters(): p.data -= e[n]
//!     opt.step()
//! ```

use foil::engine::Step;
use foil::nn::Noise;
use foil::prelude::*;
use foil::testing::{assert_close, from_yaml};
use foil_at as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_trades as _;
use foil_updates as _;

/// Batch norm of one channel, and a linear layer.
struct Net(BatchNorm2d, Linear);

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.1.forward(pass, &self.0.forward(pass, xs).flatten(1, -1))
    }
}

/// An attack whose result is given, and which ends with a pass in train mode as PGD may.
struct Given(Tensor);

impl Attack for Given {
    fn perturb(&mut self, _: &Target, _: &Batch) -> Result<Adversarial> {
        Ok(Adversarial::new(self.0.shallow_clone()))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

fn images(pixels: [f64; 6]) -> Tensor {
    Tensor::from_slice(&pixels).view([3, 1, 1, 2])
}

/// fc.weight, fc.bias, bn.weight, bn.bias, bn.running_mean and bn.running_var after two steps.
fn after_two(loss: &str, update: Option<&str>) -> Tensor {
    let nn = Builder::default();
    let model = Net(BatchNorm2d::new(&nn, "bn", 1), Linear::zero(&nn, "fc", 2, 2));
    let network = Network::new(Box::new(model), nn, Some(0), Kind::Double, tch::Device::Cpu);
    let state: std::collections::BTreeMap<_, _> = network.params().state_dict().into_iter().collect();
    for (name, values) in [
        ("fc.weight", &[1.0, 2.0, 0.0, -1.0][..]),
        ("fc.bias", &[0.5, 0.0]),
        ("bn.weight", &[1.5]),
        ("bn.bias", &[-0.25]),
    ] {
        state[name].shallow_clone().copy_(&Tensor::from_slice(values).view_as(&state[name]));
    }
    let sgd = from_yaml("{ type: sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.01 }", Kind::Double);
    let attack = Box::new(Given(images([0.2, 0.3, 0.8, 0.4, 0.4, 0.9])));
    let loss = from_yaml(loss, Kind::Double);
    let mut step = Step::new(Learner::new(network, sgd), attack, loss, ["given", "loss"]);
    step.update = update.map(|yaml| (from_yaml(yaml, Kind::Double), "update"));
    let clock = Clock::new(2, 1, tch::Device::Cpu);
    for epoch in 0..2 {
        clock.set(epoch, 0);
        let index = Tensor::arange(3, (Kind::Int64, tch::Device::Cpu));
        let noise = Noise::new(&Tensor::from(0i64), &index);
        let (x, y) = (images([0.1, 0.4, 0.9, 0.3, 0.5, 0.8]), Tensor::from_slice(&[1i64, 0, 1]));
        step.run(&mut Batch { x, y, index, noise, clock: &clock, clean_logits: None }).unwrap();
    }
    let names = ["fc.weight", "fc.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"];
    Tensor::cat(&names.map(|name| state[name].reshape([-1])), 0)
}

#[test]
fn awp_with_at_equals_the_transcription() {
    let expected = [
        1.16362992519924,
        1.75397318068034,
        -0.16652892519924,
        -0.75687218068034,
        0.46273627032331,
        0.03581422967669,
        1.09493743977297,
        -0.3921126816181,
        0.17195,
        0.685784,
    ];
    assert_close(&after_two("at", Some("{ type: awp, gamma: 0.01 }")), &Tensor::from_slice(&expected), 1e-12);
}

#[test]
fn awp_with_trades_equals_the_transcription() {
    let expected = [
        1.18202428450767,
        1.75197791857076,
        -0.18492328450767,
        -0.75487691857076,
        0.45601345889911,
        0.04253704110089,
        1.10359790323756,
        -0.41904664975896,
        0.2342795,
        0.572681108,
    ];
    assert_close(&after_two("trades", Some("{ type: awp, gamma: 0.005 }")), &Tensor::from_slice(&expected), 1e-12);
}

#[test]
fn sam_and_asam_equal_the_transcription() {
    let sam = [
        1.16562175973694,
        1.74835573631369,
        -0.16852075973694,
        -0.75125473631369,
        0.46187647869387,
        0.03667402130613,
        1.09171203194015,
        -0.39564386341222,
        0.17195,
        0.683612,
    ];
    let asam = [
        1.16806260625755,
        1.74503751717462,
        -0.17096160625755,
        -0.74793651717462,
        0.46221101388674,
        0.03633948611326,
        1.08813578140394,
        -0.39604636349166,
        0.17195,
        0.683612,
    ];
    let at = "{ type: at, log_clean: false }";
    assert_close(&after_two(at, Some("{ type: sam, rho: 0.05 }")), &Tensor::from_slice(&sam), 1e-12);
    let adaptive = "{ type: sam, rho: 0.05, adaptive: true }";
    assert_close(&after_two(at, Some(adaptive)), &Tensor::from_slice(&asam), 1e-12);
}

#[test]
fn plain_is_what_a_step_does_anyway_and_so_is_awp_before_its_time() {
    let plain = after_two("at", None);
    assert_eq!(after_two("at", Some("plain")), plain);
    assert_eq!(after_two("at", Some("{ type: awp, gamma: 0 }")), plain);
    // By epoch: the first step is plain.
    let late = "{ type: awp, gamma: { type: steps, points: [[0, 0], [1, 0.01]] } }";
    let [late, all] = [late, "{ type: awp, gamma: 0.01 }"].map(|yaml| after_two("at", Some(yaml)));
    assert!(late != plain && late != all);
}
