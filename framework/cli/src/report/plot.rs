//! A curve in a terminal, as `foil explain` draws schedulers.
//!
//! ```text
//!  0.2 ┤       ⢀⡠⠊⠑⠢⣀
//!      │     ⣀⠔⠁     ⠉⠑⠤⣀
//!      │  ⢀⠤⠊            ⠉⠒⠤⣀
//!    0 ┤⡠⠔⠁                  ⠉⠒⠤
//!      └────────────────────────
//!       0                    200
//! ```

/// Dots of a Braille character, by row and column: Unicode numbers them down the left column first,
/// the last row last.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Draws `values`, evenly spaced from 0 to their number, `width` characters wide and `height` lines
/// high (axes and labels not counted). Numbers that are not finite leave a gap; without any,
/// nothing is drawn.
pub fn curve(values: &[f64], width: usize, height: usize) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low > high || width == 0 || height == 0 {
        return String::new();
    }
    let top_row = (height * 4 - 1) as f64;
    let row_of = |value: f64| match high > low {
        true => (top_row - (value - low) / (high - low) * top_row).round() as usize,
        false => height * 2, // a constant is drawn in the middle
    };

    let mut cells = vec![vec![0u8; width]; height];
    let mut last: Option<usize> = None;
    for column in 0..width * 2 {
        let value = values[column * values.len() / (width * 2)];
        if !value.is_finite() {
            last = None;
            continue;
        }
        let row = row_of(value);
        // A jump is drawn as a vertical line from where the curve was.
        let rows = match last {
            Some(before) if before < row => before + 1..=row,
            Some(before) if before > row => row..=before - 1,
            _ => row..=row,
        };
        for row in rows {
            cells[row / 4][column / 2] |= DOTS[row % 4][column % 2];
        }
        last = Some(row);
    }

    let (top, bottom) = (label(high), label(low));
    let margin = top.chars().count().max(bottom.chars().count());
    let mut page = String::new();
    for (line, cells) in cells.iter().enumerate() {
        let (name, tick) = match line {
            _ if high == low && line == height / 2 => (top.as_str(), '┤'),
            _ if high == low => ("", '│'),
            0 => (top.as_str(), '┤'),
            _ if line == height - 1 => (bottom.as_str(), '┤'),
            _ => ("", '│'),
        };
        let drawn: String = cells.iter().map(|&dots| braille(dots)).collect();
        page += format!(" {name:>margin$} {tick}{drawn}").trim_end();
        page.push('\n');
    }
    let end = values.len().to_string();
    page += &format!(" {:margin$} └{}\n", "", "─".repeat(width));
    page += &format!(" {:margin$}  0{end:>1$}\n", "", width.saturating_sub(1));
    page
}

/// An empty cell is a space, so that lines can be trimmed and copied.
fn braille(dots: u8) -> char {
    match dots {
        0 => ' ',
        dots => char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '),
    }
}

/// Four significant digits: `0.2`, `0.03137`, `1e-4`, `200`.
fn label(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_string();
    }
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(digits));
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_string()
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_rises_and_falls() {
        let values: Vec<f64> =
            (0..200).map(|t| if t < 80 { t as f64 / 400.0 } else { (200 - t) as f64 / 600.0 }).collect();
        let expected = "
 0.2 ┤       ⢀⡠⠊⠑⠢⣀
     │     ⣀⠔⠁     ⠉⠑⠤⣀
     │  ⢀⠤⠊            ⠉⠒⠤⣀
   0 ┤⡠⠔⠁                  ⠉⠒⠤
     └────────────────────────
      0                    200
";
        assert_eq!(format!("\n{}", curve(&values, 24, 4)), expected);
    }

    #[test]
    fn a_drop_is_a_vertical_line() {
        let values: Vec<f64> =
            (0..140).map(|epoch| [0.1, 0.01, 0.001][(epoch >= 100) as usize + (epoch >= 120) as usize]).collect();
        let expected = "
   0.1 ┤⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⡆
       │          ⡇
 0.001 ┤          ⠧⠤⣀⣀
       └──────────────
        0          140
";
        assert_eq!(format!("\n{}", curve(&values, 14, 3)), expected);
    }

    #[test]
    fn a_constant_lies_in_the_middle_and_nothing_is_nothing() {
        let expected = "
         │
 0.03137 ┤⠤⠤⠤⠤⠤
         │
         └─────
          0   5
";
        assert_eq!(format!("\n{}", curve(&[8.0 / 255.0; 5], 5, 3)), expected);
        assert_eq!([curve(&[], 9, 3), curve(&[f64::NAN], 9, 3), curve(&[1.0], 0, 3)], ["", "", ""]);
    }

    #[test]
    fn labels_have_four_digits() {
        assert_eq!(
            [0.1, 0.2 / 3.0, 1e-4, -2.5, 200.0, 12345.6, 3e-7].map(label),
            ["0.1", "0.06667", "1e-4", "-2.5", "200", "12346", "3e-7"]
        );
    }
}
