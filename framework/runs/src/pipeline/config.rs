//! The keys of a pipeline file.

use super::ExtraConfig;
use foil::attack::Attack;
use foil::augment::Augment;
use foil::average::Average;
use foil::data::DataSource;
use foil::engine::{Capture, EvalPrecision, Normalize, Precision};
use foil::loss::Loss;
use foil::model::Model;
use foil::nn::NormSettings;
use foil::optim::Optimizer;
use foil::registry::{Component, FilePath};
use foil::settings;
use foil::update::Update;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A training run: data, model, attack, loss, optimiser, and how it is evaluated.
#[settings]
pub struct Pipeline {
    /// A name for tables and folders; by default the file's name.
    #[set(default)]
    pub name: Option<String>,
    /// Libraries with your own plugins, or folders of them; paths are relative to the file that
    /// lists them. `--plugins` adds to them. They are native code with all of this program's
    /// rights: list only what you trust (`plugins.lock` pins them).
    #[set(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Everything random follows from it.
    #[set(default = 0)]
    pub seed: u64,
    /// Where it runs: `auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N`.
    #[set(default = "auto")]
    pub device: String,
    /// The data set: `cifar10`, or with keys `{ type: folder, … }`; `foil list data` names them.
    pub data: Component<dyn DataSource>,
    /// Which of its images are used, and what they must contain.
    #[set(default)]
    pub images: ImagesConfig,
    /// More images, of another set, that are mixed into each batch.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<ExtraConfig>,
    /// What is done to training images, in order: `[crop, flip]`. Each image draws once an epoch.
    /// Those that mix images, and their labels with them, come last.
    #[set(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Component<dyn Augment>>,
    /// The network f.
    pub model: Component<dyn Model>,
    /// The normalisation of images before the first layer; attacks work on images before it, in
    /// [0, 1]. A name, or numbers for each channel. Those of robust_overfitting and CAT on
    /// CIFAR-10: `{ mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] }`.
    #[set(default = Normalize::NONE)]
    pub normalize: Normalize,
    /// Momentum and eps of the model's batch norms.
    #[set(default)]
    #[serde(skip_serializing_if = "is_usual")]
    pub batch_norm: NormSettings,
    /// A checkpoint with the model's initial weights, such as `runs/at/best.safetensors`; the
    /// optimiser's state and the epochs are not taken from it. `foil train` copies it into the
    /// run's folder.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<FilePath>,
    /// Networks besides the model, by name: the teachers and helpers that a loss or an attack asks
    /// for.
    #[set(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkConfig>,
    /// The attack that makes the training images.
    pub attack: Component<dyn Attack>,
    /// The loss that training minimises.
    pub loss: Component<dyn Loss>,
    /// How a step changes the weights. By default the optimiser is handed the loss's gradient;
    /// `awp` and `sam` take it at other weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Component<dyn Update>>,
    /// What is measured, selected, saved and exported in the model's place: an average of its
    /// weights over the training. The state keeps both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Component<dyn Average>>,
    /// Further averages of the weights, by name. They are saved beside: `last_NAME.safetensors`
    /// after each epoch, and `best_NAME.safetensors` after the one that `select` chose. `foil eval`
    /// measures them; `{ type: ema, decay: 0, ramp: false }` is the trained model itself.
    #[set(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub averages: BTreeMap<String, Component<dyn Average>>,
    /// How the parameters are updated, including the learning rate's schedule.
    pub optimizer: Component<dyn Optimizer>,
    /// Epochs, batches and precision of training.
    pub train: Train,
    /// What else TensorBoard shows of a run.
    #[set(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub log: Log,
    /// Attacks for selection and evaluation, by the names that `select` and `evaluate` use. A list
    /// of radii makes a row: `pgd20: { type: pgd, eps: [2/255, 4/255, 8/255], … }` is `pgd20@2/255`
    /// and so on, and `evaluate: [pgd20]` means all of them.
    #[set(default)]
    #[schemars(extend("x-row" = { "key": "eps", "listed": "evaluate" }))]
    pub attacks: BTreeMap<String, Component<dyn Attack>>,
    /// Which checkpoint is kept: the one with the largest value of this expression over `natural`
    /// and the names in `attacks`. Only a strictly larger value replaces it.
    #[set(default = "natural")]
    pub select: String,
    /// Rows of the final evaluation: `natural` and names in `attacks`. `corruptions` measures the
    /// accuracy on corrupted images as well.
    #[set(default = vec!["natural".to_string()])]
    pub evaluate: Vec<String>,
    /// The corrupted images that `corruptions` in `evaluate` measures on; by default the set called
    /// after the data set: `cifar10_c` of `cifar10`.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<Component<dyn DataSource>>,
    /// Makes the file a sweep for `foil sweep`: dotted keys and the values that each takes, in all
    /// combinations, as in `{ loss.beta: [5, 4, 3], attack.objective: [ce, cw] }`. A run has none.
    #[set(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sweep: BTreeMap<String, Vec<serde_json::Value>>,
    /// The file's folder, to which paths in it are relative; not a key.
    #[set(default)]
    #[serde(skip)]
    pub folder: PathBuf,
}

fn is_default(log: &Log) -> bool {
    *log == Log::default()
}

