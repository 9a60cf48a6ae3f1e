//! What a step asks a GPU to launch, as far as a CPU can tell: foil's kernels run here from their
//! source, libtorch's operators are counted.
//!
//! Each launch costs a GPU one or two microseconds whatever it does, and an attack makes its own
//! ten times a step.

use foil::attack::Batch;
use foil::cuda::stand_in::StandIn;
use foil::distributed::World;
use foil::nn::Noise;
use foil::scheduler::Clock;
use foil::shim::{channels_last, record};
use foil::tensors;
use foil_runs::pipeline::{Assembled, load};
use foil_runs::train::Trainer;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_cat as _;
use foil_datasets as _;
use foil_distillation as _;
use foil_fast as _;
use foil_fat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_trades as _;
use foil_updates as _;

/// The recorder sees every thread, so that the tests of this file run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: The kernels are those of framework/cuda/kernels.cu, and take memory of the CPU.
#[allow(unsafe_code)]
const KERNELS_ON_CPU: StandIn = unsafe { StandIn::new(foil_host_kernels::launch) };

// SAFETY: The convolutions do what Hopper's do, on memory of the CPU.
#[allow(unsafe_code)]
const HOPPER_ON_CPU: StandIn = unsafe { KERNELS_ON_CPU.with_convolutions(foil_host_kernels::convolve) };

/// Operators that allocate, view, or only call others.
const SILENT: &str = "_batch_norm_impl_index _convolution _to_copy alias as_strided as_strided_ batch_norm chunk clone contiguous conv2d convolution detach \
    empty empty_like empty_strided expand expand_as linear log_softmax matmul narrow new_empty new_zeros ones_like permute relu_ reshape resize_ \
    resolve_conj select slice softmax split squeeze t to transpose unsqueeze view zeros zeros_like";

/// The parts of a pipeline for CIFAR-10.
fn assemble(file: &str, overrides: &[&str]) -> Assembled {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/cifar10").join(file);
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let pipeline = load(&file, &overrides).unwrap_or_else(|e| panic!("{e}")).pipeline;
    Trainer::assemble(&pipeline, Device::Cpu, World::alone()).unwrap()
}

/// Steps of a pipeline on `n` images, with kernels on the CPU.
fn steps(file: &str, overrides: &[&str], on: StandIn, n: i64) -> impl FnMut() {
    let mut parts = assemble(file, overrides);
    let clock = Clock::new(1, 10, Device::Cpu);
    let key = Tensor::from(7i64);
    let index = Tensor::arange(n, (Kind::Int64, Device::Cpu));
    move || {
        let noise = || Noise::new(&key, &index);
        let x = channels_last(&noise().uniform("x", &[3, 32, 32], Kind::Float)).unwrap();
        let (y, index) = ((&index * 7 + 3).remainder(10), index.shallow_clone());
        let mut batch = Batch { x, y, index, noise: noise(), clock: &clock, clean_logits: None };
        drop(on.during(|| parts.step.run(&mut batch)).unwrap());
    }
}

/// What one step of a pipeline launches: libtorch's operators by name, and foil's kernels as
/// `kernels`.
fn launched(file: &str, overrides: &[&str]) -> BTreeMap<String, i64> {
    let mut step = steps(file, overrides, KERNELS_ON_CPU, 2);
    step();
    let before = foil_host_kernels::launches();
    let ((), calls) = record(None, step).unwrap();
    let silent: BTreeSet<&str> = SILENT.split_whitespace().collect();
    let operator = |name: &str| name.strip_prefix("aten::").filter(|name| !silent.contains(name)).map(str::to_string);
    let mut all: BTreeMap<String, i64> =
        calls.iter().filter_map(|c| Some((operator(&c.name)?, c.count as i64))).collect();
    all.insert("kernels".into(), (foil_host_kernels::launches() - before) as i64);
    all
}

/// How many convolutions of the network a step calls.
fn convolutions(step: impl FnOnce()) -> u64 {
    let ((), calls) = record(None, step).unwrap();
    calls.iter().find(|call| call.name == "aten::conv2d").map_or(0, |call| call.count)
}

/// What one more step of the attack launches besides convolutions and kernels; then how many
/// kernels.
fn of_an_iteration(file: &str, overrides: &[&str]) -> (BTreeMap<String, i64>, i64) {
    let small = ["model={ type: wide_resnet, depth: 10, width: 1 }", "train.precision=bf16", "train.batch_size=2"];
    let [mut more, fewer] =
        ["attack.steps=2", "attack.steps=1"].map(|steps| launched(file, &[&small, overrides, &[steps]].concat()));
    for (name, count) in &mut more {
        *count -= fewer.get(name).unwrap_or(&0);
    }
    more.retain(|name, count| *count != 0 && !name.contains("convolution"));
    let kernels = more.remove("kernels").unwrap_or(0);
    (more, kernels)
}

