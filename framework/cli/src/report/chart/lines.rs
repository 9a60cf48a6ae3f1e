//! Curves: a training run's numbers over its epochs, accuracy over an attack's radius or steps.

use super::axis::{Axis, Scale, written};
use super::figure::{Figure, px, short, text, width_of};
use super::theme::{SERIES, series};
use maud::{Markup, html};

/// Curves over one axis.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// The file's name.
    pub name: String,
    /// The title: the quantity with its unit.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The curves.
    pub series: Vec<Series>,
}

/// One curve.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// The label at its end.
    pub label: String,
    /// The number of its colour; see [`series`].
    pub colour: usize,
    /// Its points, from left to right. Numbers that are not finite leave a gap.
    pub points: Vec<[f64; 2]>,
    /// For each point the least and the largest number around it, such as those of several seeds;
    /// or nothing.
    pub spread: Vec<[f64; 2]>,
    /// Whether each point is marked, for curves of few points.
    pub dots: bool,
    /// Whether the line is dashed.
    pub dashed: bool,
    /// Points with a ring, such as the selected epoch.
    pub marks: Vec<[f64; 2]>,
}

const SIZE: [f64; 2] = [460.0, 290.0];
const FONT: f64 = 12.0;
/// Letters of a label at a curve's end.
const LABEL: usize = 18;
/// Around the axes, in pixels.
const EDGE: f64 = 6.0;
/// Between two labels.
const LEADING: f64 = 13.5;

impl Lines {
    /// The chart. `None` without a point to draw.
    pub fn figure(&self) -> Option<Figure> {
        let finite = |point: &&[f64; 2]| point.iter().all(|value| value.is_finite());
        let points = || self.series.iter().flat_map(|one| one.points.iter().filter(finite));
        points().next()?;
        let labels: Vec<String> = self.series.iter().map(|one| short(&one.label, LABEL)).collect();
        let room = labels.iter().map(|label| width_of(label, FONT)).fold(0.0, f64::max) + 14.0;
        let [left, top, right, bottom] = [40.0, 34.0, SIZE[0] - room, SIZE[1] - 36.0];
        let spread = self.series.iter().flat_map(|one| one.spread.iter().flatten().copied());
        let x = self.x.scale(points().map(|point| point[0]), left, right);
        let y = self.y.scale(points().map(|point| point[1]).chain(spread), bottom, top);

        // A little larger than the axes, so that points on the edge are not cut in half.
        let window = [left - EDGE, top - EDGE, right - left + 2.0 * EDGE, bottom - top + 2.0 * EDGE];
        let ends = self.series.iter().map(|one| one.points.iter().rfind(finite).map(|point| y.at(point[1])));
        let places = apart(&ends.collect::<Vec<_>>(), top, bottom);
        let body = html! {
            text x="0" y="15" fill="var(--ink)" font-size="13.5" font-weight="600" { (self.title) }
            g class="frame" {
                (grid(&x, &y))
                (text(right, SIZE[1] - 4.0, "end", "var(--soft)", 11.5, &self.x.label))
            }
            svg class="plot" x=(px(window[0])) y=(px(window[1])) width=(px(window[2])) height=(px(window[3]))
                viewBox=(window.map(px).join(" "))
                preserveAspectRatio="none" data-x=(x.ends(EDGE)) data-y=(y.ends(EDGE))
                data-log=[self.x.log.then_some("1")] {
                @for one in &self.series { (curve(one, &x, &y)) }
            }
            g class="ends" {
                @for ((one, label), place) in self.series.iter().zip(&labels).zip(&places) {
                    @if let Some(place) = place {
                        (text(right + 7.0, place + 4.0, "start", &series(one.colour), FONT, label))
                    }
                }
            }
        };
        let alt = format!("{} over {}: {}", self.title, self.x.label, self.summary());
        Some(Figure { name: self.name.clone(), alt, width: SIZE[0], height: SIZE[1], body, bitmaps: Vec::new() })
    }

    /// The final values of the curves, in words.
    fn summary(&self) -> String {
        let end = |one: &Series| Some(format!("{} ends at {:.4}", one.label, one.points.last()?[1]));
        self.series.iter().filter_map(end).collect::<Vec<_>>().join(", ")
    }
}

/// Lines across with their numbers, and numbers beneath.
pub(super) fn grid(x: &Scale, y: &Scale) -> Markup {
    let across = ((x.end - x.start) / 52.0).floor().max(2.0) as usize;
    html! {
        g class="ty" {
            @for (value, label) in y.ticks(5) {
                line x1=(px(x.start)) x2=(px(x.end)) y1=(px(y.at(value))) y2=(px(y.at(value))) stroke="var(--line)" {}
                (text(x.start - 7.0, y.at(value) + 4.0, "end", "var(--soft)", 11.5, &label))
            }
        }
        g class="tx" {
            @for (value, label) in x.ticks(across) {
                (text(x.at(value), y.start + 18.0, "middle", "var(--soft)", 11.5, &label))
            }
        }
    }
}

