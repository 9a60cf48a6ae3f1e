//! Runs of the real program in several processes, and what they keep held against each other.
//! Shared by the tests of ranks.

#![allow(dead_code)] // each test file uses a part

use crate::tiny::{Mortal, Place, Run, Stored};
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Adversarial training with crops and flips, three images in the last batch, so that of four ranks
/// one has none.
pub const AT: &str = "
name: tiny
seed: 7
device: cpu
data: mnist_subset
images: { train_limit: 43, test_limit: 30 }
augment: [{ type: crop, pad: 2 }, flip]
model: small_cnn
attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform, mode: train }
loss: at
optimizer: { type: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005 }
train: { epochs: 2, batch_size: 20, eval_batch_size: 7, checkpoint_steps: 1 }
attacks: { pgd2: { type: pgd, eps: 0.1, alpha: 0.05, steps: 2, start: uniform } }
select: natural + pgd2
evaluate: [natural, pgd2]
";

/// MMA, whose radii belong to single images.
pub const MMA: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 43, test_limit: 10 }
model: small_cnn
attack: { type: an_pgd, d_max: 0.45, e_min: 0.1, steps: 2, search_steps: 3 }
loss: mma
optimizer: { type: sgd, lr: 0.05 }
train: { epochs: 2, batch_size: 20, eval_batch_size: 10 }
";

/// FAT, whose images stop at different steps, with dropout in the model.
pub const FAT: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 43, test_limit: 10 }
model: trades_cnn
attack: { type: early_stopped_pgd, objective: kl, eps: 0.3, alpha: 0.1, steps: 3, tau: 1, omega: 0.001, start: gaussian }
loss: { type: trades, single_clean_pass: true }
optimizer: { type: sgd, lr: 0.05 }
train: { epochs: 2, batch_size: 20, eval_batch_size: 10 }
";

/// A net with batch norm under an attack in train mode.
pub const NORM: &str = "
name: tiny
seed: 4
device: cpu
data: mnist_subset
images: { train_limit: 19, test_limit: 10 }
model: { type: wide_resnet, depth: 10, width: 1 }
attack: { type: pgd, norm: L2, eps: 4, alpha: 2, steps: 2, mode: train }
loss: { type: at, log_clean: false }
optimizer: { type: sgd, lr: 0.05 }
train: { epochs: 1, batch_size: 8, eval_batch_size: 10, batch_norm: sync }
";

/// The processes of one run; they end when it does.
pub struct Ranks(pub Vec<Mortal>);

/// How one of them ended.
pub struct Ended {
    pub code: Option<i32>,
    pub err: String,
}

impl Ranks {
    /// Starts `foil ARGS` as `size` ranks; `own` adds what only one rank is told, `more` variables
    /// for all.
    pub fn start_with(
        place: &Place,
        size: usize,
        args: &[&str],
        own: &dyn Fn(usize) -> Vec<String>,
        more: &[(&str, &str)],
    ) -> Self {
        // Free now, and nobody else is likely to be given it before rank 0 takes it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let start = |rank: usize| {
            let mut command = place.command(env!("CARGO_BIN_EXE_foil"), args);
            command.args(own(rank)).stdout(Stdio::null()).stderr(Stdio::piped());
            let names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "FOIL_TIMEOUT"];
            let values = [rank, size, rank, size, usize::from(port), 20];
            command.envs(names.into_iter().zip(values.map(|value| value.to_string()))).env("MASTER_ADDR", "127.0.0.1");
            command.envs(more.iter().copied());
            Mortal(command.spawn().unwrap())
        };
        Self((0..size).map(start).collect())
    }

    pub fn start(place: &Place, size: usize, args: &[&str]) -> Self {
        Self::start_with(place, size, args, &|_| Vec::new(), &[])
    }

    pub fn signal(&self, rank: usize, name: &str) {
        let id = self.0[rank].0.id();
        assert!(Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap().success());
    }

    /// Waits for all of them, each of which ends before `limit`.
    #[track_caller]
    pub fn end(self, limit: Duration) -> Vec<Ended> {
        let started = Instant::now();
        let end = |mut child: Mortal| {
            let mut err = String::new();
            child.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            Ended { code: child.0.wait().unwrap().code(), err }
        };
        let ended: Vec<Ended> = self.0.into_iter().map(end).collect();
        assert!(started.elapsed() < limit, "took {:?}", started.elapsed());
        ended
    }

    #[track_caller]
    pub fn ok(self) -> Vec<Ended> {
        let ended = self.end(Duration::from_secs(120));
        for (rank, ended) in ended.iter().enumerate() {
            assert_eq!(ended.code, Some(0), "rank {rank}: {}", ended.err);
        }
        ended
    }
}

/// Trains `tiny.yaml` in `size` processes.
pub fn train(place: &Place, size: usize, run: &str, overrides: &[&str]) -> Run {
    Ranks::start(place, size, &[&["train", "tiny.yaml", "--no-eval", "--run-dir", run], overrides].concat()).ok();
    place.run(run)
}

pub fn numbers((kind, _, bytes): &(String, Vec<usize>, Vec<u8>)) -> Vec<f64> {
    match kind.as_str() {
        "F32" => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        "F64" => bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        "I64" => bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        kind => panic!("{kind}"),
    }
}

/// All that both runs keep is the same within `tolerance`, relative to each tensor's largest
/// number.
#[track_caller]
pub fn assert_close(ours: &Run, theirs: &Run, tolerance: f64) {
    let run = ours;
    let [(ours, _), (theirs, _)]: [Stored; 2] =
        [ours.tensors("state.safetensors"), theirs.tensors("state.safetensors")];
    assert!(ours.keys().eq(theirs.keys()), "{:?} {:?}", ours.keys(), theirs.keys());
    for (name, stored) in &ours {
        let (a, b) = (numbers(stored), numbers(&theirs[name]));
        let scale = a.iter().fold(1e-12, |m: f64, x| m.max(x.abs()));
        let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(
            a.len() == b.len() && off <= tolerance * scale,
            "{}: {name}: off by {off:e} of {scale:e}",
            run.0.display()
        );
    }
}
