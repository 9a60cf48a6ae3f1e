//! Whole steps of the methods, against PyTorch.
//!
//! ```python
//! # torch, float64, from the fact sheet of the published codes
//! class Net(nn.Module):
//!     def __init__(self):
//!         self.conv, self.bn = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
//!         self.fc = nn.Linear(18, 3)
//!         for i, p in enumerate(self.parameters()):
//!             p.copy_((torch.arange(p.numel()) * .7 + i).sin().view_as(p) * .5)
//!     def forward(self, x): return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))
//! x = (torch.arange(27.) ** 2).sin().abs().view(3, 1, 3, 3); y = torch.tensor([0, 2, 1]); e = .1
//! u = (torch.arange(27.) ** 3).sin().abs().view(3, 1, 3, 3)
//! net = Net().train()
//! opt = torch.optim.SGD(net.parameters(), lr=.1, momentum=.9, weight_decay=.01)
//! # FGSM-PGI, one step in each of four epochs
//! target = torch.full((3, 3), .2); target[range(3), y] = .6
//! ce = lambda z: -(target * z.log_softmax(1)).sum(1).mean()
//! for epoch in range(4):
//!     if epoch % 3 == 0: D = e * torch.sign(u - .5); M = torch.zeros_like(x)
//!     delta = D.clone().requires_grad_(); z0 = net(x + delta)
//!     g, = torch.autograd.grad(ce(z0), delta, retain_graph=True)
//!     M = g / g.abs().sum() + .3 * M
//!     into = lambda d: torch.min(torch.max(d.clamp(-e, e), -x), 1 - x)
//!     D = into(delta.detach() + .08 * M.sign()); used = into(delta.detach() + .08 * g.sign())
//!     z = net(x + used); loss = ce(z) + 10 * ((z - z0) ** 2).mean()
//!     opt.zero_grad(); loss.backward(); opt.step()
//! # GradAlign, two steps
//! for _ in range(2):
//!     d = torch.zeros_like(x, requires_grad=True)
//!     g1, = torch.autograd.grad(F.cross_entropy(net(x + d), y), d)
//!     xa = (x + (1.25 * e * g1.sign()).clamp(-e, e)).clamp(0, 1); ce = F.cross_entropy(net(xa), y)
//!     d = ((2 * u - 1) * e).requires_grad_()
//!     g2, = torch.autograd.grad(F.cross_entropy(net(x + d), y), d, create_graph=True)
//!     reg = .5 * (1 - F.cosine_similarity(g1.flatten(1), g2.flatten(1), 1).mean())
//!     opt.zero_grad(); (ce + reg).backward(); opt.step()
//! # Free, three steps on each of two batches
//! delta = torch.zeros(4, 1, 3, 3, requires_grad=True)
//! for X in (x, 1 - x):
//!     for _ in range(3):
//!         loss = F.cross_entropy(net(X + delta[:3]), y)
//!         opt.zero_grad(); loss.backward()
//!         delta.data = (delta + .06 * torch.sign(delta.grad)).clamp(-e, e)
//!         delta.data[:3] = torch.max(torch.min(delta[:3], 1 - X), 0 - X)
//!         opt.step(); delta.grad.zero_()
//! ```

use foil::engine::{Outcome, Step};
use foil::nn::{Noise, relu};
use foil::prelude::*;
use foil::registry::DataFacts;
use foil::testing::assert_close;
use foil_at as _;
use foil_fast as _;
use foil_optimizers as _;
use foil_updates as _;
use std::collections::BTreeMap;
use tch::Device;

struct Net(Conv2d, BatchNorm2d, Linear);

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.2.forward(pass, &relu(self.1.forward(pass, &self.0.forward(pass, xs))).flatten(1, -1))
    }
}

fn count(n: i64) -> Tensor {
    Tensor::arange(n, (Kind::Double, Device::Cpu))
}

fn part<T: foil::registry::Kind + ?Sized>(yaml: &str) -> Box<T> {
    let facts = DataFacts { channels: 1, height: 3, width: 3, classes: 3, train: 3 };
    let component: Component<T> = serde_yaml::from_str(yaml).unwrap();
    let problems = std::cell::RefCell::default();
    let cx = Build::new(facts, 0, Kind::Double, Device::Cpu, &problems).in_batches_of(4);
    let built = cx.component("", &component);
    assert!(problems.borrow().is_empty(), "{problems:?}");
    built.unwrap()
}

