//! The files that hold weights: PyTorch's zip archives, its older plain files, and safetensors.

use foil::pickle::{self, Strided, Table, Value};
use foil::tensors::{self, Named};
use foil::{AtPath, Error, Result, regular};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};
use zip::ZipArchive;

/// An open file.
#[derive(Debug)]
pub(super) enum Container {
    /// A pickle, and storages beside it.
    PyTorch { table: Table, storages: Storages },
    /// Tensors and texts.
    Safetensors(Named, HashMap<String, String>),
}

/// Where storages are stored.
#[derive(Debug)]
pub(super) enum Storages {
    /// Entries `prefix/data/KEY` of a zip archive.
    Zip { archive: ZipArchive<BufReader<File>>, prefix: String, path: PathBuf },
    /// Positions in the file itself: first byte and number of elements, by key.
    Plain { file: File, places: HashMap<String, (u64, u64)>, path: PathBuf },
}

/// The largest pickle that is read; tensors are stored outside it.
const LONGEST: usize = 64 << 20;
/// The start of the older format: a pickle of the number 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// The older format's version, which follows: a pickle of 1001.
const VERSION: &[u8] = &[0x80, 2, b'M', 0xe9, 0x03, b'.'];

/// Opens `path`, by its first bytes.
pub(super) fn open(path: &Path) -> Result<Container> {
    let mut file = regular::open(path).at("reading", path).map_err(|e| e.help("name the checkpoint itself"))?;
    let mut head = Vec::new();
    (&file).take(16).read_to_end(&mut head).at("reading", path)?;
    file.rewind().at("reading", path)?;
    if head.starts_with(b"PK") {
        zipped(path, file)
    } else if head.starts_with(MAGIC) {
        plain(path, file)
    } else if head.get(8) == Some(&b'{') {
        let (named, texts) = tensors::read(path)?;
        Ok(Container::Safetensors(named, texts))
    } else {
        let found = if head.starts_with(&[0x80]) { " but a pickle of something else" } else { "" };
        Err(Error::new(format!("{} is neither a PyTorch checkpoint nor a safetensors file{found}", path.display()))
            .help("foil reads what torch.save writes, and safetensors"))
    }
}

/// A file that archives of `torch.jit.save` have and those of `torch.save` do not.
const CONSTANTS: &str = "/constants.pkl";
/// Where PyTorch keeps extra files of a program:
/// `torch.jit.load(FILE, _extra_files={"foil.json": ""})`.
pub(super) const CARD: &str = "extra/foil.json";

/// Whether the file at `path` is a TorchScript program.
pub(super) fn is_program(path: &Path) -> bool {
    let file = path.is_file().then(|| File::open(path).ok()).flatten();
    let archive = file.and_then(|file| ZipArchive::new(BufReader::new(file)).ok());
    archive.is_some_and(|archive| archive.file_names().any(|name| name.is_ok_and(|name| name.ends_with(CONSTANTS))))
}

/// The texts of the model card that foil stored in the program at `path`; empty for one made
/// elsewhere.
///
/// # Errors
/// When the card is damaged.
pub(super) fn card_of_program(path: &Path) -> Result<HashMap<String, String>> {
    const LONGEST: u64 = 1 << 20;
    let file = File::open(path).at("reading", path)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).at("reading", path)?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let Some(name) = names.iter().find(|name| name.split_once('/').is_some_and(|(_, rest)| rest == CARD)) else {
        return Ok(HashMap::new());
    };
    serde_json::from_slice(&entry(&mut archive, name, LONGEST).at("reading", path)?).at("reading", path)
}

fn zipped(path: &Path, file: File) -> Result<Container> {
    let broken = |e: zip::result::ZipError| {
        Error::new(format!("{} is not a whole zip archive: {e}", path.display()))
            .help("was it cut short while copying?")
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let ends = |end: &str| names.iter().find_map(|name| name.strip_suffix(end)).map(String::from);
    if ends(CONSTANTS).is_some() {
        return Err(Error::new(format!("{} is a TorchScript program, not a checkpoint", path.display())).help(format!(
            "evaluate it as it is: foil import {0}; or train it, if it has parameters: `model: {{ type: torchscript, file: {0} }}`",
            path.display()
        )));
    }
    let Some(prefix) = ends("/data.pkl") else {
        return Err(Error::new(format!("{} is a zip archive without PyTorch's data.pkl", path.display()))
            .help("foil reads what torch.save writes, and safetensors"));
    };
    let order = format!("{prefix}/byteorder");
    if names.contains(&order) {
        let order = entry(&mut archive, &order, 16).at("reading", path)?;
        if order != b"little" {
            return Err(Error::new(format!("{} was written on a big-endian machine", path.display()))
                .help("load it there and save it as safetensors"));
        }
    }
    let name = format!("{prefix}/data.pkl");
    let bytes = entry(&mut archive, &name, LONGEST as u64).at("reading", path)?;
    let (table, _) =
        pickle::read(&bytes, LONGEST).map_err(|refused| refused.into_error(&format!("{}: {name}", path.display())))?;
    Ok(Container::PyTorch { table, storages: Storages::Zip { archive, prefix, path: path.to_path_buf() } })
}

/// A stored entry of at most `most` bytes. PyTorch compresses nothing, so memory is bounded by the
/// file's size.
fn entry<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str, most: u64) -> std::io::Result<Vec<u8>> {
    let entry = archive.by_name(name).map_err(|e| std::io::Error::other(format!("{name}: {e}")))?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(std::io::Error::other(format!("{name} is compressed, which PyTorch does not do")));
    }
    let size = entry.size();
    if size > most {
        return Err(std::io::Error::other(format!("{name} has {size} bytes, more than the {most} it may have")));
    }
    let mut bytes = Vec::new();
    entry.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The format before PyTorch 1.6: five pickles (magic, version, machine, values, storage keys),
