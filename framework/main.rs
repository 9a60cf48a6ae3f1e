//! The `foil` program: the library's command line, with the built-in plugins linked in.

// A plugin crate that nothing names is not linked, and its registrations are lost.
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
use foil_torchscript as _;
use foil_trades as _;
use foil_updates as _;

fn main() -> std::process::ExitCode {
    foil_cli::main()
}