fn step(attack: &str, loss: &str) -> Step {
    let nn = Builder::default();
    let model =
        Net(Conv2d::new(&nn, "conv", [1, 2], 3, 1, 1), BatchNorm2d::new(&nn, "bn", 2), Linear::new(&nn, "fc", 18, 3));
    let network = Network::new(Box::new(model), nn, Some(0), Kind::Double, Device::Cpu);
    let state: BTreeMap<_, _> = network.params().state_dict().into_iter().collect();
    let names = ["conv.weight", "conv.bias", "bn.weight", "bn.bias", "fc.weight", "fc.bias"];
    for (i, name) in names.into_iter().enumerate() {
        let mut tensor = state[name].shallow_clone();
        let values = (count(tensor.numel() as i64) * 0.7 + i as f64).sin() * 0.5;
        tch::no_grad(|| tensor.copy_(&values.view_as(&state[name])));
    }
    let sgd = part("{ type: sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.01 }");
    Step::new(Learner::new(network, sgd), part(attack), part(loss), ["attack", "loss"])
}

/// One step in each of so many epochs; `draw` names what is drawn as u.
fn run(step: &mut Step, epochs: u64, draw: &str) -> Outcome {
    let clock = Clock::new(epochs, 1, Device::Cpu);
    let image = |t: Tensor| t.sin().abs().view([3, 1, 3, 3]);
    let mut last = None;
    for epoch in 0..epochs {
        clock.set(epoch, 0);
        let index = Tensor::arange(3, (Kind::Int64, Device::Cpu));
        let mut noise = Noise::new(&Tensor::from(0i64), &index);
        noise.give(draw, image(count(27).pow_tensor_scalar(3)));
        let (x, y) = (image(count(27).square()), Tensor::from_slice(&[0i64, 2, 1]));
        last = Some(step.run(&mut Batch { x, y, index, noise, clock: &clock, clean_logits: None }).unwrap());
    }
    last.unwrap()
}

/// Parameters and running statistics, and `more`.
fn left(step: &Step, more: &[&Tensor]) -> Tensor {
    let state: BTreeMap<_, _> = step.model.network().params().state_dict().into_iter().collect();
    let names = ["conv.weight", "bn.weight", "fc.bias", "bn.running_mean", "bn.running_var"];
    let all: Vec<Tensor> =
        names.iter().map(|name| &state[*name]).chain(more.iter().copied()).map(|t| t.reshape([-1])).collect();
    Tensor::cat(&all, 0).detach()
}

#[test]
fn fgsm_pgi_equals_the_transcription() {
    let mut step = step("{ type: fgsm_pgi, eps: 0.1, alpha: 0.08, reset: 3 }", "fgsm_pgi");
    let outcome = run(&mut step, 4, "start");
    let state: BTreeMap<_, _> = step.attack.state().into_iter().collect();
    #[rustfmt::skip]
    let expected = [
        0.002639335424, 0.305744830665, 0.477811687654, 0.427808772481, 0.161123856704, -0.17812214506, -0.432228879334,
        -0.495725761672, -0.32815797393, 0.004499504034, 0.329126875535, 0.492197731402, 0.418008998384, 0.155278670746,
        -0.188397722417, -0.434215113392, -0.484504563553, -0.306759629117, 0.366896533839, 0.163719152094, -0.413547191429,
        -0.256144104947, -0.020545735436, 0.273119969229, 0.315852895862, 0.587150232567, 0.586681955979, -0.0, 0.02, 0.1,
        0.02, 0.02, 0.02, 0.008221146557, 0.02, -0.1, 0.00681466265, 0.013461600651, 0.009263108869, 0.035935448874,
        0.093800024599, 0.112204724798, 0.073570659896, 0.057781449432, -0.009676581584, 1.123954763789,
    ];
    let more = [&state["delta"].get(0), &state["momentum"].get(1), &outcome.loss.total];
    assert_close(&left(&step, &more), &Tensor::from_slice(&expected), 1e-10);
    assert_eq!(Vec::<i64>::try_from(&state["period"]).unwrap(), [1; 3]);
}

