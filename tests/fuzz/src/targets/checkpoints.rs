//! Files of weights: safetensors, and the archives of `torch.save`.

use super::{Target, files, in_order, kept, read, root, scratch};
use crate::verdict::Verdict;
use foil::{Result, tensors};
use foil_runs::interop::{Checkpoint, Known, recognise};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tch::{Kind, Tensor};
use tempfile::TempDir;

/// What `foil import` does with a file, up to the run folder. It is read when its tensors are; few
/// of them fit a model.
pub fn opened(path: &Path, input: &[u8]) -> Verdict {
    if let Err(error) = fs::write(path, input) {
        return Verdict::Fault(format!("the input could not be written: {error}"));
    }
    let taken = || -> Result<Verdict> {
        let mut checkpoint = Checkpoint::open(path)?;
        for dict in checkpoint.dicts.clone() {
            checkpoint.tensors(dict.tensors.iter().map(|entry| (entry.name.clone(), entry)))?;
        }
        let nowhere = checkpoint.choose(Some("no such set"));
        let fits = checkpoint.choose(None).and_then(|dict| recognise(&dict.tensors, &Known::default()).map(drop));
        let faults =
            [nowhere.map(drop), fits].into_iter().filter_map(Result::err).map(|error| Verdict::refused(&error));
        Ok(faults.into_iter().find(|verdict| matches!(verdict, Verdict::Fault(_))).unwrap_or(Verdict::Taken))
    };
    taken().unwrap_or_else(|error| Verdict::refused(&error))
}

/// Safetensors files, with foil's digests and without.
pub struct Safetensors(TempDir);

impl Safetensors {
    pub fn new() -> Self {
        Self(scratch())
    }
}

/// A file as other programs write it.
fn foreign(parts: &[(&str, Dtype, &[usize], &[u8])], texts: &[(&str, &str)]) -> Vec<u8> {
    let views = parts.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), bytes).expect("the bytes of this shape"))
    });
    let texts: HashMap<String, String> = texts.iter().map(|(key, text)| ((*key).into(), (*text).into())).collect();
    in_order(&safetensors::serialize(views, Some(texts)).expect("a file"))
}

impl Target for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn about(&self) -> &'static str {
        "safetensors files: their tensors, texts and digests, and which model they fit"
    }

    fn cases(&self) -> u64 {
        400
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let path = self.0.path().join("seed.safetensors");
        let named: Vec<(String, Tensor)> = [
            ("0.weight", Tensor::ones([4, 1, 3, 3], (Kind::Float, tch::Device::Cpu))),
            ("0.bias", Tensor::from_slice(&[1f64, 2.0, f64::NAN])),
            ("steps", Tensor::from(7i64)),
            ("mask", Tensor::from_slice(&[true, false])),
        ]
        .map(|(name, tensor)| (name.to_string(), tensor))
        .into();
        let texts = HashMap::from([("foil.name".to_string(), "a".to_string())]);
        tensors::write(&path, &named, texts).expect("a file");
        let own = in_order(&read(&path));
        let kinds = [
            ("a", Dtype::F32, &[2, 2][..], &[0; 16][..]),
            ("b", Dtype::F16, &[3], &[0; 6]),
            ("c", Dtype::BF16, &[], &[0; 2]),
            ("d", Dtype::I64, &[0, 5], &[]),
            ("e", Dtype::BOOL, &[3], &[0, 1, 2]),
            ("f", Dtype::I16, &[1], &[0; 2]),
        ];
        let layers = [("fc.weight", Dtype::F32, &[10, 4][..], &[0; 160][..]), ("fc.bias", Dtype::F32, &[10], &[0; 40])];
        let card = [("foil.model", "{\"type\":\"mlp\"}"), ("foil.dataset", "mnist"), ("foil.threat", "{}")];
        [kept("safetensors"), vec![own, foreign(&kinds[..5], &[]), foreign(&kinds, &[]), foreign(&layers, &card)]]
            .concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let path = self.0.path().join("it.safetensors");
        let first = opened(&path, input);
        if let Verdict::Fault(_) = first {
            return first;
        }
        // What its header says is what the whole file says.
        let (whole, header) = (tensors::load(&path), tensors::metadata(&path));
        match (whole, header, tensors::digest(&path)) {
            (Ok(whole), Ok(texts), Ok(digest)) if whole.texts == texts && whole.digest == digest => first,
            (Ok(_), header, digest) => {
                Verdict::Fault(format!("it is read, but its header says {header:?}, its digest {digest:?}"))
            }
            (Err(error), ..) => match Verdict::refused(&error) {
                Verdict::Refused(_) => first,
                fault => fault,
            },
        }
    }
}

/// The zip archives that `torch.save` writes.
pub struct Archives(TempDir);

impl Archives {
    pub fn new() -> Self {
        Self(scratch())
    }
}

impl Target for Archives {
    fn name(&self) -> &'static str {
        "archives"
    }

    fn about(&self) -> &'static str {
        "zip archives of torch.save, as files"
    }

    fn cases(&self) -> u64 {
        400
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let files = files(&root().join("tests/checkpoints")).into_iter();
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "pt" || end == "pth"));
        let small = super::pickles::archive(&super::pickles::state_dict());
        let own = files.map(|path| read(&path)).filter(|bytes| bytes.len() < 16 << 10);
        [kept("archives"), vec![small], own.collect()].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        opened(&self.0.path().join("it.pt"), input)
    }
}
