//! A run's weights as files that PyTorch reads.

use super::container::CARD;
pub use super::names::Names;
use super::write;
use foil::atomic;
use foil::engine::{Network, Normalize};
use foil::guard;
use foil::nn::Mode;
use foil::registry::DataFacts;
use foil::tensors;
use foil::{AtPath, Result};
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use tch::{CModule, Kind, Tensor};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

/// The format of an exported run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A state_dict for `torch.load(weights_only=True)`, under the names that an imported network
    /// came with, or those of the reference implementation.
    Pt,
    /// The same tensors, as safetensors.
    Safetensors,
    /// A program for `torch.jit.load`: images in [0, 1] to logits, including the normalisation, in
    /// evaluation mode.
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

/// Writes the network to `path`, its tensors under `names` if they came with others than foil's;
/// `card` is the text map of its model card, which is stored with it. With `half` the weights of a
/// state_dict are stored in half precision.
///
/// # Errors
/// When the file cannot be written, or the network cannot be traced.
pub fn export(
    network: &Network,
    (format, half): (Format, bool),
    names: Option<(&Names, &Normalize)>,
    data: DataFacts,
    card: HashMap<String, String>,
    path: &Path,
) -> Result<()> {
    let weights = network.params().state_dict();
    let weights = match names {
        Some((names, normalize)) => names.restored(&weights, normalize),
        None => weights,
    };
    let halved = |tensor: &Tensor| {
        if half && tensor.is_floating_point() { tensor.to_kind(Kind::Half) } else { tensor.shallow_clone() }
    };
    let weights: Vec<(String, Tensor)> = weights.iter().map(|(name, tensor)| (name.clone(), halved(tensor))).collect();
    match format {
        Format::Pt => write::state_dict(path, &weights, &card),
        Format::Safetensors => tensors::write(path, &weights, card),
        Format::Torchscript => torchscript(network, data, &card, path),
    }
}

/// Records the operations of one forward pass. The weights become constants of the program; only
/// the batch may vary.
fn torchscript(network: &Network, data: DataFacts, card: &HashMap<String, String>, path: &Path) -> Result<()> {
    let params = network.params();
    // Two images: with one, tracing would fix some shapes.
    let x = Tensor::full([2, data.channels, data.height, data.width], 0.5, (Kind::Float, params.device()));
    let traced = guard(|| {
        let mut forward = |xs: &[Tensor]| vec![tch::no_grad(|| network.frozen(&xs[0], Mode::Eval, None))];
        Ok(CModule::create_by_tracing("Network", "forward", &[x], &mut forward)?)
    });
    let module = traced.map_err(|e| e.context("tracing the model"))?;
    atomic::write(path, with_card(bytes(&module)?, card).at("writing", path)?).at("writing", path)
}

/// The program as libtorch writes it. libtorch writes files by name and aborts the process if a
/// disk is full, so it writes into a pipe instead.
fn bytes(module: &CModule) -> Result<Vec<u8>> {
    let pipe = Path::new("a pipe");
    let (mut from, to) = std::io::pipe().at("making", pipe)?;
    std::thread::scope(|scope| {
        let read = scope.spawn(move || {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).map(|_| bytes)
        });
        let saved = module.save(format!("/dev/fd/{}", to.as_raw_fd()));
        drop(to); // dropping the last writer ends the reader
        let bytes = read.join().unwrap_or_else(|_| Err(std::io::Error::other("its reader failed")));
        saved?;
        bytes.at("reading", pipe)
    })
}

/// The archive of a program with the card in it, where PyTorch keeps what is added to one.
fn with_card(program: Vec<u8>, card: &HashMap<String, String>) -> std::io::Result<Vec<u8>> {
    let sorted: BTreeMap<_, _> = card.iter().collect();
    let text = serde_json::to_string(&sorted)?;
    let root = {
        let archive = ZipArchive::new(Cursor::new(&program))?;
        let name = archive.file_names().find_map(|name| Some(name.ok()?.split_once('/')?.0.to_string()));
        name.ok_or_else(|| std::io::Error::other("the program is an empty archive"))?
    };
    let mut archive = ZipWriter::new_append(Cursor::new(program))?;
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    archive.start_file(format!("{root}/{CARD}"), stored)?;
    archive.write_all(text.as_bytes())?;
    Ok(archive.finish()?.into_inner())
}
