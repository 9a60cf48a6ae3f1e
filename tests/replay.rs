//! Steps can be captured and replayed: between two of them only tensors change.
//!
//! A CUDA graph reads fixed addresses and no number of the host. Here, on a CPU, each method takes
//! some steps as usual, and the same steps as a graph would: on inputs in fixed buffers, with a
//! clock that hands out the scalars of its first step and does not know the time, and in the middle
//! of wrong host numbers. Both must end with the same bits. Of several ranks each does so, and a
//! graph knows no other share of the batch than that of its first step.

use foil::attack::{Adversarial, Attack, Batch, Target};
use foil::data::{Augmenting, Resident};
use foil::distributed::{Launch, Meeting, Transport, World, share};
use foil::engine::{Outcome, Repeated};
use foil::nn::{Mode, key_of};
use foil::scheduler::Clock;
use foil_runs::pipeline::{Assembled, Pipeline, load};
use foil_runs::train::{Trainer, step_on};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tch::{Device, Kind, Tensor};

use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_averages as _;
use foil_cat as _;
use foil_datasets as _;
use foil_distillation as _;
use foil_dkl as _;
use foil_fast as _;
use foil_fat as _;
use foil_hat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_score as _;
use foil_self_adaptive as _;
use foil_trades as _;
use foil_updates as _;

/// Epoch, step, and the images of the step; the last one of an epoch has fewer.
const STEPS: [(u64, u64, [i64; 2]); 6] =
    [(0, 0, [0, 8]), (0, 1, [8, 8]), (0, 2, [16, 3]), (1, 0, [5, 8]), (1, 1, [13, 8]), (1, 2, [2, 3])];

/// Everything that a run of these steps leaves: the losses, and the state of model, optimiser and
/// attack.
type Left = Vec<(String, Tensor)>;

fn left(parts: &Assembled, losses: Vec<Tensor>) -> Left {
    let mut all = parts.step.model.state("model.");
    all.extend(parts.step.networks.state("networks."));
    all.extend(parts.step.averages.state());
    all.extend(parts.step.attack.state());
    all.extend(losses.into_iter().enumerate().map(|(i, loss)| (format!("loss of step {i}"), loss)));
    all.into_iter().map(|(name, t)| (name, t.copy())).collect()
}

/// Takes the steps; `blind` as a graph would.
fn steps(pipeline: &Pipeline, data: &Resident, blind: bool, change: &dyn Fn(&mut Assembled)) -> Left {
    steps_of(World::alone(), &STEPS, pipeline, data, blind, change)
}

/// Takes these steps as a rank of `world`.
fn steps_of(
    world: World,
    steps: &[(u64, u64, [i64; 2])],
    pipeline: &Pipeline,
    data: &Resident,
    blind: bool,
    change: &dyn Fn(&mut Assembled),
) -> Left {
    let mut parts = Trainer::assemble(pipeline, Device::Cpu, world).unwrap();
    change(&mut parts);
    let clock = Clock::new(2, 3, Device::Cpu);
    let mut key = Tensor::zeros([] as [i64; 0], (Kind::Int64, Device::Cpu));
    let mut repeated: Repeated<(Outcome, Tensor)> = Repeated::fixed().across(world).unwrap();
    let (mut losses, mut seen) = (Vec::new(), Vec::new());
    let list = &parts.augment;
    for &(epoch, step, [first, count]) in steps {
        clock.set(epoch, step);
        let _ = key.fill_(key_of(&[epoch]));
        let share = share(count, world.rank(), world.size());
        world.set_share(share);
        let (start, rows) = share.rows();
        let rows = Tensor::arange_start(first + start, first + start + rows, (Kind::Int64, Device::Cpu));
        // The first step with a shape is taken as usual in both, as on CUDA.
        let again = seen.contains(&count);
        seen.push(count);
        let loss = if blind && again {
            let unknowing = clock.without_time();
            let work = &mut |inputs: &[Tensor]| {
                step_on(&mut parts.step, data, inputs, Augmenting { list, key: &key, part: None }, &unknowing)
            };
            repeated.run(&[&rows], work).unwrap().0.loss.total.copy()
        } else if blind {
            let work = &mut |inputs: &[Tensor]| {
                step_on(&mut parts.step, data, inputs, Augmenting { list, key: &key, part: None }, &clock)
            };
            repeated.run(&[&rows], work).unwrap().0.loss.total.copy()
        } else {
            step_on(&mut parts.step, data, &[rows], Augmenting { list, key: &key, part: None }, &clock)
                .unwrap()
                .0
                .loss
                .total
        };
        losses.push(loss);
    }
    left(&parts, losses)
}

/// The names of tensors that differ in any bit.
fn differing(a: &Left, b: &Left) -> Vec<String> {
    assert_eq!(a.len(), b.len());
    let differ = |((name, a), (_, b)): (&(String, Tensor), &(String, Tensor))| (!a.equal(b)).then(|| name.clone());
    a.iter().zip(b).filter_map(differ).collect()
}

fn read(file: &Path, overrides: &[&str]) -> (Pipeline, Resident) {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let pipeline = load(file, &overrides).unwrap_or_else(|e| panic!("{e}")).pipeline;
    let data = Resident::new(&foil_runs::data::read(&pipeline).unwrap().train, Device::Cpu).unwrap().first(24);
    (pipeline, data)
}

fn smoke() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke")
}

const FALLING: &str = "{ type: multistep, start: 0.02, milestones: [0.3, 1.4], gamma: 0.1, count: steps }";