/// then the storages, each preceded by its number of elements.
fn plain(path: &Path, mut file: File) -> Result<Container> {
    let length = file.metadata().at("reading", path)?.len();
    let mut head = Vec::new();
    (&file).take(2 * LONGEST as u64).read_to_end(&mut head).at("reading", path)?;
    let broken = |why: &str| Error::new(format!("{}: {why}", path.display())).help("was it cut short while copying?");
    let start = MAGIC.len() + VERSION.len();
    if head.get(MAGIC.len()..start) != Some(VERSION) {
        return Err(broken("its version is not 1001"));
    }
    let mut at = start;
    let mut next = |what: &str| {
        let (table, used) = pickle::read(&head[at..], LONGEST)
            .map_err(|refused| refused.into_error(&format!("{}: {what}", path.display())))?;
        at += used;
        Ok::<_, Error>(table)
    };
    let (machine, table, keys) = (next("the machine")?, next("the values")?, next("the storages' list")?);
    if find(&machine, machine.root, "little_endian").is_some_and(|id| matches!(machine.get(id), Value::Bool(false))) {
        return Err(Error::new(format!("{} was written on a big-endian machine", path.display()))
            .help("load it there and save it as safetensors"));
    }
    let kinds: HashMap<&str, (Kind, u64)> = table
        .values
        .iter()
        .filter_map(|value| match value {
            Value::Storage(storage) => Some((table.text(storage.key), (storage.kind, storage.numel))),
            _ => None,
        })
        .collect();
    let Value::List(listed) = keys.get(keys.root) else { return Err(broken("its list of storages is not a list")) };
    let mut places = HashMap::new();
    let mut place = at as u64;
    for &key in listed {
        let key = keys.as_text(key).ok_or_else(|| broken("a storage's name is not a string"))?;
        let &(kind, numel) = kinds.get(key).ok_or_else(|| broken("it lists a storage that nothing uses"))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut count)).at("reading", path)?;
        let size = numel.checked_mul(kind.elt_size_in_bytes() as u64);
        let end = size.and_then(|size| (place + 8).checked_add(size)).filter(|&end| end <= length);
        if u64::from_le_bytes(count) != numel {
            return Err(broken("a storage has another length than it should"));
        }
        places.insert(key.to_string(), (place + 8, numel));
        place = end.ok_or_else(|| broken("it ends within a storage"))?;
    }
    Ok(Container::PyTorch { table, storages: Storages::Plain { file, places, path: path.to_path_buf() } })
}

/// The value under `key` of the dictionary `id`.
pub(super) fn find(table: &Table, id: pickle::Id, key: &str) -> Option<pickle::Id> {
    match table.get(id) {
        Value::Dict(items, _) => {
            items.iter().rev().find(|(name, _)| table.as_text(*name) == Some(key)).map(|item| item.1)
        }
        _ => None,
    }
}

impl Storages {
    /// The tensor's numbers, `[…]` in its own kind and contiguous.
    pub(super) fn tensor(&mut self, table: &Table, strided: &Strided) -> Result<Tensor> {
        let Value::Storage(storage) = table.get(strided.storage) else {
            return Err(Error::new("a tensor has no storage"));
        };
        let key = table.text(storage.key);
        let size = storage.numel.checked_mul(storage.kind.elt_size_in_bytes() as u64);
        let size = size.ok_or_else(|| Error::new(format!("the storage `{key}` is too large")))?;
        let (bytes, path) = match self {
            Self::Zip { archive, prefix, path } => {
                (entry(archive, &format!("{prefix}/data/{key}"), size).at("reading", path)?, path)
            }
            Self::Plain { file, places, path } => {
                let place =
                    places.get(key).ok_or_else(|| Error::new(format!("the storage `{key}` is not in the file")))?;
                file.seek(SeekFrom::Start(place.0)).at("reading", path)?;
                let mut bytes = Vec::new();
                file.take(size).read_to_end(&mut bytes).at("reading", path)?;
                (bytes, path)
            }
        };
        if bytes.len() as u64 != size {
            let found = bytes.len();
            return Err(Error::new(format!("{}: the storage `{key}` has {found} bytes of {size}", path.display()))
                .help("was it cut short while copying?"));
        }
        let flat = Tensor::f_from_data_size(&bytes, &[storage.numel as i64], storage.kind)?;
        Ok(flat.f_as_strided(&strided.shape, &strided.strides, strided.offset)?.f_contiguous()?)
    }
}
