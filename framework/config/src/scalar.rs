//! Plain scalars of the YAML 1.2 core schema, and fractions such as `8/255`.

use crate::node::Kind;

/// The value of a plain (unquoted) scalar in YAML 1.2: `yes` and `on` are text, `0o17` is 15,
/// `1e-3` is a number.
pub(crate) fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Kind::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Kind::Float(f64::NAN),
        _ => integer(text).or_else(|| float(text)).unwrap_or_else(|| Kind::Str(text.to_string())),
    }
}

/// Integers that fit neither `i64` nor `u64` become floats, as in JSON.
fn integer(text: &str) -> Option<Kind> {
    let parsed = if let Some(digits) = text.strip_prefix("0o") {
        unsigned(digits, 8)?
    } else if let Some(digits) = text.strip_prefix("0x") {
        unsigned(digits, 16)?
    } else {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let value = unsigned(digits, 10)?;
        if text.starts_with('-') { -value } else { value }
    };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&parsed).then_some(Kind::Int(parsed))
}

fn unsigned(digits: &str, radix: u32) -> Option<i128> {
    let all_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if all_digits { i128::from_str_radix(digits, radix).ok() } else { None }
}

/// `[-+]? ( . digits | digits ( . digits? )? ) ( [eE] [-+]? digits )?`; Rust alone would also take
/// `inf` and `1_0`.
fn float(text: &str) -> Option<Kind> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let exponent_ok = exponent.is_none_or(|digits| is_digits(digits.strip_prefix(['-', '+']).unwrap_or(digits)));
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    if !exponent_ok || !is_decimal(unsigned) {
        return None;
    }
    text.parse().ok().map(Kind::Float)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1`, `1.5`, `1.` or `.5`.
fn is_decimal(text: &str) -> bool {
    match text.split_once('.') {
        None => is_digits(text),
        Some((whole, "")) => is_digits(whole),
        Some((whole, part)) => (whole.is_empty() || is_digits(whole)) && is_digits(part),
    }
}

/// The value of `8/255`: two plain decimal numbers, the first perhaps negative, the second not
/// zero.
///
/// `None` for anything else, also for a plain number.
pub fn fraction(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/')?;
    let (above, below) = (above.trim(), below.trim());
    if !is_decimal(above.strip_prefix('-').unwrap_or(above)) || !is_decimal(below) {
        return None;
    }
    let value = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let text = |value: &str| Kind::Str(value.to_string());
        let table = [
            ("10", Kind::Int(10)),
            ("-3", Kind::Int(-3)),
            ("+3", Kind::Int(3)),
            ("012", Kind::Int(12)),
            ("0o17", Kind::Int(15)),
            ("0x1F", Kind::Int(31)),
            ("18446744073709551615", Kind::Int(u64::MAX.into())),
            ("18446744073709551616", Kind::Float(18446744073709551616.0)),
            ("1.5", Kind::Float(1.5)),
            ("1.", Kind::Float(1.0)),
            (".5", Kind::Float(0.5)),
            ("1e-3", Kind::Float(0.001)),
            ("-.inf", Kind::Float(f64::NEG_INFINITY)),
            ("~", Kind::Null),
            ("True", Kind::Bool(true)),
            ("yes", text("yes")),
            ("inf", text("inf")),
            ("1_000", text("1_000")),
            ("1e", text("1e")),
            (".", text(".")),
            ("-", text("-")),
            ("0x", text("0x")),
            ("8/255", text("8/255")),
        ];
        for (written, expected) in table {
            assert_eq!(plain(written), expected, "{written}");
        }
        assert!(matches!(plain(".NaN"), Kind::Float(value) if value.is_nan()));
    }

    #[test]
    fn fractions_are_two_plain_numbers() {
        assert_eq!(fraction("8/255"), Some(8.0 / 255.0));
        assert_eq!(fraction("-1/2"), Some(-0.5));
        assert_eq!(fraction("1.5 / 255"), Some(1.5 / 255.0));
        for wrong in ["8", "8/", "/255", "8/-255", "1/0", "8/255/2", "a/b", "1e3/2", "inf/2", "--1/2", "8//255"] {
            assert_eq!(fraction(wrong), None, "{wrong}");
        }
    }
}