/// Every method of the smoke runs, its learning rate changing between steps.
#[test]
fn every_methods_steps_can_be_replayed() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(smoke()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !["base", "sweep", "at_resnet"].contains(&file.file_stem().unwrap().to_str().unwrap()));
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let (pipeline, data) = read(&file, &[&format!("optimizer.lr={FALLING}"), "train.batch_size=8"]);
        let usual = steps(&pipeline, &data, false, &|_| {});
        assert_eq!(differing(&usual, &steps(&pipeline, &data, true, &|_| {})), [""; 0], "{}", file.display());
    }
}

/// Numbers of attack and loss that change, augmentation, batch norm and bf16.
#[test]
fn scheduled_numbers_and_augmentation_are_read_from_tensors() {
    let growing = "{ type: multistep, start: 0.1, milestones: [0.3, 0.7, 1.4], gamma: 1.5, count: steps }";
    let (eps, beta) = (format!("attack.eps={growing}"), format!("loss.beta={growing}"));
    let (tau, lr) = (format!("attack.tau={growing}"), format!("optimizer.lr={FALLING}"));
    let augment = "augment=[{ type: crop, pad: 2 }, flip]";
    let resnet = "model={ type: wide_resnet, depth: 10, width: 1, drop_rate: 0.3 }";
    let cases: [(&str, &[&str]); 4] = [
        ("trades.yaml", &[&eps, &beta, &lr]),
        ("fat_mart.yaml", &[&tau, &lr, augment]),
        ("at.yaml", &[&lr, augment, resnet, "attack.mode=train"]),
        ("at.yaml", &[&lr, augment, "train.precision=bf16"]),
    ];
    for (file, overrides) in cases {
        let (pipeline, data) = read(&smoke().join(file), overrides);
        let usual = steps(&pipeline, &data, false, &|_| {});
        assert_eq!(differing(&usual, &steps(&pipeline, &data, true, &|_| {})), [""; 0], "{file} {overrides:?}");
    }
}

/// The same as above, as each of two ranks, which meet over TCP.
fn steps_of_two(pipeline: &Pipeline, data: &Resident, blind: bool) -> Vec<Left> {
    // Of 8 and of 7 images the first rank has four each time, which count differently; of one the
    // second has none.
    const STEPS: [(u64, u64, [i64; 2]); 8] = [
        (0, 0, [0, 8]),
        (0, 1, [8, 7]),
        (0, 2, [15, 1]),
        (0, 3, [3, 7]),
        (1, 0, [5, 8]),
        (1, 1, [13, 7]),
        (1, 2, [2, 1]),
        (1, 3, [16, 7]),
    ];
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::thread::scope(|scope| {
        let start = |rank: usize| {
            let data = data.first(i64::MAX);
            scope.spawn(move || {
                let meeting = Meeting { host: "127.0.0.1".into(), port, served: false, prefix: "replay".into() };
                let launch = Launch {
                    launcher: "test",
                    rank,
                    size: 2,
                    local_rank: rank,
                    local_size: None,
                    meeting: Some(meeting),
                    transport: Transport::Gloo,
                    timeout: Duration::from_secs(60),
                };
                let world = World::join(launch).unwrap();
                let left = steps_of(world, &STEPS, pipeline, &data, blind, &|_| {});
                world.finish().unwrap();
                left
            })
        };
        let running = [start(0), start(1)];
        running.map(|rank| rank.join().unwrap()).into()
    })
}

#[test]
fn the_steps_of_several_ranks_can_be_replayed() {
    let sync = "train.batch_norm=sync";
    let resnet = "model={ type: wide_resnet, depth: 10, width: 1 }";
    let cases: [(&str, &[&str]); 14] = [
        ("awp.yaml", &[resnet]),
        ("lbgat.yaml", &[]),
        ("dkl.yaml", &["loss.gamma=0.2"]),
        ("self_adaptive.yaml", &[]),
        ("fgsm_pgi.yaml", &[]),
        ("free.yaml", &[resnet]),
        ("grad_align.yaml", &[resnet]),
        ("e_at.yaml", &["attack.run_all=true"]),
        ("max.yaml", &[]),
        ("at.yaml", &[]),
        ("trades.yaml", &["train.precision=bf16"]),
        ("cat_cw.yaml", &[]),
        ("at.yaml", &[resnet, "attack.mode=train"]),
        ("at.yaml", &[resnet, "attack.mode=train", sync]),
    ];
    for (file, overrides) in cases {
        let lr = format!("optimizer.lr={FALLING}");
        let overrides = [overrides, &[lr.as_str()]].concat();
        let (pipeline, data) = read(&smoke().join(file), &overrides);
        let usual = steps_of_two(&pipeline, &data, false);
        let blind = steps_of_two(&pipeline, &data, true);
        for (rank, (usual, blind)) in usual.iter().zip(&blind).enumerate() {
            assert_eq!(differing(usual, blind), [""; 0], "{file} {overrides:?}, rank {rank}");
        }
        // That the ranks add up at all: they hold one model.
        let model = |left: &Left| left.iter().find(|(name, _)| name == "model.flat").unwrap().1.copy();
        assert!(model(&usual[0]).equal(&model(&usual[1])), "{file} {overrides:?}");
    }
}

/// An attack that takes a number from the host.
struct Peeks;

impl Attack for Peeks {
    fn perturb(&mut self, _: &Target, batch: &Batch) -> foil::Result<Adversarial> {
        Ok(Adversarial::new((&batch.x + 0.1 * batch.clock.progress().epochs_done().fract()).clamp(0.0, 1.0)))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

#[test]
fn an_attack_that_reads_the_host_is_found_out() {
    let (pipeline, data) = read(&smoke().join("at.yaml"), &["train.batch_size=8"]);
    let peek = |parts: &mut Assembled| parts.step.attack = Box::new(Peeks);
    let usual = steps(&pipeline, &data, false, &peek);
    assert!(differing(&usual, &steps(&pipeline, &data, true, &peek)).contains(&"model.flat".to_string()));
}
