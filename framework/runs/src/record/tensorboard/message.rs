//! Protobuf's encoding, as far as event files need it. Every field number is below 16, so a key is
//! one byte.

/// A message under construction.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

impl Message {
    /// Adds a whole number; 0 is what a missing field means.
    pub fn whole(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3 | VARINT);
        varint(&mut self.0, value);
        self
    }

    /// Adds a number in double precision.
    pub fn double(mut self, field: u8, value: f64) -> Self {
        self.0.push(field << 3 | FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds a number in single precision.
    pub fn float(mut self, field: u8, value: f64) -> Self {
        self.0.push(field << 3 | FIXED32);
        self.0.extend_from_slice(&(value as f32).to_le_bytes());
        self
    }

    /// Adds bytes or a text.
    pub fn bytes(mut self, field: u8, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.push(field << 3 | LENGTH);
        varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Adds a message.
    pub fn message(self, field: u8, value: Self) -> Self {
        self.bytes(field, value.0)
    }

    /// Its bytes.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Seven bits a byte, lowest first; the top bit means that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_one_two_and_ten_bytes() {
        let of = |value| {
            let mut out = Vec::new();
            varint(&mut out, value);
            out
        };
        assert_eq!(of(127), [0x7f]);
        assert_eq!(of(300), [0xac, 0x02]); // the example of the protobuf encoding page
        assert_eq!(of(u64::MAX).len(), 10);
    }
}
