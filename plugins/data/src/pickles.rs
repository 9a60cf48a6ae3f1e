//! CIFAR as Python pickles, the form that torchvision leaves on disk, read by a reader that runs
//! nothing.
//!
//! Each holds a dictionary with `data`, a NumPy array of bytes `[n, 3072]`, and `labels`, or
//! `fine_labels` and `coarse_labels`. The records made from these are byte for byte those of the
//! binary version, so they are checked by the same sums.

use foil::pickle::{self, Id, Table, Value};
use foil::prelude::*;
use foil::{AtPath, regular};
use foil_data::{DataError, DatasetInfo};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Bytes of a pickle: CIFAR-100's training images are 155 MB.
const LONGEST: u64 = 200 << 20;

/// Where the pickles lie.
///
/// # Errors
/// When their folder cannot be read.
pub fn locate(place: &Path) -> Result<Located> {
    let mut files = vec![place.to_path_buf()];
    if place.is_dir() {
        let entries = place.read_dir().at("reading", place)?;
        files = entries.filter_map(|info| Some(info.ok()?.path())).filter(|path| path.is_file()).collect();
        files.sort();
    }
    Ok(Located { place: place.display().to_string(), files })
}

/// Reads the data set of `info` from pickles: a folder that has them, one of them, or the archive.
///
/// # Errors
/// When a file is missing, not such a pickle, or calls anything.
pub fn read(info: &'static DatasetInfo, place: &Path) -> Result<Dataset> {
    let archived = place.extension().is_some_and(|ending| ending == "gz" || ending == "tar");
    let mut members = if archived { unpacked(info, place)? } else { BTreeMap::new() };
    let folder = if place.is_dir() { place } else { place.parent().unwrap_or(Path::new(".")) };
    let mut failed = None;
    let mut content = |file: &str| {
        let name = file.trim_end_matches(".bin");
        let own = folder.join(name);
        let mut records = || {
            let bytes = match archived {
                true => members
                    .remove(name)
                    .ok_or_else(|| Error::new(format!("{} has no file `{name}`", place.display())))?,
                false => regular::read(&own, LONGEST).at("reading", &own)?,
            };
            let shown = if archived { place.join(name) } else { own.clone() };
            records(&bytes, &shown.display().to_string(), info.image.iter().product())
        };
        records().map_err(|error| failed = Some(error)).ok()
    };
    let read = info.assemble(place.display().to_string(), &mut content);
    match (read, failed) {
        (_, Some(error)) => Err(error),
        (read, None) => Ok(read.map_err(|error: DataError| Error::from(error))?),
    }
}

/// The pickles in an archive, by name.
fn unpacked(info: &DatasetInfo, path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let wanted: Vec<&str> = info.file_names().map(|name| name.trim_end_matches(".bin")).collect();
    let stream = foil_data::open(path).at("reading", path)?.take(2 * LONGEST);
    let mut found = BTreeMap::new();
    for member in tar::Archive::new(stream).entries().at("unpacking", path)? {
        let member = member.at("unpacking", path)?;
        let own = member.path().at("unpacking", path)?.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = own.filter(|name| wanted.contains(&name.as_str())) else { continue };
        if member.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            member.take(LONGEST).read_to_end(&mut bytes).at("unpacking", path)?;
            found.insert(name, bytes);
        }
    }
    Ok(found)
}

/// The records of CIFAR's binary version, from one pickle, whose images have this many `pixels`.
///
/// # Errors
/// When it is not such a pickle, or calls anything.
pub fn records(bytes: &[u8], name: &str, pixels: usize) -> Result<Vec<u8>> {
    let (table, _) = pickle::read(bytes, LONGEST as usize).map_err(|refused| refused.into_error(name))?;
    let wrong = |what: &str| {
        Error::new(format!("{name}: {what}")).help("a batch of CIFAR's Python version has `data` and labels")
    };
    let Value::Dict(items, _) = table.get(table.root) else { return Err(wrong("it is not a dictionary")) };
    let item =
        |key: &str| items.iter().find(|(own, _)| table.as_bytes(*own) == Some(key.as_bytes())).map(|(_, value)| *value);
    let data = item("data").ok_or_else(|| wrong("it has no `data`"))?;
    let data = bytes_of(&table, data, pixels)
        .ok_or_else(|| wrong(&format!("its `data` is not an array of bytes [n, {pixels}]")))?;
    let n = data.len() / pixels;
    let kinds = match (item("coarse_labels"), item("fine_labels"), item("labels")) {
        (Some(coarse), Some(fine), _) => vec![coarse, fine],
        (_, _, Some(labels)) => vec![labels],
        _ => return Err(wrong("it has no `labels`, and not both of `coarse_labels` and `fine_labels`")),
    };
    let lists: Vec<Vec<u8>> = kinds
        .into_iter()
        .map(|labels| list(&table, labels).filter(|labels| labels.len() == n))
        .collect::<Option<_>>()
        .ok_or_else(|| wrong(&format!("its labels are not a list of {n} numbers from 0 to 255")))?;
    let mut records = Vec::with_capacity(n * (pixels + lists.len()));
    for (index, image) in data.chunks_exact(pixels).enumerate() {
        records.extend(lists.iter().map(|labels| labels[index]));
        records.extend(image);
    }
    Ok(records)
}

