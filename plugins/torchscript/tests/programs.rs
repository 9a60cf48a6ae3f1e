//! Programs made by PyTorch (`make.py`): the numbers PyTorch gets, and the training that foil's own
//! model gets.

use foil::attack::{Attack, Batch};
use foil::engine::{Learner, Network, Step};
use foil::loss::Loss;
use foil::model::Model;
use foil::nn::{Mode, Noise};
use foil::optim::Optimizer;
use foil::registry::{Build, Component, DataFacts, Kind as Registered};
use foil::scheduler::Clock;
use foil::tensors::{self, Named};
use foil::testing::{assert_close, loss_on};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

use foil_at as _;
use foil_attacks as _;
use foil_datasets as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_torchscript as _;

const DIGITS: DataFacts = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 100 };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// What is built from `yaml`, or everything that was reported, message and help.
fn build<T>(yaml: &str, data: DataFacts, built: impl FnOnce(&Build, &str) -> Option<T>) -> Result<T, String> {
    let problems = RefCell::default();
    let folder = folder();
    let cx = Build::new(data, 0, Kind::Float, Device::Cpu, &problems).within(&folder);
    let made = built(&cx, yaml);
    let said: Vec<String> = problems
        .borrow()
        .iter()
        .map(|p| format!("{} ({})", p.message, p.help.as_deref().unwrap_or_default()))
        .collect();
    if said.is_empty() { made.ok_or_else(String::new) } else { Err(said.join("\n")) }
}

fn component<T: Registered + ?Sized>(yaml: &str) -> Box<T> {
    build(yaml, DIGITS, |cx, yaml| cx.component(T::NAME, &serde_yaml::from_str::<Component<T>>(yaml).unwrap())).unwrap()
}

fn network_on(yaml: &str, data: DataFacts) -> Result<Network, String> {
    let model: Component<dyn Model> = serde_yaml::from_str(yaml).unwrap();
    build(yaml, data, |cx, _| cx.network("model", &model, data.channels))
}

fn network(yaml: &str) -> Network {
    network_on(yaml, DIGITS).unwrap()
}

fn expected() -> Named {
    tensors::read(&folder().join("expected.safetensors")).unwrap().0
}

const TINY: &str = "{ type: torchscript, file: tiny.pt }";

#[test]
fn the_numbers_of_pytorch() {
    let (tiny, expected) = (network(TINY), expected());
    assert_close(&tiny.frozen(&expected["x"], Mode::Eval, None), &expected["logits"], 1e-5);
    let mut names: Vec<String> = tiny.params().state_dict().into_iter().map(|(name, _)| name).collect();
    names.sort();
    // `again.0.weight` is `inner.0.weight` under another name.
    let own = ["conv.bias", "conv.weight", "head.bias", "head.weight", "inner.0.weight", "largest", "norm.bias"];
    let norm = ["norm.num_batches_tracked", "norm.running_mean", "norm.running_var", "norm.weight"];
    assert_eq!(names, [&own[..], &norm[..]].concat());
    assert_eq!(tiny.params().count(), 40 + 8 + 144 + 170);

    // Any pass in train mode moves the statistics; one in eval mode does not.
    let noise = Noise::seeded(&[3], 5, Device::Cpu);
    drop(tiny.frozen(&expected["x"], Mode::Train, Some(&noise)));
    drop(tiny.frozen(&expected["x"], Mode::Eval, Some(&noise)));
    let state: Named = tiny.params().state_dict().into_iter().collect();
    for name in ["norm.running_mean", "norm.running_var", "largest"] {
        assert_close(&state[name], &expected[&format!("after.{name}")], 1e-6);
    }
    assert_eq!(state["norm.num_batches_tracked"].int64_value(&[]), 1);
    drop(tiny.differentiable(&expected["x"], Mode::Train, Some(&noise)));
    assert_eq!(state["norm.num_batches_tracked"].int64_value(&[]), 2);
}

#[test]
fn dropout_is_a_function_of_batch_and_pass() {
    let (tiny, x) = (network(TINY), expected()["x"].shallow_clone());
    let logits = |seed: u64, first_passes: usize| {
        let noise = Noise::seeded(&[seed], 5, Device::Cpu);
        tiny.start_step();
        (0..first_passes).for_each(|_| drop(tiny.frozen(&x, Mode::Train, Some(&noise))));
        tiny.frozen(&x, Mode::Train, Some(&noise))
    };
    let first = logits(1, 0);
    assert_eq!(logits(1, 0), first);
    assert_ne!(logits(1, 1), first);
    assert_ne!(logits(2, 0), first);
}

