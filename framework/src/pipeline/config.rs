//! What a pipeline may say.

use crate::attack::Attack;
use crate::data::Augment;
use crate::engine::{Capture, JudgePrecision, Normalize, Precision};
use crate::loss::Loss;
use crate::model::Model;
use crate::optim::Optimizer;
use crate::registry::{Component, FilePath};
use foil_macros::settings;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A training run: data, model, attack, loss, optimiser, and how it is judged.
#[settings]
pub struct Pipeline {
    /// A name for tables and folders; the file's name if it is left out.
    #[set(default)]
    pub name: Option<String>,
    /// Libraries with plugins of one's own, or folders of them; relative paths start at the file
    /// that lists them. `--plugins` adds to them. They are native code with all rights of this
    /// program: name only what you trust (`plugins.lock` pins them).
    #[set(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Everything random follows from it.
    #[set(default = 0)]
    pub seed: u64,
    /// Where it runs: `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N`.
    #[set(default = "auto")]
    pub device: String,
    /// The images.
    pub data: DataConfig,
    /// The network f.
    pub model: Component<dyn Model>,
    /// What happens to images before the first layer; attacks act in front of it, in [0, 1]. A
    /// name, or numbers for each channel. Those of robust_overfitting and CAT on CIFAR-10: `{ mean:
    /// [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] }`.
    #[set(default = Normalize::NONE)]
    pub normalize: Normalize,
    /// A checkpoint whose weights the model begins with, such as `runs/at/best.safetensors`; its
    /// optimiser and its epochs are not taken over. `foil train` copies it into the run's folder.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<FilePath>,
    /// The attack that makes the training images.
    pub attack: Component<dyn Attack>,
    /// What is descended.
    pub loss: Component<dyn Loss>,
    /// How the parameters are updated, the learning rate's schedule included.
    pub optimizer: Component<dyn Optimizer>,
    /// How long, and in what pieces.
    pub train: Train,
    /// Attacks for selection and evaluation, by the names that `select` and `evaluate` use.
    #[set(default)]
    pub attacks: BTreeMap<String, Component<dyn Attack>>,
    /// Which checkpoint is kept: the one with the largest value of this expression over `natural`
    /// and the names in `attacks`. Strictly larger replaces.
    #[set(default = "natural")]
    pub select: String,
    /// Rows of the final evaluation: `natural` and names in `attacks`.
    #[set(default = vec!["natural".to_string()])]
    pub evaluate: Vec<String>,
    /// Makes the file a sweep, which `foil sweep` trains: dotted keys and the values that each
    /// takes, in all combinations, as in `{ loss.beta: [5, 4, 3], attack.objective: [ce, cw] }`. A
    /// run has none.
    #[set(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sweep: BTreeMap<String, Vec<serde_json::Value>>,
    /// Where the file is, from which it names other files; no key.
    #[set(default)]
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Which images, and what happens to them.
#[settings]
pub struct DataConfig {
    /// The data set: `mnist_subset` (comes with foil), `mnist`, `cifar10` or `cifar100`.
    pub name: String,
    /// Its folder; if left out it is looked for (`foil data list` says where).
    #[set(default)]
    pub path: Option<String>,
    /// What its files hold: `published`, or a SHA-256 of other contents. Data with another content
    /// are refused. `foil train` fills it in.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Random crops and flips of training images.
    #[set(default)]
    pub augment: Option<Augment>,
    /// Only the first so many training images.
    #[set(default, range = 1..)]
    pub train_limit: Option<u64>,
    /// Only the first so many test images.
    #[set(default, range = 1..)]
    pub test_limit: Option<u64>,
    /// So many training images are held out, and select the checkpoint in place of the test images.
    /// The papers select on the test set, which is the default here and stated in the log.
    #[set(default = 0)]
    pub validation: u64,
}

/// Whose images batch norm sees in train mode when several processes train together.
#[settings]
#[derive(Copy, PartialEq)]
pub enum BatchNorm {
    /// Each process its own share of the batch; the running statistics are averaged after each
    /// step.
    Local,
    /// The whole batch, as one process alone: two more sums over the processes for each layer and
    /// pass.
    Sync,
}

/// How long, and in what pieces.
#[settings]
pub struct Train {
    /// Passes over the training images.
    #[set(range = 1..=1_000_000)]
    pub epochs: u64,
    /// Images in a step, over all processes that train together; the last step of an epoch may have
    /// fewer.
    #[set(default = 128, range = 1..=65_536)]
    pub batch_size: u64,
    /// Whether the images that are left at an epoch's end, fewer than a batch, are left out; others
    /// come last in the next epoch's order. A last batch of one image has no statistics for batch
    /// norm over vectors.
    #[set(default = false)]
    pub drop_last: bool,
    /// Images at a time in evaluations.
    #[set(default = 500, range = 1..=65_536)]
    pub eval_batch_size: u64,
    /// Arithmetic of training.
    #[set(default = Precision::Fp32)]
    pub precision: Precision,
    /// Arithmetic of measurements and evaluations, which is never bf16; records state it.
    #[set(default = JudgePrecision::Fp32)]
    pub eval_precision: JudgePrecision,
    /// Whether the CPU takes subnormal numbers (in fp32 below 1.2e-38) for 0, in training and in
    /// evaluations, as `torch.set_flush_denormal(True)` does. Where a sigmoid or a softmax is flat,
    /// arithmetic with them can take several times as long.
    #[set(default = true)]
    pub flush_denormal: bool,
    /// Whether a step is captured as a CUDA graph and replayed.
    #[set(default = Capture::Auto)]
    pub capture: Capture,
    /// Whether CUDA computes the same bits each time, which is slower; then a run that was killed
    /// and resumed equals one that was not, as on the CPU always.
    #[set(default = false)]
    pub deterministic: bool,
    /// Whose images batch norm sees when several processes train together; one alone does the same
    /// with both.
    #[set(default = BatchNorm::Local)]
    pub batch_norm: BatchNorm,
    /// Metrics that are measured each epoch besides those in `select`: `natural` and names in
    /// `attacks`.
    #[set(default)]
    pub watch: Vec<String>,
    /// Epochs between measurements of these metrics; the last epoch is always measured.
    #[set(default = 1, range = 1..)]
    pub eval_every: u64,
    /// Besides after each epoch, the state is saved every so many steps, so that a killed run loses
    /// little.
    #[set(default, range = 1..)]
    pub checkpoint_steps: Option<u64>,
}

impl Train {
    /// Steps of an epoch over so many images.
    pub fn steps(&self, images: u64) -> u64 {
        if self.drop_last { images / self.batch_size } else { images.div_ceil(self.batch_size) }
    }
}
