//! Digests in the header of a tensor file: reading detects damage, and a record can name the
//! weights it belongs to.
//!
//! `foil.weights` is of the tensors, `foil.texts` of the string map, the first digest included. A
//! file made elsewhere has neither.

use crate::hash::hex;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

const WEIGHTS: &str = "foil.weights";
const TEXTS: &str = "foil.texts";

/// The digest of tensors: their names in order, kinds, shapes and bytes. Metadata in the same file
/// does not change it.
pub(super) fn of_tensors<'a>(tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>) -> String {
    let sorted: BTreeMap<&str, (Dtype, &[usize], &[u8])> =
        tensors.map(|(name, dtype, shape, bytes)| (name, (dtype, shape, bytes))).collect();
    let mut sum = Sha256::new();
    for (name, (dtype, shape, bytes)) in sorted {
        sum.update(format!("{name:?} {dtype:?} {shape:?} {}\n", bytes.len()));
        sum.update(bytes);
    }
    hex(&sum.finalize())
}

fn of_texts(texts: &HashMap<String, String>) -> String {
    let sorted: BTreeMap<_, _> = texts.iter().filter(|(key, _)| *key != TEXTS).collect();
    hex(&Sha256::digest(format!("{sorted:?}")))
}

/// Adds the digests to the string map of a file with tensors of digest `weights`.
pub(super) fn seal(texts: &mut HashMap<String, String>, weights: String) {
    texts.insert(WEIGHTS.into(), weights);
    texts.insert(TEXTS.into(), of_texts(texts));
}

/// Takes the digests out of a string map, and returns that of the tensors; none in a file made
/// elsewhere.
///
/// # Errors
/// A message if the texts are not those that were written.
pub(super) fn unseal(texts: &mut HashMap<String, String>) -> Result<Option<String>, &'static str> {
    let (found, weights) = (of_texts(texts), texts.get(WEIGHTS).cloned());
    match (texts.remove(TEXTS), weights) {
        (None, None) => Ok(None),
        (Some(written), Some(weights)) if written == found => {
            texts.remove(WEIGHTS);
            Ok(Some(weights))
        }
        _ => Err("its header is not the one that was written"),
    }
}