fn is_usual(settings: &NormSettings) -> bool {
    *settings == NormSettings::default()
}

/// A network besides the model.
#[settings]
pub struct NetworkConfig {
    /// The network.
    pub model: Component<dyn Model>,
    /// A checkpoint with its weights, such as `runs/natural/best.safetensors`. `foil train` copies
    /// it into the run's folder.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<FilePath>,
    /// Its own normalisation of images; see the pipeline's `normalize`.
    #[set(default = Normalize::NONE)]
    pub normalize: Normalize,
    /// Momentum and eps of its batch norms.
    #[set(default)]
    #[serde(skip_serializing_if = "is_usual")]
    pub batch_norm: NormSettings,
    /// How it learns, from the loss, with the model. Without it the network is frozen, and runs in
    /// eval mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Component<dyn Optimizer>>,
}

/// Which images of the data set a run uses, and their content.
#[settings]
#[derive(PartialEq)]
pub struct ImagesConfig {
    /// The content of the data set's files: `published`, or the SHA-256 of other content. Data with
    /// other content are refused. `foil train` fills it in.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Use only this many training images, the first ones.
    #[set(default, range = 1..)]
    pub train_limit: Option<u64>,
    /// Use only this many test images, the first ones.
    #[set(default, range = 1..)]
    pub test_limit: Option<u64>,
    /// Number of training images to hold out and to select the checkpoint on, in place of the test
    /// images. The papers select on the test set, which is the default here and stated in the log.
    #[set(default = 0)]
    pub validation: u64,
}

/// Whose images batch norm's statistics come from in train mode when several processes train
/// together.
#[settings]
#[derive(Copy, PartialEq)]
pub enum BatchNorm {
    /// Each process uses its own share of the batch; the running statistics are averaged after
    /// each step.
    Local,
    /// Each process uses the whole batch, as a single process does: two more sums over the
    /// processes for each layer and pass.
    Sync,
}

/// What a run's event files hold besides the curves of its epochs and its hyper-parameters. None of
/// it changes what is trained.
#[settings]
#[derive(Copy, PartialEq)]
pub struct Log {
    /// Write the loss, its parts and the learning rate every this many steps; of several processes,
    /// those of the first one's share of the batch.
    #[set(default, range = 1..)]
    pub steps: Option<u64>,
    /// Write this many test images, and below them the same ones under each attack that is
    /// measured, after each epoch that is measured.
    #[set(default, range = 1..=64)]
    pub images: Option<u64>,
}

/// Epochs, batches and precision of training.
#[settings]
pub struct Train {
    /// Passes over the training images.
    #[set(range = 1..=1_000_000)]
    pub epochs: u64,
    /// Images per step, over all processes that train together; the last step of an epoch may have
    /// fewer.
    #[set(default = 128, range = 1..=65_536)]
    pub batch_size: u64,
    /// Whether to drop an epoch's last images if they are fewer than a batch; the order, and so
    /// the images dropped, changes each epoch. A last batch of one image has no statistics for
    /// batch norm over vectors.
    #[set(default = false)]
    pub drop_last: bool,
    /// Images per batch in evaluations.
    #[set(default = 500, range = 1..=65_536)]
    pub eval_batch_size: u64,
    /// Precision of training.
    #[set(default = Precision::Fp32)]
    pub precision: Precision,
    /// Precision of measurements and evaluations, which is never bf16; records state it.
    #[set(default = EvalPrecision::Fp32)]
    pub eval_precision: EvalPrecision,
    /// Whether the CPU flushes subnormal numbers (in fp32 below 1.2e-38) to 0, in training and in
    /// evaluations, as `torch.set_flush_denormal(True)` does. Where a sigmoid or a softmax is flat,
    /// arithmetic with subnormal numbers can take several times as long.
    #[set(default = true)]
    pub flush_denormal: bool,
    /// The largest Euclidean norm of the gradient, over all parameters of the model: a longer one
    /// is scaled down to it, before weight decay, as `torch.nn.utils.clip_grad_norm_` does.
    #[set(default, above = 0.0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_grad: Option<f64>,
    /// Whether a step is captured as a CUDA graph and replayed.
    #[set(default = Capture::Auto)]
    pub capture: Capture,
    /// Whether CUDA computes the same bits each time, which is slower. Then a run that was killed
    /// and resumed equals one that was not, as is always so on the CPU.
    #[set(default = false)]
    pub deterministic: bool,
    /// Whose images batch norm's statistics come from when several processes train together; for a
    /// single process both are the same.
    #[set(default = BatchNorm::Local)]
    pub batch_norm: BatchNorm,
    /// Metrics to measure besides those in `select`: `natural` and names in `attacks`.
    #[set(default)]
    pub watch: Vec<String>,
    /// Measure these metrics every this many epochs; the last epoch is always measured.
    #[set(default = 1, range = 1..)]
    pub eval_every: u64,
    /// Save the state every this many steps as well as after each epoch, so that a killed run
    /// loses little.
    #[set(default, range = 1..)]
    pub checkpoint_steps: Option<u64>,
}

impl Train {
    /// Steps of an epoch over this many images.
    pub fn steps(&self, images: u64) -> u64 {
        if self.drop_last { images / self.batch_size } else { images.div_ceil(self.batch_size) }
    }
}
