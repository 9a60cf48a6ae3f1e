//! The compact layout: one tar a split, with `labels.bin` and lossless WebP strips.
//!
//! `labels.bin` has the label bytes of every record; `NNN.webp` has 500 images stacked top to
//! bottom, in record order, as wide as one image. The records made from them are byte for byte
//! those of CIFAR's binary version, so they are checked like it. Roughly half the size of the
//! binary version, and what the built-in subset of MNIST is stored as.

use crate::assemble::Assembly;
use crate::bounded;
use crate::catalog::{Content, DataFile, DatasetInfo, Split};
use crate::error::DataError;
use crate::fault::{Fault, grouped};
use crate::records::Record;
use std::collections::HashMap;
use std::path::Path;
use std::thread;

mod tar_index;
#[cfg(test)]
mod tests;
mod webp;

/// Training records, then test records.
pub(crate) const TARS: [&str; 2] = ["train.tar", "test.tar"];

/// Images in a strip; the last one of a split may have fewer.
pub(crate) const PER_STRIP: usize = 500;

/// Read the two tars of a folder.
pub(crate) fn read_folder(info: &'static DatasetInfo, folder: &Path, assembly: &mut Assembly) -> Result<(), DataError> {
    let missing: Vec<_> = TARS.into_iter().filter(|tar| !folder.join(tar).is_file()).map(str::to_string).collect();
    if !missing.is_empty() {
        return Err(DataError::Missing { name: info.name, place: folder.to_path_buf(), files: missing });
    }
    for (split, tar) in [Split::Train, Split::Test].into_iter().zip(TARS) {
        let path = folder.join(tar);
        let bytes = bounded::read(info.name, &path, most_bytes(info, split))?;
        read_split(info, split, &bytes, assembly).map_err(DataError::bad_file(info.name, &path))?;
    }
    Ok(())
}

/// Read the two tars inside the program.
pub(crate) fn read_built_in(info: &'static DatasetInfo, assembly: &mut Assembly) -> Result<(), DataError> {
    if let Some(tars) = &info.forms.built_in {
        for (split, bytes) in [(Split::Train, tars.train), (Split::Test, tars.test)] {
            let place = Path::new("(built in)");
            read_split(info, split, bytes, assembly).map_err(DataError::bad_file(info.name, place))?;
        }
    }
    Ok(())
}

/// Lossless WebP of photographs takes about half of this; noise would take a little more than the
/// records themselves.
fn most_bytes(info: &DatasetInfo, split: Split) -> usize {
    let records: usize = info.files.iter().filter(|f| f.split == split).map(|file| info.length_of(file)).sum();
    records + records / 4 + (1 << 20)
}

fn read_split(info: &'static DatasetInfo, split: Split, tar: &[u8], assembly: &mut Assembly) -> Result<(), Fault> {
    let members = tar_index::members(tar)?;
    let files = || info.files.iter().filter(move |file| file.split == split);
    let total: usize = files().map(|file| file.count).sum();
    let mut first = 0;
    for file in files() {
        let Content::Records { coarse_classes } = file.content else { continue };
        let record = info.record(coarse_classes);
        let labels = labels(&members, record, total)?;
        let bytes = records(info, &members, labels, record, first, file)?;
        assembly.add(file, &bytes, None)?;
        first += file.count;
    }
    Ok(())
}

fn labels<'a>(members: &Members<'a>, record: Record, total: usize) -> Result<&'a [u8], Fault> {
    let labels = member(members, "labels.bin")?;
    let expected = total * record.label_bytes();
    if labels.len() == expected {
        return Ok(labels);
    }
    let expected = format!("{} bytes, {} a record", grouped(expected), record.label_bytes());
    Err(Fault::new("labels.bin has the wrong length", format!("{} bytes", grouped(labels.len())), expected))
}

type Members<'a> = HashMap<String, &'a [u8]>;

fn member<'a>(members: &Members<'a>, name: &str) -> Result<&'a [u8], Fault> {
    let whole =
        || Fault::new(format!("{name} is not in it"), format!("{} files", members.len()), "labels.bin and NNN.webp");
    members.get(name).copied().ok_or_else(whole)
}

/// The content of one published file: the records from `first` on, which must start a strip.
fn records(
    info: &DatasetInfo,
    members: &Members<'_>,
    labels: &[u8],
    record: Record,
    first: usize,
    file: &DataFile,
) -> Result<Vec<u8>, Fault> {
    debug_assert_eq!(first % PER_STRIP, 0, "a file of the catalog starts inside a strip");
    let mut strips = Vec::new();
    for start in (first..first + file.count).step_by(PER_STRIP) {
        let name = format!("{:03}.webp", start / PER_STRIP);
        let count = PER_STRIP.min(first + file.count - start);
        strips.push((member(members, &name)?, name, count));
    }
    let labels = &labels[first * record.label_bytes()..][..file.count * record.label_bytes()];
    let mut bytes = vec![0; file.count * record.length()];

    // Each strip fills its own part of the records, so the threads share nothing.
    let threads = thread::available_parallelism().map_or(1, usize::from).min(strips.len().max(1));
    let strips_each = strips.len().div_ceil(threads).max(1);
    let work = strips.chunks(strips_each).zip(bytes.chunks_mut(strips_each * PER_STRIP * record.length()));
    thread::scope(|scope| {
        let running: Vec<_> = work
            .map(|(strips, out)| {
                scope.spawn(move || {
                    for ((webp, name, count), out) in strips.iter().zip(out.chunks_mut(PER_STRIP * record.length())) {
                        webp::decode(webp, info.image, *count, record, out).map_err(|fault| fault.inside(name))?;
                    }
                    Ok(())
                })
            })
            .collect();
        running.into_iter().try_for_each(|thread| {
            let died =
                |_| Err(Fault::new("a strip could not be decoded", "a decoder that stopped", "a lossless WebP image"));
            thread.join().unwrap_or_else(died)
        })
    })?;
    for (out, label) in bytes.chunks_exact_mut(record.length()).zip(labels.chunks_exact(record.label_bytes())) {
        out[..label.len()].copy_from_slice(label);
    }
    Ok(bytes)
}
