//! Named tensors in safetensors files.

use crate::record::atomic;
use crate::{AtPath, Error, Result, regular};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Tensors by name.
pub type Named = BTreeMap<String, Tensor>;

/// The kinds that are stored, under both libraries' names.
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

/// Writes tensors and a string map to `path`, whole or not at all.
///
/// # Errors
/// When the file cannot be written, or a tensor's kind has no safetensors form.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
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
    let views = stored
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .at("writing", path)?;
    let bytes = safetensors::serialize(views, Some(metadata)).at("writing", path)?;
    atomic::write(path, bytes).map_err(Error::of)
}

/// Tensors of a file: more than any network has, and few enough that a hostile file costs no time.
pub(crate) const MOST_TENSORS: usize = 20_000;

/// Reads tensors and the string map of a safetensors file.
///
/// # Errors
/// When the file is not there, cut short, or not a safetensors file.
pub fn read(path: &Path) -> Result<(Named, HashMap<String, String>)> {
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
    let mut named = Named::new();
    for (name, view) in file.tensors() {
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
    Ok((named, header.metadata().clone().unwrap_or_default()))
}

/// Reads the string map of a safetensors file and nothing else of it, however large it is.
///
/// # Errors
/// As [`read`], as far as the header tells.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
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
    Ok(header.metadata().clone().unwrap_or_default())
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
