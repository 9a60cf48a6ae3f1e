//! Numbers as a table of colours.

use super::figure::{Figure, short, text, width_of};
use maud::html;

/// Percentages in rows and columns.
#[derive(Debug, Clone, Default)]
pub struct Heat {
    /// The file's name.
    pub name: String,
    /// The title.
    pub title: String,
    /// Names at the left.
    pub rows: Vec<String>,
    /// Names above.
    pub columns: Vec<String>,
    /// For each row, for each column, a percentage.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Points of the colour map cividis, which also works for people with red-green colour blindness.
const CIVIDIS: [[f64; 3]; 5] =
    [[0.0, 34.0, 78.0], [63.0, 77.0, 107.0], [124.0, 123.0, 120.0], [188.0, 174.0, 108.0], [254.0, 232.0, 56.0]];
const CELL: [f64; 2] = [46.0, 28.0];
const LABEL: usize = 18;

impl Heat {
    /// The chart. `None` without rows or columns.
    pub fn figure(&self) -> Option<Figure> {
        if self.rows.is_empty() || self.columns.is_empty() {
            return None;
        }
        let left = self.rows.iter().map(|row| width_of(&short(row, LABEL), 12.0)).fold(0.0, f64::max) + 10.0;
        let top = 50.0;
        let values = || self.values.iter().flatten().flatten().copied();
        let (low, high) = (values().fold(100.0, f64::min), values().fold(0.0, f64::max));
        let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
        let cells =
            self.values.iter().zip(0..).flat_map(|(row, y)| row.iter().zip(0..).map(move |(value, x)| (x, y, *value)));
        let corner = |x: i32, y: i32| (left + f64::from(x) * CELL[0], top + f64::from(y) * CELL[1]);
        let body = html! {
            text x="0" y="15" fill="var(--ink)" font-size="13.5" font-weight="600" { (self.title) }
            @for (name, x) in self.columns.iter().zip(0..) {
                g {
                    title { (name) }
                    (text(corner(x, 0).0 + CELL[0] / 2.0, top - 8.0, "middle", "var(--soft)", 11.0, &short(name, 7)))
                }
            }
            @for (name, y) in self.rows.iter().zip(0..) {
                (text(left - 8.0, corner(0, y).1 + 18.0, "end", "var(--ink)", 12.0, &short(name, LABEL)))
            }
            @for (x, y, value) in cells {
                @if let Some(value) = value {
                    @let colour = along(share(value));
                    rect x=(corner(x, y).0) y=(corner(x, y).1) width=(CELL[0] - 2.0) height=(CELL[1] - 2.0) rx="3" fill=(hex(colour)) {}
                    (text(corner(x, y).0 + CELL[0] / 2.0 - 1.0, corner(x, y).1 + 17.5, "middle", ink(colour), 11.5, &format!("{value:.1}")))
                } @else {
                    (text(corner(x, y).0 + CELL[0] / 2.0 - 1.0, corner(x, y).1 + 17.5, "middle", "var(--soft)", 11.5, "–"))
                }
            }
        };
        let (width, height) = corner(self.columns.len() as i32, self.rows.len() as i32);
        let alt = format!("{}: {} rows, from {low:.1} to {high:.1} percent", self.title, self.rows.len());
        let width = width.max(width_of(&self.title, 13.5));
        Some(Figure { name: self.name.clone(), alt, width, height: height + 4.0, body, bitmaps: Vec::new() })
    }
}

fn along(share: f64) -> [f64; 3] {
    let place = share.clamp(0.0, 1.0) * (CIVIDIS.len() - 1) as f64;
    let (from, to) = (CIVIDIS[place.floor() as usize], CIVIDIS[place.ceil() as usize]);
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * place.fract())
}

fn hex(colour: [f64; 3]) -> String {
    let [red, green, blue] = colour.map(|value| value.round() as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Black or white, whichever is easier to read on it.
fn ink([red, green, blue]: [f64; 3]) -> &'static str {
    if 0.299 * red + 0.587 * green + 0.114 * blue > 118.0 { "#14161a" } else { "#ffffff" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_dashes() {
        let heat = Heat {
            rows: vec!["AT".into(), "a <name> that is too long".into()],
            columns: vec!["0".into(), "1".into()],
            values: vec![vec![Some(50.0), None], vec![Some(75.0), Some(100.0)]],
            ..Heat::default()
        };
        let svg = heat.figure().unwrap().svg();
        assert!(svg.contains(">50.0<") && svg.contains(">–<") && svg.contains(">a &lt;name&gt; that is…<"), "{svg}");
        assert!(svg.contains("#00224e") && svg.contains("#fee838"));
        assert!(Heat::default().figure().is_none());
    }
}
