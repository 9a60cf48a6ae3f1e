//! Pickles, the part of PyTorch's files that is a program: within an archive whose checksums hold,
//! and in the older files, which have none.

use super::checkpoints::opened;
use super::{Target, files, kept, read, root, scratch};
use crate::verdict::Verdict;
use std::io::{Cursor, Read, Write};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// A pickle as an archive of `torch.save`, with eight storages of 256 bytes.
pub fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut file = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("it/{name}"), stored).expect("a file in an archive");
        zip.write_all(bytes).expect("room in memory");
    };
    file("data.pkl", pickle);
    file("byteorder", b"little");
    (0..8).for_each(|key| file(&format!("data/{key}"), &[0; 256]));
    file("version", b"3\n");
    zip.finish().expect("an archive").into_inner()
}

fn text(word: &str) -> Vec<u8> {
    [&b"X"[..], &(word.len() as u32).to_le_bytes()[..], word.as_bytes()].concat()
}

/// `_rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())` of 4 x 4 numbers.
fn tensor(kind: &str, key: &str) -> Vec<u8> {
    let global = |name: &str| format!("c{name}\n").into_bytes();
    let size = match kind {
        "Byte" => 1,
        "Half" => 2,
        "Float" => 4,
        _ => 8,
    };
    // Of a storage's 256 bytes.
    let numel = [&b"M"[..], &(256 / size as u16).to_le_bytes()[..]].concat();
    [
        global("torch._utils\n_rebuild_tensor_v2"),
        b"((".to_vec(),
        text("storage"),
        global(&format!("torch\n{kind}Storage")),
        text(key),
        text("cpu"),
        numel,
        b"tQK\0K\x04K\x04\x86K\x04K\x01\x86\x89".to_vec(),
        global("collections\nOrderedDict"),
        b")RtR".to_vec(),
    ]
    .concat()
}

/// The pickle of `{"state_dict": {"fc.weight": …, …}, "epoch": 7, …}`.
pub fn state_dict() -> Vec<u8> {
    let mut dict = b"\x80\x02}(".to_vec();
    dict.extend([text("state_dict"), b"}(".to_vec()].concat());
    for (n, kind) in ["Float", "Double", "Half", "Long", "Byte"].iter().enumerate() {
        dict.extend([text(&format!("layer{n}.weight")), tensor(kind, &n.to_string())].concat());
    }
    dict.extend(
        [
            b"u".to_vec(),
            text("epoch"),
            b"K\x07".to_vec(),
            text("rates"),
            b"](G?\xb9\x99\x99\x99\x99\x99\x9aK\x01e".to_vec(),
        ]
        .concat(),
    );
    [dict, b"u.".to_vec()].concat()
}

/// The pickles in the repository's checkpoints.
fn found() -> Vec<Vec<u8>> {
    let pickle = |bytes: Vec<u8>| {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
        let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let name = names.iter().find(|name| name.ends_with("/data.pkl"))?;
        let mut pickle = Vec::new();
        archive.by_name(name).ok()?.read_to_end(&mut pickle).ok()?;
        Some(pickle)
    };
    files(&root().join("tests/checkpoints")).iter().filter_map(|path| pickle(read(path))).collect()
}

/// Pickles within archives.
pub struct Pickles(TempDir);

impl Pickles {
    pub fn new() -> Self {
        Self(scratch())
    }
}

impl Target for Pickles {
    fn name(&self) -> &'static str {
        "pickles"
    }

    fn about(&self) -> &'static str {
        "the pickle in an archive of torch.save whose checksums hold"
    }

    fn cases(&self) -> u64 {
        600
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        [kept("pickles"), vec![state_dict()], found()].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        opened(&self.0.path().join("it.pt"), &archive(input))
    }
}

/// The files of PyTorch before 1.6.
pub struct Plain(TempDir);

impl Plain {
    pub fn new() -> Self {
        Self(scratch())
    }
}

impl Target for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn about(&self) -> &'static str {
        "files of torch.save before PyTorch 1.6, five pickles and the storages behind them"
    }

    fn cases(&self) -> u64 {
        400
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let magic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
        let version = [0x80, 2, b'M', 0xe9, 0x03, b'.'];
        let machine = [b"\x80\x02}(".to_vec(), text("little_endian"), b"\x88u.".to_vec()].concat();
        let values = |keys: &[&str]| {
            let mut dict = b"\x80\x02}(".to_vec();
            keys.iter().for_each(|key| dict.extend([text(&format!("{key}.weight")), old_tensor(key)].concat()));
            [dict, b"u.".to_vec()].concat()
        };
        let list = |keys: &[&str]| {
            let keys = keys.iter().map(|key| text(key)).collect::<Vec<_>>().concat();
            [b"\x80\x02](".to_vec(), keys, b"e.".to_vec()].concat()
        };
        let storages = |n: usize| [&64u64.to_le_bytes()[..], &[0; 256]].concat().repeat(n);
        let whole = |keys: &[&str]| {
            [&magic[..], &version, &machine, &values(keys), &list(keys), &storages(keys.len())].concat()
        };
        [kept("plain"), vec![whole(&["a"]), whole(&["a", "b", "c"]), whole(&[])]].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        opened(&self.0.path().join("it.pt"), input)
    }
}

/// As [`tensor`], whose storage says besides that it is no view.
fn old_tensor(key: &str) -> Vec<u8> {
    let whole = tensor("Float", key);
    let end = whole.windows(2).position(|pair| pair == b"tQ").unwrap_or(whole.len());
    [&whole[..end], b"N", &whole[end..]].concat()
}
