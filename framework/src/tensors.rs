//! Named tensors in safetensors files.

mod digest;

use crate::atomic;
use crate::{AtPath, Error, Result, regular};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Tensors by name.
pub type Named = BTreeMap<String, Tensor>;

/// The kinds that can be stored, under both libraries' names.
const KINDS: &[(Kind, Dtype)] = &[
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Uint8, Dtype::U8),
    (Kind::Bool, Dtype::BOOL),
];

/// A file of tensors in memory.
#[derive(Debug)]
pub struct Stored {
    /// Its tensors.
    pub tensors: Named,
    /// Its string map, without the digests.
    pub texts: HashMap<String, String>,
    /// SHA-256 of its tensors, in 64 hex digits.
    pub digest: String,
}

/// Writes tensors and a string map to `path`, whole or not at all, with digests of both.
///
/// # Errors
/// When the file cannot be written, or a tensor's kind has no safetensors form.
pub fn write(path: &Path, tensors: &[(String, Tensor)], mut metadata: HashMap<String, String>) -> Result<()> {
    let mut stored = Vec::new();
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let Some(&(_, dtype)) = KINDS.iter().find(|(kind, _)| *kind == tensor.kind()) else {
            return Err(Error::new(format!(
                "{}: `{name}` is {:?}, which safetensors cannot hold",
                path.display(),
                tensor.kind()
            )));
        };
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        stored.push((name, dtype, shape, bytes));
    }
    let parts = stored.iter().map(|(name, dtype, shape, bytes)| (name.as_str(), *dtype, &shape[..], &bytes[..]));
    digest::seal(&mut metadata, digest::of_tensors(parts));
    let views = stored
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .at("writing", path)?;
    let bytes = safetensors::serialize(views, Some(metadata)).at("writing", path)?;
    atomic::write(path, bytes).map_err(Error::of)
}

/// The most tensors of a file: more than any network has, and few enough that a hostile file costs
/// little time.
pub const MOST_TENSORS: usize = 20_000;

/// Reads tensors and the string map of a safetensors file. Its digests, if it has them, are
/// checked.
///
/// # Errors
/// When the file does not exist, is truncated or damaged, or is not a safetensors file.
pub fn read(path: &Path) -> Result<(Named, HashMap<String, String>)> {
    load(path).map(|stored| (stored.tensors, stored.texts))
}