fn curve(one: &Series, x: &Scale, y: &Scale) -> Markup {
    let at = |point: &[f64; 2]| format!("{} {}", px(x.at(point[0])), px(y.at(point[1])));
    let finite = |point: &[f64; 2]| point.iter().all(|value| value.is_finite());
    let pieces: Vec<Vec<String>> = one
        .points
        .split(|point| !finite(point))
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.iter().map(at).collect())
        .collect();
    let path: String = pieces.iter().map(|piece| format!("M{}", piece.join("L"))).collect();
    let band = || {
        let edge =
            |pick: usize| one.points.iter().zip(&one.spread).map(move |(point, spread)| [point[0], spread[pick]]);
        let (low, high): (Vec<_>, Vec<_>) = (edge(0).collect(), edge(1).collect());
        let outline: Vec<String> = low.iter().chain(high.iter().rev()).filter(|point| finite(point)).map(at).collect();
        format!("M{}Z", outline.join("L"))
    };
    // If there are more series than colours, dashes distinguish them.
    let dash = (one.dashed || one.colour >= SERIES).then_some("5 3");
    let colour = series(one.colour);
    // A line of length 0 keeps its round ends when the reader zooms; a circle would be stretched.
    let dot = |point: &[f64; 2], size: f64, colour: &str| {
        html! {
            path d=(format!("M{}h.01", at(point))) stroke=(colour) stroke-width=(size) stroke-linecap="round" vector-effect="non-scaling-stroke" {
                title { (one.label) ": " (written(point[1], 0.01)) " at " (point[0]) }
            }
        }
    };
    html! {
        g {
            title { (one.label) }
            @if one.spread.len() == one.points.len() && !one.spread.is_empty() {
                path d=(band()) fill=(colour) fill-opacity="0.14" stroke="none" {}
            }
            path d=(path) fill="none" stroke=(colour) stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round"
                stroke-dasharray=[dash] vector-effect="non-scaling-stroke" {}
            @if one.dots || one.points.len() == 1 {
                @for point in one.points.iter().filter(|point| finite(point)) { (dot(point, 5.6, &colour)) }
            }
            @for point in one.marks.iter().filter(|point| finite(point)) {
                (dot(point, 9.0, &colour)) (dot(point, 4.6, "var(--page)"))
            }
        }
    }
}

/// Moves overlapping labels apart, in their order, within `top` and `bottom`.
fn apart(wanted: &[Option<f64>], top: f64, bottom: f64) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = wanted.iter().enumerate().filter_map(|(i, y)| Some((i, (*y)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let leading = LEADING.min((bottom - top) / order.len().max(1) as f64);
    for i in 1..order.len() {
        order[i].1 = order[i].1.max(order[i - 1].1 + leading);
    }
    let mut floor = bottom;
    for place in order.iter_mut().rev() {
        place.1 = place.1.min(floor);
        floor = place.1 - leading;
    }
    let mut places = vec![None; wanted.len()];
    order.iter().for_each(|(i, y)| places[*i] = Some(*y));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<Vec<[f64; 2]>>) -> Lines {
        let series = points.into_iter().enumerate().map(|(n, points)| Series {
            label: format!("<b>{n}"),
            colour: n,
            points,
            ..Series::default()
        });
        Lines {
            name: "c".into(),
            title: "a & b".into(),
            y: Axis::percent(""),
            series: series.collect(),
            ..Lines::default()
        }
    }

    #[test]
    fn labels_keep_their_order_and_distance() {
        let places = apart(&[Some(50.0), Some(51.0), None, Some(49.0)], 0.0, 100.0);
        assert_eq!(places, [Some(62.5), Some(76.0), None, Some(49.0)]);
        let places = apart(&[Some(99.0), Some(100.0)], 0.0, 100.0);
        assert_eq!(places, [Some(86.5), Some(100.0)]);
        let crowded = apart(&vec![Some(5.0); 100], 0.0, 100.0);
        assert!(crowded.iter().flatten().all(|y| (0.0..=100.0).contains(y)));
    }

    #[test]
    fn words_are_escaped_and_gaps_are_gaps() {
        let figure = chart(vec![vec![[1.0, 50.0], [2.0, f64::NAN], [3.0, 60.0]], vec![]]).figure().unwrap();
        let svg = figure.svg();
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;b&gt;0") && !svg.contains("<b>"), "{svg}");
        let path = svg.split("<path d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(!svg.contains("NaN") && !svg.contains("var("), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(chart(vec![]).figure().is_none());
        assert!(chart(vec![vec![[1.0, f64::NAN]]]).figure().is_none());
    }

    #[test]
    fn a_png_has_its_size_and_some_ink() {
        let png = chart(vec![vec![[1.0, 50.0], [2.0, 60.0]]]).figure().unwrap().png(1.0).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (460, 290));
        // Checks that the title is drawn, at the upper left: a font must be available on every
        // machine.
        let width = 460 * info.color_type.samples();
        let title =
            pixels.chunks(width).take(18).map(|row| row[..200].iter().filter(|v| **v < 128).count()).sum::<usize>();
        assert!(title > 40, "{title} dark values where the title should be");
    }
}