/// A gradient reaches every parameter, and is autograd's: foil's own model with the same numbers is
/// the oracle.
#[test]
fn trains_as_the_same_network_of_foil() {
    let [script, native] = ["{ type: torchscript, file: small_cnn.pt }", "small_cnn"].map(network);
    let start: Named = native.params().state_dict().into_iter().map(|(name, t)| (name, t.copy())).collect();
    script.params().load(&start).unwrap();
    let clock = Clock::new(1, 6, Device::Cpu);
    let attack = "{ type: pgd, eps: 0.3, alpha: 0.1, steps: 3, start: uniform, mode: train }";
    let mut steps = [script, native].map(|network| {
        let optimizer = component::<dyn Optimizer>("{ type: sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.0005 }");
        let (attack, loss) = (component::<dyn Attack>(attack), component::<dyn Loss>("at"));
        Step::new(Learner::new(network, optimizer), attack, loss, ["pgd", "at"])
    });
    for step in 0..6u64 {
        let losses = steps.each_mut().map(|one| {
            let noise = Noise::seeded(&[step], 20, Device::Cpu);
            let x = noise.uniform("x", &[1, 28, 28], Kind::Float);
            let y = noise.below("y", 10, &[]);
            let index = Tensor::arange(20, (Kind::Int64, Device::Cpu));
            one.run(&mut Batch { x, y, index, noise, clock: &clock, clean_logits: None }).unwrap().loss.total
        });
        assert_close(&losses[0], &losses[1], 1e-5);
    }
    let [script, native] = steps.map(|step| step.model.network().params().state_dict().into_iter().collect::<Named>());
    assert!(script.keys().eq(native.keys()));
    for (name, values) in &native {
        assert_close(&script[name], values, 1e-5);
        assert_ne!(start[name], *values, "{name} was not trained");
    }
    assert!((&start["11.bias"] - &native["11.bias"]).abs().max().double_value(&[]) > 1e-3);
}

#[test]
fn a_loss_and_its_parts() {
    let loss = component::<dyn Loss>("{ type: torchscript, file: trades.pt }");
    // import torch, torch.nn.functional as F
    // c = torch.tensor([[2., 0.], [0., 1.]]); a = torch.tensor([[1., 0.], [1., 0.]])
    // y = torch.tensor([0, 1]); log_a, of_c = F.log_softmax(a, 1), F.softmax(c, 1)
    // F.cross_entropy(c, y) + 6 * F.kl_div(log_a, of_c, reduction="batchmean")   # 1.8078
    let clean = Tensor::from_slice2(&[[2.0f32, 0.0], [0.0, 1.0]]).set_requires_grad(true);
    let attacked = Tensor::from_slice2(&[[1.0f32, 0.0], [1.0, 0.0]]);
    let output = loss_on(loss.as_ref(), &clean, &attacked, &Tensor::from_slice(&[0i64, 1]));
    assert_close(&output.total, &Tensor::from(1.8078), 1e-4);
    let parts: Vec<(&str, f64)> = output.parts.iter().map(|(name, t)| (*name, t.double_value(&[]))).collect();
    assert_eq!(parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["natural", "robust"]);
    assert!((parts[0].1 + 6.0 * parts[1].1 - 1.8078).abs() < 1e-4 && output.total.requires_grad());
    assert!(component::<dyn Loss>("{ type: torchscript, file: plain.pt }").needs().is_empty());
}

/// Ten digits of noise, all in one batch.
fn digits<'a>(clock: &'a Clock) -> Batch<'a> {
    let noise = Noise::seeded(&[5], 10, Device::Cpu);
    let (x, y) = (noise.uniform("x", &[1, 28, 28], Kind::Float), noise.below("y", 10, &[]));
    Batch { x, y, index: Tensor::arange(10, (Kind::Int64, Device::Cpu)), noise, clock, clean_logits: None }
}

fn odd(how: &str) -> Network {
    network(&format!("{{ type: torchscript, file: odd_{how}.pt }}"))
}

/// One step of training, and PGD as an evaluation runs it.
#[test]
fn without_a_gradient_there_is_an_error_that_names_the_program() {
    let clock = Clock::new(1, 1, Device::Cpu);
    let pgd = |mode: &str| {
        component::<dyn Attack>(&format!("{{ type: pgd, eps: 0.1, alpha: 0.1, steps: 1, start: none, mode: {mode} }}"))
    };
    let step = |how: &str, attack: Box<dyn Attack>, loss: &str| {
        let (optimizer, loss) = (component::<dyn Optimizer>("{ type: sgd, lr: 0.1 }"), component::<dyn Loss>(loss));
        let mut step = Step::new(Learner::new(odd(how), optimizer), attack, loss, ["pgd", "at"]);
        step.run(&mut digits(&clock)).map(drop).map_err(|error| error.to_string())
    };
    let flat = |mode: &str| {
        format!("model `torchscript`: its logits in {mode} mode do not depend differentiably on its images")
    };
    for (how, modes) in [
        ("detach", &["train", "eval"][..]),
        ("cast", &["train", "eval"]),
        ("no_grad", &["train", "eval"]),
        ("argmax", &["train", "eval"]),
        ("eval", &["eval"]),
        ("train", &["train"]),
        ("plain", &[]),
    ] {
        for mode in ["train", "eval"] {
            let found = step(how, pgd(mode), "at");
            if modes.contains(&mode) {
                let error = found.unwrap_err();
                let expected = format!("error: attack `pgd`: {}", flat(mode));
                assert!(error.starts_with(&expected) && error.contains("help: compute it from them"), "{how}: {error}");
            } else {
                found.unwrap_or_else(|error| panic!("{how} in {mode} mode: {error}"));
            }
        }
    }
    // Clean images need no gradient of theirs, but the parameters do.
    let none = || component::<dyn Attack>("none");
    step("detach", none(), "at").unwrap();
    for how in ["no_grad", "argmax"] {
        let error = step(how, none(), "at").unwrap_err();
        let expected =
            "error: model `torchscript`: its logits in train mode do not depend differentiably on its parameters";
        assert!(error.starts_with(expected), "{how}: {error}");
    }
}

