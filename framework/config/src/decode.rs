//! From bytes to text that YAML allows.

use crate::place::{Place, Source};
use crate::problem::Problem;
use std::sync::Arc;

/// Larger files are refused: a pipeline has a few kilobytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// The text of a file, or the first reason why it is not text.
///
/// # Errors
/// Too long, not UTF-8, or a control character, each with its position.
pub(crate) fn decode(name: &str, bytes: &[u8], order: usize) -> Result<Arc<Source>, Problem> {
    if bytes.len() > MAX_BYTES {
        let message = format!("`{name}` is larger than {} KiB", MAX_BYTES / 1024);
        return Err(Problem::new("", message, "is this a pipeline?"));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let (text, broken) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_string(), None),
        Err(error) => (String::from_utf8_lossy(bytes).into_owned(), Some(error.valid_up_to())),
    };
    let source = Source::file(name, text, order);
    if let Some(at) = broken {
        let help = "save the file as UTF-8";
        return Err(Problem::new("", "this is not UTF-8 text", help).at(&place(&source, at)));
    }
    if let Some((at, c)) = source.text().char_indices().find(|(_, c)| forbidden(*c)) {
        let message = format!("the character {} is not allowed in YAML", c.escape_default());
        return Err(Problem::new("", message, "remove it, or write it as an escape in \"…\"").at(&place(&source, at)));
    }
    Ok(source)
}

fn forbidden(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    control || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The position of a byte offset, which lies in the part of the text that was read without
/// replacement.
fn place(source: &Arc<Source>, at: usize) -> Place {
    let before = source.text().get(..at).unwrap_or_default().replace("\r\n", "\n").replace('\r', "\n");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place::new(source, line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(bytes: &[u8]) -> String {
        decode("x.yaml", bytes, 0).expect_err("not text").to_string()
    }

    #[test]
    fn what_is_not_text_is_found_where_it_is() {
        assert!(problem(b"a: 1\r\nbc: \xff\xfe").contains("not UTF-8 text\n  --> x.yaml:2:5"));
        assert!(problem(b"a: \x00").contains("the character \\u{0} is not allowed in YAML\n  --> x.yaml:1:4"));
        assert!(problem(&vec![b'a'; MAX_BYTES + 1]).contains("larger than 1024 KiB"));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(decode("x.yaml", b"\xef\xbb\xbfa: 1", 0).expect("text").text(), "a: 1");
    }
}
