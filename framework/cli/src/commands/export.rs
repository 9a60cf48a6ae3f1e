//! `foil export`: a run's weights for PyTorch.

use super::{Exit, eval, note};
use foil::distributed::World;
use foil::{Error, tensors};
use foil_runs::interop::export::{Format, Names, export};
use foil_runs::pipeline::{assemble_evaluation, load_to_evaluate};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind};

/// Write a run's weights as a file that PyTorch reads.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil export runs/trades                        runs/trades/best.pth, for model.load_state_dict(torch.load(FILE))
  foil export runs/trades --format torchscript   runs/trades/best.pt, for torch.jit.load(FILE)(images)
  foil export runs/trades/last.safetensors --out trades.pth

The tensors of a run that `foil import` made get back the names that they came with.")]
pub(super) struct Args {
    /// A run folder, or a checkpoint in one.
    run: PathBuf,
    /// `pt`: a state_dict; `safetensors`: the same; `torchscript`: a program with the normalisation
    /// inside.
    #[arg(long, default_value = "pt")]
    format: Format,
    /// Name the tensors of an imported run as foil's reference implementation does.
    #[arg(long)]
    foil_names: bool,
    /// The file to write (default: beside the checkpoint).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let (folder, weights) = eval::checkpoint(&args.run)?;
    let (loaded, missing) = load_to_evaluate(World::alone(), &folder.resolved(), &[])?;
    missing.iter().for_each(note);
    let parts = loaded.built(assemble_evaluation(World::alone(), &loaded.pipeline, Kind::Float, Device::Cpu, true))?;
    let (named, mut card) = tensors::read(&weights)?;
    let network = &parts.network;
    network.params().load(&named).map_err(|e| e.context(weights.display()))?;
    let out = args.out.clone().unwrap_or_else(|| weights.with_extension(args.format.extension()));
    if same(&out, &weights) {
        return Err(Error::new(format!("{} is the checkpoint itself", out.display()))
            .help("it is already safetensors; give another file with --out"));
    }
    let names = Names::taken(&mut card).filter(|_| !args.foil_names);
    let renamed = names.as_ref().map(|names| (names, &loaded.pipeline.normalize));
    export(network, renamed, args.format, parts.data, card, &out)?;
    println!("{}: {}", out.display(), gist(args.format, &out));
    if renamed.is_some() && args.format != Format::Torchscript {
        println!("its tensors have the names that the checkpoint came with; --foil-names gives them foil's");
    }
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