#[test]
fn a_step_of_an_attack_is_convolutions_and_kernels() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // `mode: train` has two kernels a batch norm and way, and counts the batch; `mode: eval` one.
    // The rest are the two ends of the network, the objective's slope and the step itself.
    for objective in ["ce", "cw", "slm"] {
        let (operators, kernels) = of_an_iteration("at.yaml", &[&format!("attack.objective={objective}")]);
        assert!(operators.keys().eq(["add_"]) && operators["add_"] <= 4, "{objective}: {operators:?}");
        assert_eq!(kernels, 36, "{objective}");
    }
    let (operators, kernels) = of_an_iteration("trades.yaml", &[]);
    assert!(operators.keys().eq(["add_", "copy_"]) && operators.values().sum::<i64>() <= 4, "kl: {operators:?}");
    assert_eq!(kernels, 20);
}

// On Hopper the batch norms of PreAct-ResNet-18 read nothing that a convolution has at hand, in the
// attack and in the update: what is left by itself are the first one, whose convolution is of three
// channels, and the gradient of the last one, which no convolution follows.
#[test]
fn on_hopper_a_pass_has_one_batch_norm_of_its_own_each_way() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // AT passes images in train mode for its attack, its update and its log; TRADES two batches for
    // its update, and attacks in eval mode.
    for (file, forward, backward) in [("at.yaml", 3, 2), ("trades.yaml", 2, 2)] {
        let mut step = steps(file, &["train.precision=bf16", "train.batch_size=8", "attack.steps=1"], HOPPER_ON_CPU, 8);
        let before = foil_host_kernels::counts();
        step();
        let counts = foil_host_kernels::counts();
        let of = |name: &str| counts.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
        assert_eq!(of("batch_statistics_bf16"), forward, "{file}: {counts:?}");
        assert_eq!(of("batch_slopes_bf16"), backward, "{file}: {counts:?}");
    }
}

// TRADES's code passes its clean images twice, robust_overfitting's the attacked ones in its attack
// once more. A chance of dropout of 1e-30 drops nothing, but who draws does not repeat.
#[test]
fn images_pass_once_and_statistics_count_as_often_as_the_codes_pass_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for file in ["at.yaml", "trades.yaml"] {
        let [(once, fewer), (as_published, more)] = ["0", "1e-30"].map(|rate| {
            let model = format!("model={{ type: wide_resnet, depth: 10, width: 1, drop_rate: {rate} }}");
            let mut parts = assemble(file, &[&model, "train.precision=fp32", "attack.steps=2"]);
            let clock = Clock::new(1, 10, Device::Cpu);
            let index = Tensor::arange(4, (Kind::Int64, Device::Cpu));
            let noise = || Noise::new(&Tensor::from(7i64), &index);
            let x = channels_last(&noise().uniform("x", &[3, 32, 32], Kind::Float)).unwrap();
            let (y, index) = (Tensor::from_slice(&[3i64, 1, 0, 9]), index.shallow_clone());
            let mut batch = Batch { x, y, index, noise: noise(), clock: &clock, clean_logits: None };
            let convolutions = convolutions(|| drop(parts.step.run(&mut batch).unwrap()));
            (parts.step.model.network().params().state_dict(), convolutions)
        });
        assert!(fewer < more, "{file}: {fewer} convolutions, {more} as published");
        for ((name, a), (_, b)) in once.iter().zip(&as_published) {
            let off = (a - b).abs().max().to_kind(Kind::Double).double_value(&[]);
            // Rounding turns the sign of some pixels' gradients, 4e-5 of the statistics; a pass
            // that did not count would be 1e-2.
            assert!(off < 5e-4 * (1.0 + b.abs().max().double_value(&[])), "{file}: {name} by {off:e}");
        }
    }
}

// Free moves the attacked images with each of its gradients; ARD's teacher sees the clean ones.
#[test]
fn a_frozen_network_sees_the_same_images_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let small = "{ type: wide_resnet, depth: 10, width: 1 }";
    let model = format!("model={small}");
    let folder = tempfile::tempdir().unwrap();
    let teacher = folder.path().join("teacher.safetensors");
    let weights = assemble("at.yaml", &[&model]).step.model.network().params().state_dict();
    tensors::write(&teacher, &weights, HashMap::new()).unwrap();
    let networks = format!("networks.teacher={{ model: {small}, init: {} }}", teacher.display());
    let gradient = |loss: &str, networks: &[&str]| {
        let [once, twice] = ["1", "2"].map(|times| {
            let update = format!("update={{ type: replay, times: {times} }}");
            let method = ["attack={ type: free, eps: 8/255 }", loss, &update];
            let common = [&model, "train.precision=fp32", "train.batch_size=2"];
            convolutions(steps("at.yaml", &[&common, &method[..], networks].concat(), KERNELS_ON_CPU, 2))
        });
        twice - once
    };
    // A gradient more is one pass of AT, and two of ARD, over attacked and clean images.
    let at = gradient("loss={ type: at, log_clean: false }", &[]);
    let ard = gradient("loss=ard", &[&networks]);
    assert!(at > 0 && ard == 2 * at, "{at} convolutions, and {ard} with a teacher");
}
