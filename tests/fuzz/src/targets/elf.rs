//! Plugin libraries as files: what is looked at before anything in one runs.

use super::{Target, kept, scratch};
use crate::verdict::Verdict;
use foil::plugin::{ABI, BUILT, ROWS, Record, look};
use std::fs;
use tempfile::TempDir;

/// Shared libraries with a plugin's record.
pub struct Plugins(TempDir);

impl Plugins {
    pub fn new() -> Self {
        Self(scratch())
    }
}

/// Bytes of a row of a record.
const ROW: usize = 192;

/// A record as `export_plugin!` makes it, without the function behind it.
fn record(crates: &str, built: &[&str]) -> Vec<u8> {
    let row = |text: &str| [text.as_bytes(), &[0; ROW]].concat()[..ROW].to_vec();
    let head = [b"foil plugin\0\0\0\0\0".to_vec(), ABI.to_ne_bytes().to_vec()].concat();
    let size = u32::try_from(size_of::<Record>()).unwrap_or_default().to_ne_bytes().to_vec();
    let rows = [crates, "0.1.0"].iter().chain(built).map(|text| row(text)).collect::<Vec<_>>();
    [head, size, rows.concat(), vec![0; 8]].concat()
}

/// A shared library of 64-bit ELF with nothing in it but the symbols of these records.
fn library(records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    const HEAD: usize = 64 + 56;
    let words = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let halves = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let (mut names, mut symbols, mut content) = (vec![0u8], vec![0u8; 24], Vec::new());
    for (name, bytes) in records {
        let at = (HEAD + content.len()) as u64;
        symbols.extend(halves(&[names.len() as u32]));
        symbols.extend([0x11, 0, 1, 0]); // a global object in section 1
        symbols.extend(words(&[at, bytes.len() as u64]));
        names.extend([name.as_bytes(), &[0]].concat());
        content.extend_from_slice(bytes);
    }
    let sections = b"\0.data\0.dynsym\0.dynstr\0.shstrtab\0";
    let (data, syms) = (HEAD, HEAD + content.len());
    let strs = syms + symbols.len();
    let shstr = strs + names.len();
    let table = shstr + sections.len();
    let section = |name: u32, kind: u32, at: usize, size: usize, link: u32, entry: u64| {
        let head = [halves(&[name, kind]), words(&[2, at as u64, at as u64, size as u64]), halves(&[link, 1])];
        [head.concat(), words(&[8, entry])].concat()
    };
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let head = [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        [3u16.to_le_bytes(), machine.to_le_bytes()].concat(),
        halves(&[1]),
        words(&[0, 64, table as u64]),
        halves(&[0]),
        [64u16, 56, 1, 64, 5, 4].iter().flat_map(|n| n.to_le_bytes()).collect(),
        halves(&[1, 6]), // one segment to load, for reading and writing
        words(&[0, 0, 0, table as u64, table as u64, 4096]),
    ];
    let tables = [
        vec![0; 64],
        section(1, 1, data, content.len(), 0, 0),
        section(7, 11, syms, symbols.len(), 3, 24),
        section(15, 3, strs, names.len(), 0, 0),
        section(23, 3, shstr, sections.len(), 0, 0),
    ];
    [head.concat(), content, symbols, names, sections.to_vec(), tables.concat()].concat()
}

impl Target for Plugins {
    fn name(&self) -> &'static str {
        "plugins"
    }

    fn about(&self) -> &'static str {
        "plugin libraries: the file and the record in it, which are read before anything runs"
    }

    fn cases(&self) -> u64 {
        600
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let own = record("it", &BUILT);
        let other: Vec<&str> = ROWS.iter().map(|_| "something else").collect();
        let own_files = [
            library(&[("foil_plugin_it", own.clone())]),
            library(&[("foil_plugin_it", record("it,at", &other))]),
            library(&[("foil_plugin_a", own.clone()), ("foil_plugin_it", own.clone()), ("main", vec![0; 8])]),
            library(&[("foil_plugin_a", own.clone()), ("foil_plugin_b", own)]),
            library(&[("main", b"rustc version 1.89".to_vec())]),
        ];
        [kept("plugins"), own_files.into()].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let path = self.0.path().join("libit.so");
        if let Err(error) = fs::write(&path, input) {
            return Verdict::Fault(format!("the input could not be written: {error}"));
        }
        match look(&path) {
            Ok(found) => {
                let described: Vec<String> = found.iter().map(|library| library.describe()).collect();
                Verdict::printed(&described.join("\n"), Verdict::Taken)
            }
            Err(error) => Verdict::refused(&error),
        }
    }
}
