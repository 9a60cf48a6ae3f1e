//! A run's weights as files that PyTorch reads.

use super::container::CARD;
use super::write;
use crate::engine::{Network, guard};
use crate::nn::Mode;
use crate::registry::DataFacts;
use crate::tensors;
use crate::{AtPath, Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tch::{CModule, Kind, Tensor};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

/// What a run is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A state_dict for `torch.load(weights_only=True)`, under the names of the reference implementation.
    Pt,
    /// The same tensors as safetensors.
    Safetensors,
    /// A program for `torch.jit.load`: images in [0, 1] to logits, the normalisation included, in evaluation mode.
    Torchscript,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pt" => Ok(Self::Pt),
            "safetensors" => Ok(Self::Safetensors),
            "torchscript" => Ok(Self::Torchscript),
            "onnx" => {
                Err("libtorch has no ONNX exporter, it is part of PyTorch's Python; export `pt`, and there call \
                           torch.onnx.export on the reference implementation"
                    .into())
            }
            _ => Err("the formats are pt, safetensors and torchscript".into()),
        }
    }
}

impl Format {
    /// The usual ending of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pt => "pth",
            Self::Safetensors => "safetensors",
            Self::Torchscript => "pt",
        }
    }
}

/// Writes the network to `path`; `card` are the texts of its model card, which go along.
///
/// # Errors
/// When the file cannot be written, or the network cannot be traced.
pub fn export(
    network: &Network,
    format: Format,
    data: DataFacts,
    card: HashMap<String, String>,
    path: &Path,
) -> Result<()> {
    let weights = network.params().state_dict();
    match format {
        Format::Pt => write::state_dict(path, &weights, &card),
        Format::Safetensors => tensors::write(path, &weights, card),
        Format::Torchscript => torchscript(network, data, &card, path),
    }
}

/// Records the operations of one forward pass. The weights become constants of the program; only the batch may vary.
fn torchscript(network: &Network, data: DataFacts, card: &HashMap<String, String>, path: &Path) -> Result<()> {
    let params = network.params();
    // Two images: with one, some shapes would be taken for fixed.
    let x = Tensor::full([2, data.channels, data.height, data.width], 0.5, (Kind::Float, params.device()));
    let traced = guard(|| {
        let mut forward = |xs: &[Tensor]| vec![tch::no_grad(|| network.frozen(&xs[0], Mode::Eval, None))];
        Ok(CModule::create_by_tracing("Network", "forward", &[x], &mut forward)?)
    });
    let module = traced.map_err(|e| e.context("tracing the model"))?;
    // libtorch writes files by name, so it writes beside, and what it wrote is taken over whole.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = folder.join(format!(".{}.tracing.tmp", std::process::id()));
    let written = module.save(&beside).map_err(Error::from).and_then(|()| {
        add_card(&beside, card)?;
        let mut from = File::open(&beside).at("reading", &beside)?;
        crate::record::atomic::write_with(path, |to| std::io::copy(&mut from, to).map(drop)).at("writing", path)
    });
    let _ = std::fs::remove_file(&beside); // Rubbish that stays does no harm.
    written
}

/// Adds the card to the archive of a program, where PyTorch keeps what is added to one.
fn add_card(program: &Path, card: &HashMap<String, String>) -> Result<()> {
    let sorted: BTreeMap<_, _> = card.iter().collect();
    let text = serde_json::to_string(&sorted).at("writing", program)?;
    let root = {
        let archive = ZipArchive::new(File::open(program).at("opening", program)?).at("opening", program)?;
        let name = archive.file_names().find_map(|name| Some(name.ok()?.split_once('/')?.0.to_string()));
        name.ok_or_else(|| Error::new(format!("{} is an empty archive", program.display())))?
    };
    let file = File::options().read(true).write(true).open(program).at("opening", program)?;
    let mut archive = ZipWriter::new_append(file).at("opening", program)?;
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    archive.start_file(format!("{root}/{CARD}"), stored).at("writing", program)?;
    archive.write_all(text.as_bytes()).at("writing", program)?;
    archive.finish().at("writing", program).map(drop)
}
