//! Checks whether a content is known: the published one, or a restored one with a note.

use crate::catalog::{DataFile, Sum};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

/// The SHA-256 of a content, and what to note about it: nothing for the published one.
pub(crate) fn verify(file: &DataFile, bytes: &[u8]) -> (String, Option<String>) {
    let sha256 = sha256_of(bytes);
    let mut md5 = None; // computed only if the SHA-256 does not settle it
    let by_sha256 = file.known.iter().find(|known| matches!(known.sum, Sum::Sha256(sum) if sum == sha256));
    let known = by_sha256.or_else(|| {
        file.known.iter().find(|known| {
            let Sum::Md5(sum) = known.sum else { return false };
            sum == md5.get_or_insert_with(|| hex(&Md5::digest(bytes)))
        })
    });
    let note = match known {
        Some(known) => known.note.map(str::to_string),
        None => Some(format!("{} is well formed but not the published file (SHA-256 {sha256})", file.name)),
    };
    (sha256, note)
}

/// The SHA-256 of a file as it is stored.
pub(crate) fn of_file(path: &Path) -> std::io::Result<String> {
    let (mut file, mut sum, mut buffer) = (std::fs::File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&sum.finalize())),
            n => sum.update(&buffer[..n]),
        }
    }
}

/// In lower-case hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// In lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}"); // writing to a String cannot fail
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Content, Known, Split};

    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, B.1
    const ABC_MD5: &str = "900150983cd24fb0d6963f7d28e17f72"; // RFC 1321, A.5

    fn note(known: &'static [Known], bytes: &[u8]) -> Option<String> {
        let file = DataFile { name: "f.bin", split: Split::Test, count: 1, content: Content::IdxLabels, known };
        verify(&file, bytes).1
    }

    #[test]
    fn a_content_is_known_by_either_sum() {
        assert_eq!(note(&[Known { sum: Sum::Sha256(ABC_SHA256), note: None }], b"abc"), None);
        assert_eq!(note(&[Known { sum: Sum::Md5(ABC_MD5), note: None }], b"abc"), None);
        let restored = &[Known { sum: Sum::Sha256(ABC_SHA256), note: Some("restored") }];
        assert_eq!(note(restored, b"abc").as_deref(), Some("restored"));
    }

    #[test]
    fn any_other_content_is_noted_with_its_sum() {
        let note = note(&[], b"abc").unwrap();
        assert_eq!(note, format!("f.bin is well formed but not the published file (SHA-256 {ABC_SHA256})"));
    }
}
