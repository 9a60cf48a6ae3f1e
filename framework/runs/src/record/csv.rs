//! One field of a CSV file, quoted as in RFC 4180.

use std::borrow::Cow;

/// `text` as a field: in quotes where it holds a comma, a quote or a line break.
pub fn field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

/// The shortest digits that read back as the same number; `NaN`, `inf` or `-inf` if it is not
/// finite.
pub fn number(value: f64) -> String {
    format!("{value:?}") // unlike `{}`, 1e300 here takes five characters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_where_needed() {
        assert_eq!(field("pgd20_acc"), "pgd20_acc");
        assert_eq!(field("AT, ours"), "\"AT, ours\"");
        assert_eq!(field("the \"best\""), "\"the \"\"best\"\"\"");
    }

    #[test]
    fn numbers_read_back() {
        for value in [0.1, 1e300, 1e-7, 84.23, -0.0, f64::INFINITY] {
            assert_eq!(number(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
        assert_eq!((number(f64::NAN), number(1e300)), ("NaN".into(), "1e300".into()));
    }
}