#[test]
fn what_a_program_writes_into_is_its_own() {
    let (writes, plain) = (odd("write"), odd("plain"));
    let batch = digits(&Clock::new(1, 1, Device::Cpu)).x;
    let expected = plain.frozen(&((&batch - 0.1307) / 0.3081), Mode::Eval, None);
    for _ in 0..2 {
        assert_close(&writes.frozen(&batch, Mode::Eval, None), &expected, 1e-5);
    }
    let x = batch.copy().set_requires_grad(true);
    let input_gradient = |network: &Network, x: &Tensor| {
        let value = network.frozen(x, Mode::Eval, None).square().sum(Kind::Float);
        foil::nn::backward(&value, &[x]).unwrap().remove(0).unwrap()
    };
    let found = input_gradient(&writes, &x);
    let inner = ((&batch - 0.1307) / 0.3081).set_requires_grad(true);
    assert_close(&found, &(input_gradient(&plain, &inner) / 0.3081), 1e-4);

    let loss = component::<dyn Loss>("{ type: torchscript, file: writes.pt }");
    let (logits, y) = (expected.copy(), Tensor::from_slice(&[3i64; 10]));
    drop(loss_on(loss.as_ref(), &logits, &expected, &y));
    assert_eq!(logits, expected);
    assert_eq!(y, Tensor::from_slice(&[3i64; 10]));
}

/// Its weights are constants, so it can be evaluated but not trained.
#[test]
fn a_frozen_program_has_nothing_to_train() {
    let frozen = network("{ type: torchscript, file: frozen.pt }");
    assert_eq!(frozen.params().count(), 0);
    let x = Tensor::rand([3, 1, 28, 28], (Kind::Float, Device::Cpu));
    let leaf = x.copy().set_requires_grad(true);
    let logits = frozen.frozen(&leaf, Mode::Eval, None);
    assert_eq!(logits.size(), [3, 10]);
    logits.sum(Kind::Float).backward();
    assert!(leaf.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0, "an attack has nothing to follow");
}

#[test]
fn files_that_are_no_programs() {
    let hundred = DataFacts { classes: 100, ..DIGITS };
    let colour = DataFacts { channels: 3, ..DIGITS };
    for (yaml, data, part) in [
        ("{ type: torchscript, file: nothing.pt }", DIGITS, "nothing.pt: No such file"),
        ("{ type: torchscript, file: weights.pt }", DIGITS, "weights.pt holds weights, not a TorchScript program"),
        (
            "{ type: torchscript, file: make.py }",
            DIGITS,
            "make.py is not a TorchScript program: it is not a zip archive",
        ),
        ("{ type: torchscript, file: plain.pt }", DIGITS, "does not run on images [2, 1, 28, 28]"),
        (TINY, hundred, "returns [2, 10] for two images, but must return logits [2, 100]"),
        (TINY, colour, "does not run on images [2, 3, 28, 28]"),
        ("{ type: torchscript, file: tiny.pt, sha256: abc }", DIGITS, "has the SHA-256 "),
    ] {
        let said = network_on(yaml, data).map(|_| ()).unwrap_err();
        assert!(said.contains(part) && !said.contains("Exception raised"), "{yaml}: {said}");
    }
    let loss = |file: &str| {
        let yaml = format!("{{ type: torchscript, file: {file} }}");
        build(&yaml, DIGITS, |cx, yaml| {
            cx.component("loss", &serde_yaml::from_str::<Component<dyn Loss>>(yaml).unwrap())
        })
        .map(|_| ())
        .unwrap_err()
    };
    assert!(
        loss("per_image.pt").contains("its `total` is [4] of Float, but must be a scalar"),
        "{}",
        loss("per_image.pt")
    );
    assert!(loss("tiny.pt").contains("loss` cannot be built"), "{}", loss("tiny.pt"));
}
