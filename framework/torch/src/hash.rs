//! SHA-256, by which files and settings are compared.

use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::Path;

/// SHA-256 of these bytes, in 64 hex digits.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, in 64 hex digits.
///
/// # Errors
/// When it cannot be read.
pub fn file_hash(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (crate::regular::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

/// Bytes as hex digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    // printf 'seed: 1\n' | sha256sum
    #[test]
    fn hash_of_bytes() {
        assert_eq!(super::hash(b"seed: 1\n"), "adf0396d435b4047092c20dada268d22d8db7f192fe2a8a9a283c9e9dea6af54");
    }
}