#[test]
fn grad_align_equals_the_transcription() {
    let mut step = step("{ type: grad_align, eps: 0.1 }", "{ type: grad_align, lambda: 0.5 }");
    let outcome = run(&mut step, 2, "beside");
    #[rustfmt::skip]
    let expected = [
        -0.000788803776, 0.320283472491, 0.490075770499, 0.430430437056, 0.168059549082, -0.175347519753, -0.435052302753,
        -0.490228380285, -0.315219399168, 0.008392550272, 0.327596585106, 0.492948416813, 0.425663473075, 0.159082512604,
        -0.182610105171, -0.438566487711, -0.488188707412, -0.30822712326, 0.450342968811, 0.209988734178, -0.455633472245,
        -0.268691871895, 0.029814279293, 0.2231352034, 0.256418495669, 0.657225387846, 0.657406913064, 0.0002269968,
        1.12515516995,
    ];
    let parts: BTreeMap<_, _> = outcome.loss.parts.iter().map(|(name, value)| (*name, value.shallow_clone())).collect();
    let more = [&(&parts["misalignment"] * 0.5), &parts["robust"]];
    assert_close(&left(&step, &more), &Tensor::from_slice(&expected), 1e-10);
}

#[test]
fn free_equals_the_transcription() {
    let mut step = step("{ type: free, eps: 0.1, alpha: 0.06 }", "{ type: at, log_clean: false }");
    step.update = Some((part("{ type: replay, times: 3 }"), "replay"));
    let clock = Clock::new(1, 2, Device::Cpu);
    let x = count(27).square().sin().abs().view([3, 1, 3, 3]);
    let mut last = None;
    for x in [x.shallow_clone(), 1.0 - &x] {
        let (index, y) = (Tensor::arange(3, (Kind::Int64, Device::Cpu)), Tensor::from_slice(&[0i64, 2, 1]));
        let noise = Noise::new(&Tensor::from(0i64), &index);
        last = Some(step.run(&mut Batch { x, y, index, noise, clock: &clock, clean_logits: None }).unwrap());
    }
    #[rustfmt::skip]
    let expected = [
        0.000374399824, 0.316076377603, 0.482874590694, 0.417745700621, 0.158103380115, -0.167114372138, -0.428816642651,
        -0.488634430637, -0.316206471153, 0.007663014078, 0.321995758371, 0.485801079503, 0.418562552427, 0.157759729325,
        -0.178947928569, -0.432063913578, -0.481482298435, -0.304166271911, 0.430475154324, 0.191417721664,
        -0.350993327651, -0.239693650538, -0.093465876381, 0.229900561128, 0.264233719909, 0.61145661491, 0.611724578483,
        -0.08, 0.04, 0.1, 0.1, 0.1, 0.00046994443, -0.02, -0.000791965893, -0.093478979714, 1.104784536587,
    ];
    let delta = &step.attack.state()[0].1;
    assert_eq!(delta.size(), [4, 1, 3, 3]);
    let more = [&delta.get(1), &last.unwrap().loss.total];
    assert_close(&left(&step, &more), &Tensor::from_slice(&expected), 1e-10);
}

/// A network whose gradient cannot be differentiated: its node has none.
struct Once(Linear);

impl Model for Once {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let flat = xs.flatten(1, -1);
        let out = tch::no_grad(|| &flat * 2.0);
        let double = |gradients: Vec<Option<Tensor>>| Ok(gradients.into_iter().map(|g| g.map(|g| g * 2.0)).collect());
        let doubled = nn::autograd::node(c"doubled", &[&flat], &[&out], double).unwrap().remove(0);
        self.0.forward(pass, &doubled)
    }
}

#[test]
fn a_model_without_second_derivative_is_refused() {
    let nn = Builder::default();
    let model = Once(Linear::new(&nn, "fc", 9, 3));
    let network = Network::new(Box::new(model), nn, Some(0), Kind::Double, Device::Cpu);
    let learner = Learner::new(network, part("{ type: sgd, lr: 0.1 }"));
    let mut step =
        Step::new(learner, part("{ type: grad_align, eps: 0.1 }"), part("grad_align"), ["grad_align", "grad_align"]);
    let clock = Clock::new(1, 1, Device::Cpu);
    let index = Tensor::arange(3, (Kind::Int64, Device::Cpu));
    let (noise, y) = (Noise::new(&Tensor::from(0i64), &index), Tensor::from_slice(&[0i64, 2, 1]));
    let x = count(27).square().sin().abs().view([3, 1, 3, 3]);
    let error = step.run(&mut Batch { x, y, index, noise, clock: &clock, clean_logits: None }).unwrap_err();
    assert!(error.message().contains("the gradient by the images: doubled: there is no second derivative"), "{error}");
    assert!(error.suggestion().unwrap().contains("choose a model of foil's"), "{error}");
}
