//! `foil import`: a published checkpoint becomes a run folder.

use super::Exit;
use super::as_typed::as_typed;
use foil::data::DataSource;
use foil::engine::Normalize;
use foil::model::Model;
use foil::registry::Component;
use foil::{Error, Result};
use foil_runs::interop::{Checkpoint, Known, Request, StateDict, import};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a run folder from a PyTorch checkpoint, so that `foil eval` can evaluate it. Nothing in
/// a checkpoint is executed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil import model_best.pth --list              what the file holds
  foil import model_best.pth                     the model, data set and prefixes are recognised
  foil import trades_wrn.pt --out runs/trades_wrn && foil eval runs/trades_wrn
  foil import net.pt --model '{ type: wide_resnet, depth: 28 }' --normalize per_image
  foil import net.pt --config configs/cifar10/at.yaml
  foil import program.pt --data cifar10          a TorchScript program, evaluated as it is")]
pub(super) struct Args {
    /// A file that torch.save wrote (PyTorch 0.4 or later), safetensors, or a TorchScript program.
    file: PathBuf,
    /// Print what the file holds, and do nothing else.
    #[arg(long)]
    list: bool,
    /// The model, as in a pipeline: `wide_resnet` or `{ type: wide_resnet, depth: 28 }`.
    #[arg(long, value_name = "MODEL", conflicts_with = "config")]
    model: Option<String>,
    /// A pipeline with the model, data set and attacks to use (default: recognised, with standard
    /// attacks).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data set it classifies, such as `cifar100`.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    data: Option<String>,
    /// The normalisation before the network, as in a pipeline: `none`, `data`, `per_image` or
    /// `{ mean: […], std: […] }`.
    #[arg(long, value_name = "HOW")]
    normalize: Option<String>,
    /// Which of the file's sets of weights to use, as `--list` names them; or a prefix of tensor
    /// names, such as `student`.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Leave out tensors whose names begin with this, have it as a part, or match it as a pattern,
    /// such as `*.popup_scores`; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// The run folder (default: runs/NAME).
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    if args.list {
        return list(&args.file);
    }
    let known = Known {
        model: args.model.as_deref().map(|text| yaml::<Component<dyn Model>>("--model", text)).transpose()?,
        data: args.data.as_deref().map(|text| yaml::<Component<dyn DataSource>>("--data", text)).transpose()?,
        ignore: args.ignore.clone(),
        folder: PathBuf::new(),
    };
    let request = Request {
        file: args.file.clone(),
        known,
        key: args.key.clone(),
        normalize: args.normalize.as_deref().map(|text| yaml::<Normalize>("--normalize", text)).transpose()?,
        config: args.config.clone(),
        out: args.out.clone(),
    };
    let imported = import(&request)?;
    for note in &imported.notes {
        println!("{}", foil::error::shown(note));
    }
    println!("{}", as_typed(&format!("imported into {0}; evaluate it: foil eval {0}", imported.folder.display())));
    Ok(ExitCode::SUCCESS)
}

fn yaml<T: serde::de::DeserializeOwned>(option: &str, text: &str) -> Result<T> {
    serde_yaml::from_str(text).map_err(|e| {
        Error::new(format!("{option} {text}: {e}"))
            .help("write it as in a pipeline; `foil explain pipeline` lists the keys")
    })
}

/// Prints what a file holds.
fn list(file: &Path) -> Exit {
    let checkpoint = Checkpoint::open(file)?;
    let chosen = checkpoint.choose(None).ok().map(|dict| dict.key.clone());
    for dict in &checkpoint.dicts {
        let taken = if chosen.as_ref() == Some(&dict.key) { "  (taken by default)" } else { "" };
        let key = if dict.key.is_empty() { "the top level" } else { &dict.key };
        println!("{key}: {} tensors, {} numbers{taken}", dict.tensors.len(), crate::report::thousands(numbers(dict)));
        for tensor in &dict.tensors {
            let kind = format!("{:?}", tensor.kind).to_lowercase();
            println!("  {:<48} {:<9} {:?}", tensor.name.escape_default().to_string(), kind, tensor.shape);
        }
    }
    for line in &checkpoint.beside {
        println!("{}", line.escape_default());
    }
    Ok(ExitCode::SUCCESS)
}

fn numbers(dict: &StateDict) -> i64 {
    dict.tensors.iter().map(|t| t.shape.iter().product::<i64>()).sum()
}
