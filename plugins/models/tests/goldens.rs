//! Every network against plain PyTorch: names, forward pass, gradients and running statistics.
//!
//! The oracle is `tests/goldens_models/make.py`, which says what the files hold and by what rule
//! weights, images and directions are made; the rule is repeated here, so that no weights are
//! stored.

use foil::engine::Network;
use foil::nn::{Mode, Noise};
use foil::registry::{Build, DataFacts};
use foil::tensors::{self, Named};
use std::cell::RefCell;
use std::path::Path;
use tch::{Device, Kind, Tensor};

use foil_models as _;

const DIGITS: DataFacts = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 2 };
const LARGE: DataFacts = DataFacts { channels: 3, height: 64, width: 48, classes: 10, train: 2 };
const COLOUR: DataFacts = DataFacts { channels: 3, height: 32, width: 32, classes: 10, train: 2 };

/// `make.py`'s `rule`.
fn rule(name: &str, shape: &[i64]) -> Tensor {
    let key = name.bytes().fold(0x811c_9dc5u32, |key, byte| (key ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let numbers: Vec<f64> = (0..shape.iter().product::<i64>() as u32)
        .map(|i| {
            let h = i.wrapping_mul(0x9e37_79b1) ^ key;
            let h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
            f64::from((h ^ (h >> 15)) >> 8) / f64::from(1 << 24)
        })
        .collect();
    Tensor::from_slice(&numbers).view(shape)
}

/// `rule` in [-1, 1).
fn signed(name: &str, shape: &[i64]) -> Tensor {
    rule(name, shape) * 2.0 - 1.0
}

/// `make.py`'s `weights`.
fn weights(name: &str, shape: &[i64]) -> Tensor {
    let norms = ["bn", "norm", "shortcut.1", "downsample.1"].iter().any(|part| name.contains(part));
    let norms = norms && name.ends_with("weight");
    match shape {
        [_, inputs @ ..] if !inputs.is_empty() => {
            signed(name, shape) * (3.0 / inputs.iter().product::<i64>() as f64).sqrt()
        }
        _ if norms || name.ends_with("running_var") => rule(name, shape) + 0.5,
        _ => signed(name, shape) * 0.1,
    }
}

fn network(model: &str, data: DataFacts, kind: Kind) -> Network {
    let component = serde_yaml::from_str(model).unwrap();
    let problems = RefCell::default();
    let network = Build::new(data, 0, kind, Device::Cpu, &problems).network("model", &component, data.channels);
    let network = network.unwrap();
    let given: Named = network
        .params()
        .state_dict()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, t)| (name.clone(), weights(&name, &t.size())))
        .collect();
    network.params().load(&given).unwrap();
    network
}

/// `make.py`'s `summary`.
fn summary(mut tensors: Vec<(String, Tensor)>) -> Tensor {
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let rows: Vec<Tensor> = tensors
        .iter()
        .map(|(name, t)| {
            let t = t.to_kind(Kind::Double);
            let along = (&t * signed(&format!("direction.{name}"), &t.size())).sum(Kind::Double);
            Tensor::stack(&[t.norm(), along], 0)
        })
        .collect();
    Tensor::stack(&rows, 0)
}

/// All differences relative to the largest number of the tensor, or of the row of a summary.
fn differs_by(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    let (ours, theirs) = (ours.to_kind(Kind::Double), theirs.to_kind(Kind::Double));
    let scale = if theirs.size().ends_with(&[2]) { theirs.amax([1], true) } else { theirs.abs().max() };
    ((ours - &theirs) / scale).abs().max().double_value(&[])
}

fn check(golden: &str, model: &str, data: DataFacts, kind: Kind, tolerance: fn(&str) -> f64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens_models");
    let (theirs, _) = tensors::read(&folder.join(format!("{golden}.safetensors"))).unwrap();
    let network = network(model, data, kind);
    let x = rule("x", &[2, data.channels, data.height, data.width]).to_kind(kind);
    let head = signed("head", &theirs["logits"].size()).to_kind(kind);
    let mut noise = Noise::seeded(&[0], 2, Device::Cpu);
    noise.give("dropout.0.0", rule("dropout", &[2, 200]).to_kind(kind));

    let leaf = x.detach().set_requires_grad(true);
    let logits = network.frozen(&leaf, Mode::Eval, None);
    let d_input = Tensor::run_backward(&[(&logits * &head).sum(kind)], &[&leaf], false, false).remove(0);
    // Before the pass in train mode, which moves the statistics.
    let own = network.input_gradient(&x, Mode::Eval, &noise, &|_| head.shallow_clone());
    network.start_step();
    let train_logits = network.differentiable(&x, Mode::Train, Some(&noise));
    let params = network.params();
    let gradients = params.gradients(&(&train_logits * &head).sum(kind)).unwrap();

    let mut ours = vec![
        ("logits", logits.detach()),
        ("d_input", d_input),
        ("train_logits", train_logits.detach()),
        ("gradients", summary(params.named_gradients(&gradients))),
    ];
    ours.extend(own.map(|(own, _)| ("d_input", own)));
    let running: Vec<_> = params.state_dict().into_iter().filter(|(name, _)| name.contains("running_")).collect();
    if !running.is_empty() {
        ours.push(("statistics", summary(running)));
    }
    for (what, ours) in ours {
        let by = differs_by(&ours, &theirs[what]);
        assert!(by < tolerance(what), "{golden} in {kind:?}: {what} differs by {by:e}");
    }
}

/// In double precision only the files' own single precision shows.
fn double(_: &str) -> f64 {
    2e-7
}

/// In single precision an activation within 1e-7 of zero may lie on the other side of its ReLU.
/// That changes no output, but lets a whole path of the gradient through or stops it.
fn single(what: &str) -> f64 {
    if ["d_input", "gradients"].contains(&what) { 1e-2 } else { 2e-5 }
}

macro_rules! equals_pytorch {
    ($($golden:ident: $model:literal on $data:ident;)*) => {
        $(#[test]
        fn $golden() {
            check(stringify!($golden), $model, $data, Kind::Double, double);
            check(stringify!($golden), $model, $data, Kind::Float, single);
        })*
    };
}

equals_pytorch! {
    small_cnn: "small_cnn" on DIGITS;
    mask_cnn: "mask_cnn" on DIGITS;
    trades_cnn: "trades_cnn" on DIGITS;
    lenet5_madry: "lenet5_madry" on DIGITS;
    preact_resnet18: "preact_resnet18" on COLOUR;
    preact_resnet18_fat: "{ type: preact_resnet18, final_norm: false }" on COLOUR;
    resnet18: "resnet18" on COLOUR;
    mask_resnet18: "mask_resnet18" on COLOUR;
    wide_resnet: "{ type: wide_resnet, depth: 16, width: 2 }" on COLOUR;
    imagenet_resnet18: "imagenet_resnet" on LARGE;
    preact_resnet18_silu: "{ type: preact_resnet18, activation: silu }" on COLOUR;
    wide_resnet_silu: "{ type: wide_resnet, depth: 16, width: 2, activation: silu }" on COLOUR;
    dm_preact_resnet18: "dm_preact_resnet18" on COLOUR;
    dm_wide_resnet: "{ type: dm_wide_resnet, depth: 16, width: 2 }" on COLOUR;
}

/// In double precision alone: in single precision 53 batch norms, the last ones over eight numbers
/// of each channel, amplify the last bit a thousandfold.
#[test]
fn imagenet_resnet50() {
    check("imagenet_resnet50", "{ type: imagenet_resnet, depth: 50 }", LARGE, Kind::Double, double);
}