/// As [`read`], with the digest of the tensors, computed if the file has none.
///
/// # Errors
/// As [`read`].
pub fn load(path: &Path) -> Result<Stored> {
    let bytes = regular::read(path, regular::WEIGHTS).at("reading", path)?;
    let not_one = |e: safetensors::SafeTensorError| {
        Error::new(format!("{} is not a whole safetensors file: {e}", path.display()))
            .help("was it cut short while copying?")
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(not_one)?;
    let file = SafeTensors::deserialize(&bytes).map_err(not_one)?;
    if file.len() > MOST_TENSORS {
        let (path, found) = (path.display(), file.len());
        return Err(Error::new(format!("{path} holds {found} tensors, more than the {MOST_TENSORS} it may have")));
    }
    let mut texts = header.metadata().clone().unwrap_or_default();
    let written = digest::unseal(&mut texts).map_err(|why| damaged(path, why))?;
    let views = file.tensors();
    let digest = digest::of_tensors(views.iter().map(|(name, v)| (name.as_str(), v.dtype(), v.shape(), v.data())));
    if written.is_some_and(|written| written != digest) {
        return Err(damaged(path, "its numbers are not those that were written"));
    }
    let mut named = Named::new();
    for (name, view) in views {
        let Some(&(kind, _)) = KINDS.iter().find(|(_, dtype)| *dtype == view.dtype()) else {
            return Err(Error::new(format!(
                "{}: `{name}` is {:?}, which foil does not read",
                path.display(),
                view.dtype()
            )));
        };
        let shape: Result<Vec<i64>, _> = view.shape().iter().map(|&n| i64::try_from(n)).collect();
        let shape = shape.map_err(|_| Error::new(format!("{}: `{name}` is too large", path.display())))?;
        named.insert(name, Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(Stored { tensors: named, texts, digest })
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::new(format!("{} is damaged: {why}", path.display())).help(
        "restore a good copy; to read a file that was changed on purpose, remove foil.weights and foil.texts from its metadata",
    )
}

/// The digest of the tensors in a file, from its header if it is there.
///
/// # Errors
/// As [`load`].
pub fn digest(path: &Path) -> Result<String> {
    match header(path)?.1 {
        Some(digest) => Ok(digest),
        None => load(path).map(|stored| stored.digest),
    }
}

/// Reads the string map of a safetensors file and nothing else of it, however large it is.
///
/// # Errors
/// As [`read`], as far as the header shows.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    header(path).map(|(texts, _)| texts)
}

/// The string map without the digests, and the digest of the tensors if there is one.
fn header(path: &Path) -> Result<(HashMap<String, String>, Option<String>)> {
    let mut file = regular::open(path).at("reading", path)?;
    let whole = file.metadata().at("reading", path)?.len();
    let mut length = [0u8; 8];
    let cut = |e: &dyn std::fmt::Display| {
        Error::new(format!("{} is not a whole safetensors file: {e}", path.display()))
            .help("was it cut short while copying?")
    };
    file.read_exact(&mut length).map_err(|e| cut(&e))?;
    let header = u64::from_le_bytes(length);
    if header > whole {
        return Err(cut(&"its header is longer than the file"));
    }
    let mut bytes = Vec::new();
    file.take(header).read_to_end(&mut bytes).at("reading", path)?;
    let header: Metadata = serde_json::from_slice(&bytes).map_err(|e| cut(&e))?;
    let mut texts = header.metadata().clone().unwrap_or_default();
    let digest = digest::unseal(&mut texts).map_err(|why| damaged(path, why))?;
    Ok((texts, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensors = vec![
            ("a".to_string(), Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([2, 2]).tr()),
            ("n".to_string(), Tensor::from(7i64)),
        ];
        write(&path, &tensors, HashMap::from([("foil.x".into(), "y".into())])).unwrap();
        let (named, metadata) = read(&path).unwrap();
        assert_eq!(named["a"], tensors[0].1);
        assert_eq!(named["n"].size(), [0i64; 0]);
        assert_eq!(metadata["foil.x"], "y");
        assert_eq!(super::metadata(&path).unwrap(), metadata);
    }

    /// Every bit of a small file, one after the other.
    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensors = [("a".to_string(), Tensor::from_slice(&[1f32, 2.0])), ("b".to_string(), Tensor::from(7i64))];
        write(&path, &tensors, HashMap::from([("foil.epochs".into(), "3".into())])).unwrap();
        let (whole, before) = (std::fs::read(&path).unwrap(), load(&path).unwrap());
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            // White space may become other white space: that changes nothing.
            if let Ok(found) = load(&path) {
                let same = found.tensors == before.tensors && found.texts == before.texts;
                assert!(same, "bit {bit} of {} changes what is read", 8 * whole.len());
            }
        }
    }

    #[test]
    fn the_digest_is_of_the_numbers_and_names_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = |file: &str, name: &str, value: f32, text: &str| {
            let path = folder.path().join(file);
            write(&path, &[(name.to_string(), Tensor::from(value))], HashMap::from([("t".into(), text.into())]))
                .unwrap();
            (digest(&path).unwrap(), path)
        };
        let (first, path) = made("1", "a", 1.0, "x");
        assert_eq!(made("2", "a", 1.0, "y").0, first);
        assert_ne!(made("3", "b", 1.0, "x").0, first);
        assert_ne!(made("4", "a", 2.0, "x").0, first);
        // A file made elsewhere has no digest, and is read.
        let bytes = 1f32.to_le_bytes();
        let view = TensorView::new(Dtype::F32, vec![], &bytes).unwrap();
        std::fs::write(&path, safetensors::serialize([("a", view)], None).unwrap()).unwrap();
        assert_eq!(digest(&path).unwrap(), first);
    }

    #[test]
    fn a_file_cut_short_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        write(&path, &[("a".to_string(), Tensor::ones([64], (Kind::Float, Device::Cpu)))], HashMap::new()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 4, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("not a whole safetensors file"));
            let header = metadata(&path);
            let whole = length == bytes.len() - 1; // the header is, the numbers are not
            assert!(header.is_ok() == whole && (whole || header.unwrap_err().to_string().contains("not a whole")));
        }
    }
}
