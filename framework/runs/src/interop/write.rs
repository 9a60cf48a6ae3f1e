//! A checkpoint as PyTorch writes it: a zip archive with a pickle of names and shapes, and the
//! data beside it.
//!
//! The pickle uses only what `torch.load(weights_only=True)` admits, the default since PyTorch 2.6.

use foil::atomic;
use foil::{AtPath, Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tch::{Device, Kind, Tensor};
use zip::write::{SimpleFileOptions, ZipWriter};

/// PyTorch's alignment of data, so that a file can be mapped into memory.
const ALIGNMENT: u16 = 64;

/// Writes `tensors` as an `OrderedDict`, whole or not at all. In Python its attribute `foil` is the
/// dictionary `texts`.
///
/// # Errors
/// When the file cannot be written, or a tensor's kind has no typed storage in PyTorch.
pub(super) fn state_dict(path: &Path, tensors: &[(String, Tensor)], texts: &HashMap<String, String>) -> Result<()> {
    let tensors: Vec<(&str, Tensor)> =
        tensors.iter().map(|(name, t)| (name.as_str(), t.detach().to_device(Device::Cpu).contiguous())).collect();
    let pickle = pickle(&tensors, texts)?;
    let fill = |file: &mut File| {
        let mut zip = ZipWriter::new(BufWriter::new(file));
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut put = |name: &str, bytes: &[u8]| {
            let options = options.with_alignment(ALIGNMENT).large_file(bytes.len() >= u32::MAX as usize);
            zip.start_file(format!("archive/{name}"), options).map_err(io::Error::other)?;
            zip.write_all(bytes)
        };
        put("data.pkl", &pickle)?;
        put("byteorder", b"little")?;
        for (number, (_, tensor)) in tensors.iter().enumerate() {
            let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(io::Error::other)?;
            put(&format!("data/{number}"), &bytes)?;
        }
        put("version", b"3\n")?;
        zip.finish().map_err(io::Error::other)?.flush()
    };
    atomic::write_with(path, fill).at("writing", path)
}

/// The instructions that make the dictionary.
fn pickle(tensors: &[(&str, Tensor)], texts: &HashMap<String, String>) -> Result<Vec<u8>> {
    const EMPTY_ORDERED: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut to = vec![0x80, 2];
    to.extend_from_slice(EMPTY_ORDERED);
    to.push(b'(');
    for (number, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut to, name);
        to.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut to, "storage");
        to.extend_from_slice(format!("ctorch\n{}\n", storage(name, tensor.kind())?).as_bytes());
        text(&mut to, &number.to_string());
        text(&mut to, "cpu");
        integer(&mut to, tensor.numel() as i64);
        to.extend_from_slice(b"tQ");
        integer(&mut to, 0);
        tuple(&mut to, &tensor.size());
        tuple(&mut to, &tensor.stride());
        to.push(0x89); // requires no gradient
        to.extend_from_slice(EMPTY_ORDERED); // and has no hooks
        to.extend_from_slice(b"tR");
    }
    to.push(b'u');
    to.extend_from_slice(b"}(");
    text(&mut to, "foil");
    to.extend_from_slice(b"}(");
    let mut texts: Vec<_> = texts.iter().collect();
    texts.sort();
    for (key, value) in texts {
        text(&mut to, key);
        text(&mut to, value);
    }
    to.extend_from_slice(b"uub.");
    Ok(to)
}

fn storage(name: &str, kind: Kind) -> Result<&'static str> {
    Ok(match kind {
        Kind::Float => "FloatStorage",
        Kind::Double => "DoubleStorage",
        Kind::Half => "HalfStorage",
        Kind::BFloat16 => "BFloat16Storage",
        Kind::Int64 => "LongStorage",
        Kind::Int => "IntStorage",
        Kind::Int16 => "ShortStorage",
        Kind::Int8 => "CharStorage",
        Kind::Uint8 => "ByteStorage",
        Kind::Bool => "BoolStorage",
        other => return Err(Error::new(format!("`{name}` is {other:?}, which a PyTorch checkpoint cannot hold"))),
    })
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.push(b'X');
    to.extend_from_slice(&(text.len() as u32).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}