/// The bytes of a NumPy array `[n, pixels]`.
fn bytes_of(table: &Table, id: Id, pixels: usize) -> Option<&[u8]> {
    let Value::Array(Some(array)) = table.get(id) else { return None };
    let Value::Tuple(shape) = table.get(array.shape) else { return None };
    let &[n, size] = shape.as_slice() else { return None };
    let (Value::Int(n), Value::Int(size)) = (table.get(n), table.get(size)) else { return None };
    let is_bytes = matches!(table.get(array.dtype), Value::Dtype(Some(name)) if matches!(table.as_bytes(*name), Some(b"u1" | b"|u1")));
    let rows = !matches!(table.get(array.by_columns), Value::Bool(true) | Value::Int(1));
    let data = table.as_bytes(array.data)?;
    let whole = usize::try_from(*n).ok()?.checked_mul(pixels)?;
    (is_bytes && rows && *size == pixels as i64 && data.len() == whole).then_some(data)
}

fn list(table: &Table, id: Id) -> Option<Vec<u8>> {
    let Value::List(items) = table.get(id) else { return None };
    let number = |id: &Id| match table.get(*id) {
        Value::Int(n) => u8::try_from(*n).ok(),
        _ => None,
    };
    items.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::{dictionary, list, pickled};

    const PIXELS: usize = 4;

    fn data(bytes: &[u8]) -> Vec<u8> {
        [b"U\x04data".to_vec(), pickled(bytes, 4, "u1")].concat()
    }

    /// Bytes that are not UTF-8, and others that are.
    const IMAGES: [u8; 8] = [0xff, 0, 1, 2, 65, 66, 67, 68];

    #[test]
    fn labels_and_pixels_become_records() {
        let ten = dictionary(&[list("labels", &[3, 9]), data(&IMAGES)]);
        assert_eq!(records(&ten, "x", PIXELS).unwrap(), [3, 0xff, 0, 1, 2, 9, 65, 66, 67, 68]);
        let hundred = dictionary(&[list("fine_labels", &[99, 0]), data(&IMAGES), list("coarse_labels", &[19, 1])]);
        assert_eq!(records(&hundred, "x", PIXELS).unwrap(), [19, 99, 0xff, 0, 1, 2, 1, 0, 65, 66, 67, 68]);
        let readable = dictionary(&[list("labels", &[1]), data(b"abcd")]);
        assert_eq!(records(&readable, "x", PIXELS).unwrap(), [1, b'a', b'b', b'c', b'd']);
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_called() {
        let said = |bytes: &[u8]| records(bytes, "batch", PIXELS).unwrap_err().to_string();
        let good = dictionary(&[list("labels", &[3, 9]), data(&IMAGES)]);
        for (bytes, part) in [
            (dictionary(&[list("labels", &[3]), data(&IMAGES)]), "batch: its labels are not a list of 2 numbers"),
            (dictionary(&[data(&IMAGES)]), "batch: it has no `labels`"),
            (dictionary(&[list("labels", &[3, 9])]), "batch: it has no `data`"),
            (
                dictionary(&[list("labels", &[3, 9]), [b"U\x04data".to_vec(), pickled(&IMAGES, 4, "f4")].concat()]),
                "its `data` is not an array of bytes [n, 4]",
            ),
            (b"\x80\x02cposix\nsystem\nU\x02id\x85R.".to_vec(), "it calls `posix.system`, which is Python code"),
            (good[..good.len() - 9].to_vec(), "ends too early"),
        ] {
            assert!(said(&bytes).contains(part), "{} lacks {part}", said(&bytes));
        }
    }
}
