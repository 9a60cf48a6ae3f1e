//! `foil export`: a run's weights for PyTorch.

use super::{Exit, eval, note};
use foil::distributed::World;
use foil::engine::Normalize;
use foil::{Error, Result, tensors};
use foil_runs::interop::export::{Format, Names, export};
use foil_runs::pipeline::{assemble, assemble_evaluation, load, load_to_evaluate};
use foil_runs::train::Folder;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind};

/// Write a run's weights as a file that PyTorch reads.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil export runs/trades                        runs/trades/best.pth, for model.load_state_dict(torch.load(FILE))
  foil export runs/trades --format torchscript   runs/trades/best.pt, for torch.jit.load(FILE)(images)
  foil export runs/trades/last.safetensors --out trades.pth
  foil export runs/cat_cw/best_mask.safetensors  CAT's mask network

The tensors of a run that `foil import` made get back the names that they came with.")]
pub(super) struct Args {
    /// A run folder, or a checkpoint in one.
    run: PathBuf,
    /// `pt`: a state_dict; `safetensors`: the same; `torchscript`: a program with the normalisation
    /// inside.
    #[arg(long, default_value = "pt")]
    format: Format,
    /// Store the weights in half precision.
    #[arg(long)]
    half: bool,
    /// Name the tensors of an imported run as foil's reference implementation does.
    #[arg(long)]
    foil_names: bool,
    /// The file to write (default: beside the checkpoint).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let (folder, weights) = eval::checkpoint(&args.run)?;
    if args.half && args.format == Format::Torchscript {
        return Err(Error::new("a TorchScript program keeps the precision of the run").help("leave out --half"));
    }
    let out = args.out.clone().unwrap_or_else(|| weights.with_extension(args.format.extension()));
    if same(&out, &weights) {
        return Err(Error::new(format!("{} is the checkpoint itself", out.display()))
            .help("it is already safetensors; give another file with --out"));
    }
    let normalize = match weights.file_name() == folder.best_mask().file_name() {
        true => mask(args, &folder, &weights, &out)?,
        false => Some(model(&folder, &weights, (args.format, args.half), args.foil_names, &out)?),
    };
    println!("{}: {}", out.display(), gist(args.format, &out));
    if let Some(normalize) = normalize.filter(|_| args.format != Format::Torchscript) {
        let normalize = serde_json::to_string(&normalize).unwrap_or_default();
        println!(
            "normalize: {normalize}; it is not part of the file's tensors, but in its metadata as foil.normalize, foil.mean and foil.std"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the model at `weights`, and returns its normalisation.
pub(super) fn model(
    folder: &Folder,
    weights: &Path,
    (format, half): (Format, bool),
    foil_names: bool,
    out: &Path,
) -> Result<Normalize> {
    let (loaded, missing) = load_to_evaluate(World::alone(), &folder.resolved(), &[])?;
    missing.iter().for_each(note);
    let pipeline = &loaded.pipeline;
    let parts = loaded.built(assemble_evaluation(World::alone(), pipeline, Kind::Float, Device::Cpu, true))?;
    let (named, mut card) = tensors::read(weights)?;
    parts.network.params().load(&named).map_err(|e| e.context(weights.display()))?;
    let names = Names::taken(&mut card).filter(|_| !foil_names);
    let renamed = names.as_ref().map(|names| (names, &pipeline.normalize));
    export(&parts.network, (format, half), renamed, parts.data, card, out)?;
    if renamed.is_some() && format != Format::Torchscript {
        println!("its tensors have the names that the checkpoint came with; --foil-names gives them foil's");
    }
    Ok(pipeline.normalize.clone())
}

/// Writes the network that the run's attack trains, at `weights`.
fn mask(args: &Args, folder: &Folder, weights: &Path, out: &Path) -> Result<Option<Normalize>> {
    let loaded = load(&folder.resolved(), &[])?;
    let parts = loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, true))?;
    let learner = parts.step.attack.learner().ok_or_else(|| Error::new("the run's attack trains no network"))?;
    let (named, card) = tensors::read(weights)?;
    learner.network().params().load(&named).map_err(|e| e.context(weights.display()))?;
    export(learner.network(), (args.format, args.half), None, parts.data, card, out).map(|()| None)
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