fn integer(to: &mut Vec<u8>, number: i64) {
    match i32::try_from(number) {
        Ok(number) => {
            to.push(b'J');
            to.extend_from_slice(&number.to_le_bytes());
        }
        Err(_) => {
            to.extend_from_slice(&[0x8a, 8]);
            to.extend_from_slice(&number.to_le_bytes());
        }
    }
}

fn tuple(to: &mut Vec<u8>, numbers: &[i64]) {
    to.push(b'(');
    numbers.iter().for_each(|&number| integer(to, number));
    to.push(b't');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::Checkpoint;

    /// A view of larger memory, an empty tensor, a scalar, and every kind that can be stored.
    fn tensors() -> Vec<(String, Tensor)> {
        let grid = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([4, 6]);
        let mut all = vec![
            ("window".to_string(), grid.narrow(1, 2, 3).tr()),
            ("empty".to_string(), Tensor::empty([0, 3], (Kind::Float, Device::Cpu))),
            ("scalar".to_string(), Tensor::from(7i64)),
        ];
        for kind in
            [Kind::Double, Kind::Half, Kind::BFloat16, Kind::Int, Kind::Int16, Kind::Int8, Kind::Uint8, Kind::Bool]
        {
            all.push((format!("{kind:?}"), grid.to_kind(kind)));
        }
        all
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.pt");
        let texts = HashMap::from([("foil.name".to_string(), "ä\n".to_string())]);
        state_dict(&path, &tensors(), &texts).unwrap();
        let mut file = Checkpoint::open(&path).unwrap();
        let dict = file.choose(None).unwrap().clone();
        assert_eq!(dict.texts, texts);
        assert_eq!(dict.tensors.len(), tensors().len());
        for (entry, (name, tensor)) in dict.tensors.iter().zip(tensors()) {
            assert_eq!((&entry.name, entry.kind, &entry.shape), (&name, tensor.kind(), &tensor.size()));
            assert_eq!(file.tensor(entry).unwrap(), tensor, "{name}");
        }
    }

    /// All that `torch/_weights_only_unpickler.py` of PyTorch 2.11 lets a file name and do, as far
    /// as it is used here.
    #[test]
    fn the_pickle_says_only_what_weights_only_admits() {
        let own = tensors().into_iter().map(|(name, t)| (name, t.contiguous())).collect::<Vec<_>>();
        let own: Vec<(&str, Tensor)> = own.iter().map(|(name, t)| (name.as_str(), t.shallow_clone())).collect();
        let bytes = pickle(&own, &HashMap::from([("a".into(), "b".into())])).unwrap();
        let (mut at, mut codes, mut globals) = (0, Vec::new(), Vec::new());
        while at < bytes.len() {
            let code = bytes[at];
            codes.push(code);
            at += match code {
                0x80 => 2,
                b'J' => 5,
                b'X' => 5 + u32::from_le_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize,
                b'c' => {
                    let name: Vec<u8> = bytes[at + 1..].split(|&b| b == b'\n').take(2).collect::<Vec<_>>().join(&b'.');
                    globals.push(String::from_utf8(name).unwrap());
                    1 + globals.last().unwrap().len() + 1
                }
                _ => 1,
            };
        }
        assert_eq!(at, bytes.len());
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, b"().JQRXbctu}\x80\x89");
        globals.sort();
        globals.dedup();
        let storages = ["BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short"]
            .map(|kind| format!("torch.{kind}Storage"));
        let mut admitted = vec!["collections.OrderedDict".to_string()];
        admitted.extend(storages);
        admitted.push("torch._utils._rebuild_tensor_v2".into());
        assert_eq!(globals, admitted);
    }
}
