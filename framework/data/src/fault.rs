//! A fault inside a file, before the file's name is known.

use std::fmt::Write;

/// What was found and what was expected. `DataError::BadFile` adds the place and the help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong, such as "wrong magic number".
    pub what: String,
    /// What the file holds.
    pub found: String,
    /// What it should hold.
    pub expected: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Fault { what: what.into(), found: found.into(), expected: expected.into() }
    }

    /// The same fault, attributed to a part of the file.
    pub(crate) fn inside(mut self, part: &str) -> Self {
        self.what = format!("{part}: {}", self.what);
        self
    }

    /// The content has the wrong length. Readers stop one byte after `expected`, so the actual
    /// length of a longer one is unknown.
    pub(crate) fn length(found: usize, expected: usize) -> Self {
        let bytes = |n| format!("{} bytes", grouped(n));
        if found < expected {
            Fault::new("it is truncated", bytes(found), bytes(expected))
        } else {
            Fault::new("it has trailing bytes", format!("more than {}", bytes(expected)), bytes(expected))
        }
    }
}

/// `9912422` as `9,912,422`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The first bytes of a file as a person may recognise them: `3c 21 64 6f ("<!do")`.
pub(crate) fn first_bytes(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(4)];
    let mut out = String::new();
    for byte in start {
        let _ = write!(out, "{byte:02x} "); // writing to a String cannot fail
    }
    let readable = start.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    match std::str::from_utf8(start) {
        Ok(text) if readable && !text.is_empty() => format!("{out}({text:?})"),
        _ => out.trim_end().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 9_912_422].map(grouped), ["0", "999", "1,000", "9,912,422"]);
    }

    #[test]
    fn readable_first_bytes_are_shown_as_text_too() {
        assert_eq!(first_bytes(b"<!doctype"), "3c 21 64 6f (\"<!do\")");
        assert_eq!(first_bytes(&[0, 0, 8, 3, 9]), "00 00 08 03");
        assert_eq!(first_bytes(&[]), "");
    }
}
