//! An array in a file: alone (`.npy`), zipped with others (`.npz`) or in safetensors.

use super::npy::{self, Header, Number};
use crate::places;
use foil::{AtPath, Error, Result};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use zip::ZipArchive;

/// An array by its file and its name there.
#[derive(Debug)]
pub struct Named {
    /// The file.
    pub path: PathBuf,
    /// The array's name; a `.npy` file has only one.
    pub key: String,
}

/// A safetensors header, or a zip's directory, is far shorter.
const LONGEST: u64 = 64 << 20;
/// An array that is larger than this unpacked must not be packed by more than [`TIGHTEST`].
const LARGE: u64 = 64 << 20;
const TIGHTEST: u64 = 200;

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.extension() {
            Some(ending) if ending == "npy" => write!(f, "{}", self.path.display()),
            _ => write!(f, "{}, array `{}`", self.path.display(), self.key),
        }
    }
}

impl Named {
    /// Says which array an error is about.
    pub fn about(&self, error: Error) -> Error {
        error.context(self)
    }

    /// Whether the file has an array of this name.
    pub fn is_there(&self) -> bool {
        self.header().is_ok()
    }

    /// Its type and shape.
    ///
    /// # Errors
    /// As [`Named::with`].
    pub fn header(&self) -> Result<Header> {
        self.with(|header, _| Ok(header.clone()))
    }

    /// Calls `work` with its header and a reader of its numbers, which are not more than the header
    /// says.
    ///
    /// # Errors
    /// When the file or the array is not there or is not read by foil, and those of `work`.
    pub fn with<T>(&self, work: impl FnOnce(&Header, &mut dyn Read) -> Result<T>) -> Result<T> {
        let file = places::open(&self.path)?;
        let ending = self.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let done = match ending {
            "npy" => npy_of(file, work),
            "npz" => self.of_zip(file, work),
            "safetensors" => self.of_safetensors(file, work),
            _ => Err(Error::new("its name does not say what it is").help("foil reads .npy, .npz and .safetensors")),
        };
        done.map_err(|error| self.about(error))
    }

    fn of_zip<T>(&self, file: BufReader<File>, work: impl FnOnce(&Header, &mut dyn Read) -> Result<T>) -> Result<T> {
        let mut zip = ZipArchive::new(file).map_err(|error| Error::new(format!("it is not a .npz file: {error}")))?;
        let name = format!("{}.npy", self.key);
        let Some(at) = zip.index_for_name(&name) else {
            return Err(missing(
                zip.file_names().flatten().map(|name| name.trim_end_matches(".npy").to_string()).collect(),
            ));
        };
        let member = zip.by_index(at).map_err(|error| Error::new(format!("it cannot be unpacked: {error}")))?;
        let (packed, unpacked) = (member.compressed_size(), member.size());
        if unpacked > LARGE && unpacked / TIGHTEST > packed {
            let message = format!("{packed} bytes would unpack to {unpacked}, which no array of pictures does");
            return Err(Error::new(message));
        }
        npy_of(member.take(unpacked), work)
    }

    fn of_safetensors<T>(
        &self,
        mut file: BufReader<File>,
        work: impl FnOnce(&Header, &mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        let mut start = vec![0; 8];
        file.read_exact(&mut start).at("reading", &self.path)?;
        let length = start.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        if length > LONGEST {
            return Err(Error::new("it is not a .safetensors file: its header would be too long"));
        }
        (&mut file).take(length).read_to_end(&mut start).at("reading", &self.path)?;
        let odd = |error| Error::new(format!("it is not a .safetensors file: {error}"));
        let metadata: Metadata = serde_json::from_slice(&start[8..]).map_err(odd)?;
        let Some(info) = metadata.info(&self.key) else {
            return Err(missing(metadata.tensors().into_keys().collect()));
        };
        let number = match info.dtype {
            Dtype::U8 | Dtype::BOOL => Number::U8,
            Dtype::I8 => Number::Int { bytes: 1, signed: true },
            Dtype::I16 => Number::Int { bytes: 2, signed: true },
            Dtype::U16 => Number::Int { bytes: 2, signed: false },
            Dtype::I32 => Number::Int { bytes: 4, signed: true },
            Dtype::U32 => Number::Int { bytes: 4, signed: false },
            Dtype::I64 => Number::Int { bytes: 8, signed: true },
            Dtype::U64 => Number::Int { bytes: 8, signed: false },
            Dtype::F32 => Number::Float(4),
            Dtype::F64 => Number::Float(8),
            other => return Err(Error::new(format!("its numbers are of type {other:?}, which foil does not read"))),
        };
        let header = Header { number, shape: info.shape.clone() };
        let begin = 8 + length + info.data_offsets.0 as u64;
        let whole = file.get_ref().metadata().at("reading", &self.path)?.len();
        let needed = header.length()? as u64;
        if begin.checked_add(needed).is_none_or(|end| end > whole) {
            return Err(Error::new(format!(
                "it is cut short: it has {whole} bytes, expected {} and more",
                begin.saturating_add(needed)
            )));
        }
        file.seek(SeekFrom::Start(begin)).at("reading", &self.path)?;
        work(&header, &mut file.take(needed))
    }
}

fn npy_of<T>(mut from: impl Read, work: impl FnOnce(&Header, &mut dyn Read) -> Result<T>) -> Result<T> {
    let header = npy::header(&mut from)?;
    let length = header.length()? as u64;
    work(&header, &mut from.take(length))
}

fn missing(mut names: Vec<String>) -> Error {
    const SHOWN: usize = 20;
    names.sort();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Error::new("there is no such array in the file")
        .help(format!("it has: {}{more}", foil::error::shown(&names.join(", "))))
}
