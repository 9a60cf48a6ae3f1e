//! The framing of a TFRecord file: length, its checksum, the data, its checksum.
//!
//! Source: TensorFlow, `tensorflow/core/lib/io/record_writer.h` and
//! `tensorflow/core/lib/hash/crc32c.h`.

/// Appends one record: `u64 length, u32 masked crc of it, data, u32 masked crc of the data`,
/// little-endian.
pub fn frame(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(&masked(crc32c(data)).to_le_bytes());
}

/// A checksum of data that itself holds checksums is weak, so the format rotates it and adds a
/// constant.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), as in iSCSI: reflected polynomial 0x82f63b78, start and end inverted (RFC
/// 3720, appendix B.4).
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720, appendix B.4, and the check value of the CRC catalogues.
    #[test]
    fn crc_of_the_published_examples() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&up), 0x46dd_794e);
        assert_eq!(crc32c(b""), 0);
    }

    // from tensorboard.summary.writer.record_writer import RecordWriter; import io
    // f = io.BytesIO(); w = RecordWriter(f); w.write(b"foil"); print(f.getvalue().hex())
    #[test]
    fn a_record_as_tensorboard_writes_it() {
        let mut out = Vec::new();
        frame(&mut out, b"foil");
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "040000000000000042455204666f696cf45b0ac6");
    }
}
