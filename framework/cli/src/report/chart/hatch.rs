//! Regions filled with parallel lines, so that two of them can be seen where they overlap.

/// Samples along a line, per distance between two lines.
const LOOKS: usize = 12;

/// Lines at 45 degrees, `spacing` apart, where `inside` holds, in the window `[[left, right],
/// [bottom, top]]`. Each piece is a line's two ends. Lines go up to the right if `rising`, else
/// down.
pub fn hatch(
    window: [[f64; 2]; 2],
    spacing: f64,
    rising: bool,
    inside: &dyn Fn([f64; 2]) -> bool,
) -> Vec<Vec<[f64; 2]>> {
    let [[left, right], [bottom, top]] = window;
    let (width, height) = (right - left, top - bottom);
    // Along the lower edge, lines are further apart than across.
    let (apart, step) = (spacing * std::f64::consts::SQRT_2, spacing / LOOKS as f64);
    let lines = ((width + height) / apart).floor() as usize;
    let mut pieces = Vec::new();
    for line in 0..=lines {
        let from = left - height + (line as f64 + 0.5) * apart;
        let at = |along: f64| [from + along, if rising { bottom + along } else { top - along }];
        let mut open: Option<[f64; 2]> = None;
        let mut last = at(0.0);
        for look in 0..=(height / step) as usize {
            let point = at(look as f64 * step);
            let within = (left..=right).contains(&point[0]) && inside(point);
            match open {
                None if within => open = Some(point),
                Some(start) if !within => {
                    pieces.push(vec![start, last]);
                    open = None;
                }
                _ => {}
            }
            last = point;
        }
        pieces.extend(open.map(|start| vec![start, last]));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lines that are `spacing` apart have a length of area / spacing.
    #[test]
    fn a_disc_is_filled_with_lines_as_long_as_its_area_asks_for() {
        let disc = |[x, y]: [f64; 2]| (x - 0.5).hypot(y - 0.4) < 0.3;
        for rising in [true, false] {
            let lines = hatch([[0.0, 1.0], [0.0, 1.0]], 0.01, rising, &disc);
            let length: f64 = lines.iter().map(|line| (line[0][0] - line[1][0]).hypot(line[0][1] - line[1][1])).sum();
            let expected = std::f64::consts::PI * 0.09 / 0.01;
            assert!((length / expected - 1.0).abs() < 0.02, "{length} {expected}");
            assert!(lines.iter().flatten().all(|point| disc(*point)));
            let up = lines.iter().all(|line| (line[1][1] >= line[0][1]) == rising || line[0] == line[1]);
            assert!(up, "{rising}");
        }
        assert!(hatch([[0.0, 1.0], [0.0, 1.0]], 0.1, true, &|_| false).is_empty());
    }
}
