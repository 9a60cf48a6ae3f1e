//! Tiny runs of the real program, and what they leave on disk. Shared by the tests of training.

#![allow(dead_code)] // each test file uses a part

use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use tempfile::TempDir;

/// Adversarial training with everything that is random in it: shuffling, crops, flips and random
/// starts.
pub const AT: &str = "
name: tiny
seed: 7
device: cpu
data: mnist_subset
images: { train_limit: 80, test_limit: 50 }
augment: [{ type: crop, pad: 2 }, flip]
model: small_cnn
attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform, mode: train }
loss: at
optimizer: { type: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005 }
train: { epochs: 3, batch_size: 20, eval_batch_size: 50, checkpoint_steps: 1 }
attacks: { pgd2: { type: pgd, eps: 0.1, alpha: 0.05, steps: 2, start: uniform } }
select: natural + pgd2
evaluate: [natural, pgd2]
";

/// CAT: a mask network that learns beside the model, each with its own Adam.
pub const CAT: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 60, test_limit: 50 }
model: small_cnn
attack:
  type: calibrated
  inner: { type: pgd, objective: { type: cw, kappa: 150 }, eps: 0.3, alpha: 0.1, steps: 2, mode: train }
  mask: mask_cnn
  beta1: 0.3
  optimizer: { type: adam, lr: 0.001 }
loss: { type: cat, beta: 1 }
optimizer: { type: adam, lr: 0.001 }
train: { epochs: 3, batch_size: 20, eval_batch_size: 50, checkpoint_steps: 1 }
evaluate: [natural]
";

/// TRADES with numbers that change within an epoch and between epochs.
pub const TRADES: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 60, test_limit: 50 }
model: small_cnn
attack:
  type: pgd
  objective: kl
  eps: { type: multistep, start: 0.1, milestones: [0.7, 1.4], gamma: 1.5, count: steps }
  alpha: 0.05
  steps: 2
  start: gaussian
loss: { type: trades, beta: { type: multistep, start: 1, milestones: [1], gamma: 3 } }
optimizer: { type: sgd, lr: { type: multistep, start: 0.05, milestones: [0.4, 2], count: steps } }
train: { epochs: 3, batch_size: 20, eval_batch_size: 50, checkpoint_steps: 1 }
evaluate: [natural]
";

/// A folder of its own for one test.
pub struct Place {
    dir: TempDir,
}

/// How a call of the program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// It ended with an error for people: exit code 1, `error:`, and no panic or C++ backtrace.
    /// Returns the text.
    #[track_caller]
    pub fn error(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert!(self.err.contains("error: "), "{}", self.err);
        for word in ["panicked", "backtrace", "Exception raised", "RUST_"] {
            assert!(!self.err.contains(word), "{}", self.err);
        }
        self.err
    }
}

impl Place {
    /// With the pipeline `yaml` in `tiny.yaml`.
    pub fn with(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tiny.yaml"), yaml).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env("OMP_NUM_THREADS", "1").env_remove("FOIL_LOG");
        command
    }

    /// Runs `foil ARGS` to its end.
    pub fn foil(&self, args: &[&str]) -> Ended {
        let output = self.command(env!("CARGO_BIN_EXE_foil"), args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs `tiny.yaml` in the folder `run`, without the final evaluation.
    #[track_caller]
    pub fn train(&self, run: &str, overrides: &[&str]) -> Run {
        self.foil(&[&["train", "tiny.yaml", "--no-eval", "--run-dir", run], overrides].concat()).ok();
        self.run(run)
    }

    /// Starts `foil ARGS` and returns once it has said where its folder is; it catches signals
    /// then.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut running = self.begin(args);
        running.wait_for("folder: ");
        running
    }

    /// Starts `foil ARGS`. A test run that ignores SIGHUP, as under `nohup`, does not hand that on.
    pub fn begin(&self, args: &[&str]) -> Running {
        let mut command = self.command("env", &["--default-signal=HUP", env!("CARGO_BIN_EXE_foil")]);
        command.args(args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Running { child: Mortal(child), lines, err: String::new() }
    }

    pub fn run(&self, name: &str) -> Run {
        Run(self.path(name))
    }
}

/// The program at work.
pub struct Running {
    child: Mortal,
    lines: BufReader<ChildStderr>,
    err: String,
}

/// A process that does not outlive a test that failed.
pub struct Mortal(pub Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Running {
    /// Reads what it says until a line begins with `start`; false when it ended before that.
    pub fn wait_for(&mut self, start: &str) -> bool {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return false;
            }
            self.err += &line;
            if line.starts_with(start) {
                return true;
            }
        }
    }

    /// Sends `INT`, `TERM` or `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.0.id())]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it with SIGKILL; true when it was still at work.
    pub fn kill(mut self) -> bool {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap().code().is_none()
    }

    /// Its resident memory in KiB.
    #[cfg(target_os = "linux")]
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has ended");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn end(mut self) -> Ended {
        self.lines.read_to_string(&mut self.err).unwrap();
        Ended { code: self.child.0.wait().unwrap().code(), out: String::new(), err: self.err }
    }
}

/// A run's folder.
pub struct Run(pub PathBuf);

/// Bytes, shape and kind by tensor name; and the header's string map.
pub type Stored = (BTreeMap<String, (String, Vec<usize>, Vec<u8>)>, HashMap<String, String>);

impl Run {
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    #[track_caller]
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// The rows of `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<Value> {
        self.text("metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many epochs `metrics.jsonl` has while the run is active.
    pub fn metrics_so_far(&self) -> usize {
        fs::read_to_string(self.file("metrics.jsonl")).map_or(0, |text| text.lines().count())
    }

    #[track_caller]
    pub fn tensors(&self, name: &str) -> Stored {
        read_tensors(&self.file(name))
    }

    /// Where the saved state is: `{"epoch": …, "step": …, …}`.
    pub fn position(&self) -> Value {
        serde_json::from_str(&self.tensors("state.safetensors").1["foil.position"]).unwrap()
    }

    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Both ended with the same bits: weights, state, best epoch and metrics. Times and dates may
    /// differ.
    #[track_caller]
    pub fn assert_same(&self, other: &Run) {
        for name in ["metrics.jsonl", "metrics.csv", "resolved.yaml"] {
            assert_eq!(self.text(name), other.text(name), "{name}");
        }
        for name in ["last.safetensors", "best.safetensors", "state.safetensors"] {
            let ((ours, _), (theirs, _)) = (self.tensors(name), other.tensors(name));
            assert!(!ours.is_empty() && ours.keys().eq(theirs.keys()), "{name}: {:?} {:?}", ours.keys(), theirs.keys());
            for (tensor, stored) in &ours {
                assert!(*stored == theirs[tensor], "{name}: `{tensor}` differs");
            }
        }
        assert_eq!(self.position(), other.position());
        let unfinished: Vec<String> = self.files().into_iter().filter(|name| name.ends_with(".tmp")).collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
}

#[track_caller]
pub fn read_tensors(path: &Path) -> Stored {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    let tensors = tensors.map(|(name, t)| (name, (format!("{:?}", t.dtype()), t.shape().to_vec(), t.data().to_vec())));
    (tensors.collect(), header.metadata().clone().unwrap_or_default())
}
