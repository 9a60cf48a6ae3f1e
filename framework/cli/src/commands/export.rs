//! `foil export`: a run's weights for PyTorch.

use super::{Exit, eval};
use foil::{Error, tensors};
use foil_runs::interop::export::{Format, export};
use foil_runs::pipeline::{assemble, load};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind};

/// Write a run's weights as a file that PyTorch reads.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil export runs/trades                        runs/trades/best.pth, for model.load_state_dict(torch.load(FILE))
  foil export runs/trades --format torchscript   runs/trades/best.pt, for torch.jit.load(FILE)(images)
  foil export runs/trades/last.safetensors --out trades.pth")]
pub(super) struct Args {
    /// A run folder, or a checkpoint in one.
    run: PathBuf,
    /// `pt`: a state_dict; `safetensors`: the same; `torchscript`: a program with the normalisation
    /// inside.
    #[arg(long, default_value = "pt")]
    format: Format,
    /// The file to write (default: beside the checkpoint).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let (folder, weights) = eval::checkpoint(&args.run)?;
    let loaded = load(&folder.resolved(), &[])?;
    let parts = loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, true))?;
    let (named, card) = tensors::read(&weights)?;
    let network = parts.step.model.network();
    network.params().load(&named).map_err(|e| e.context(weights.display()))?;
    let out = args.out.clone().unwrap_or_else(|| weights.with_extension(args.format.extension()));
    if same(&out, &weights) {
        return Err(Error::new(format!("{} is the checkpoint itself", out.display()))
            .help("it is already safetensors; give another file with --out"));
    }
    export(network, args.format, parts.data, card, &out)?;
    println!("{}: {}", out.display(), gist(args.format, &out));
    if args.format != Format::Torchscript {
        let normalize = serde_json::to_string(&loaded.pipeline.normalize).unwrap_or_default();
        println!(
            "normalize: {normalize}; it is not part of the file's tensors, but in its metadata as foil.normalize, foil.mean and foil.std"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

fn gist(format: Format, out: &Path) -> String {
    let file = out.display();
    match format {
        Format::Pt => format!("model.load_state_dict(torch.load(\"{file}\"))"),
        Format::Safetensors => format!("model.load_state_dict(safetensors.torch.load_file(\"{file}\"))"),
        Format::Torchscript => format!("torch.jit.load(\"{file}\")(images in [0, 1]) gives logits, in evaluation mode"),
    }
}
