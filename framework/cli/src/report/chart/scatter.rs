//! Two accuracies against each other, and their Pareto front.

use super::axis::Axis;
use super::figure::{Figure, px, short, text, width_of};
use super::lines::grid;
use super::theme::series;
use maud::{Markup, html};

/// Points with names.
#[derive(Debug, Clone, Default)]
pub struct Scatter {
    /// The file's name.
    pub name: String,
    /// The title.
    pub title: String,
    /// From left to right; more is better.
    pub x: Axis,
    /// From bottom to top; more is better.
    pub y: Axis,
    /// The points.
    pub points: Vec<Point>,
}

/// One point.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// Its name.
    pub label: String,
    /// The number of its colour.
    pub colour: usize,
    /// Where it is.
    pub at: [f64; 2],
    /// Standard deviations over seeds, in the same units; 0 for one seed.
    pub std: [f64; 2],
}

const SIZE: [f64; 2] = [460.0, 340.0];
const FONT: f64 = 12.0;

/// The Pareto front: points that no other point beats in one number while being at least as good
/// in the other, from left to right.
pub fn front(points: &[[f64; 2]]) -> Vec<usize> {
    let beaten = |i: usize| {
        points
            .iter()
            .any(|p| p[0] >= points[i][0] && p[1] >= points[i][1] && (p[0] > points[i][0] || p[1] > points[i][1]))
    };
    let finite = |i: &usize| points[*i].iter().all(|value| value.is_finite());
    let mut front: Vec<usize> = (0..points.len()).filter(finite).filter(|&i| !beaten(i)).collect();
    front.sort_by(|&a, &b| points[a][0].total_cmp(&points[b][0]));
    front
}

impl Scatter {
    /// The chart. `None` without a point to draw.
    pub fn figure(&self) -> Option<Figure> {
        let shown: Vec<&Point> = self.points.iter().filter(|point| point.at.iter().all(|v| v.is_finite())).collect();
        let places: Vec<[f64; 2]> = shown.iter().map(|point| point.at).collect();
        shown.first()?;
        let [left, top, right, bottom] = [40.0, 50.0, SIZE[0] - 14.0, SIZE[1] - 36.0];
        let reach = |axis: usize| shown.iter().flat_map(move |p| [p.at[axis] - p.std[axis], p.at[axis] + p.std[axis]]);
        let (x, y) = (self.x.scale(reach(0), left, right), self.y.scale(reach(1), bottom, top));
        let best = front(&places);
        // A staircase: each point of the front dominates everything to its lower left.
        let stairs = || {
            let corner = |&i: &usize| [x.at(places[i][0]), y.at(places[i][1])];
            let mut path = format!("M{} {}", px(left), px(best.first().map_or(top, |i| corner(i)[1])));
            for i in &best {
                let [cx, cy] = corner(i);
                path += &format!("V{}H{}", px(cy), px(cx));
            }
            path + &format!("V{}", px(bottom))
        };
        let dots: Vec<[f64; 2]> = places.iter().map(|p| [x.at(p[0]), y.at(p[1])]).collect();
        let labels = place(&shown, &dots, [left, top, right, bottom]);
        let body = html! {
            text x="0" y="15" fill="var(--ink)" font-size="13.5" font-weight="600" { (self.title) }
            (text(0.0, 36.0, "start", "var(--soft)", 11.5, &self.y.label))
            (grid(&x, &y))
            (text(right, SIZE[1] - 4.0, "end", "var(--soft)", 11.5, &self.x.label))
            @if best.len() > 1 {
                path d=(stairs()) fill="none" stroke="var(--soft)" stroke-width="1.2" stroke-dasharray="2 3" {}
            }
            @for (n, point) in shown.iter().enumerate() {
                (mark(point, dots[n], best.contains(&n), [x.at(point.at[0] + point.std[0]) - dots[n][0], dots[n][1] - y.at(point.at[1] + point.std[1])]))
            }
            @for (n, point) in shown.iter().enumerate() {
                (text(labels[n].0[0], labels[n].0[1], labels[n].1, &series(point.colour), FONT, &short(&point.label, 26)))
            }
        };
        let words: Vec<String> =
            shown.iter().map(|p| format!("{} at {:.2} and {:.2}", p.label, p.at[0], p.at[1])).collect();
        let alt = format!("{}, {} against {}: {}", self.title, self.y.label, self.x.label, words.join(", "));
        Some(Figure { name: self.name.clone(), alt, width: SIZE[0], height: SIZE[1], body, bitmaps: Vec::new() })
    }
}

/// Filled where it is on the front, with its deviations as a cross.
fn mark(point: &Point, [x, y]: [f64; 2], best: bool, [across, up]: [f64; 2]) -> Markup {
    let colour = series(point.colour);
    html! {
        g {
            title { (point.label) ": " (format!("{:.2}, {:.2}", point.at[0], point.at[1])) }
            @if across > 0.5 { line x1=(px(x - across)) x2=(px(x + across)) y1=(px(y)) y2=(px(y)) stroke=(colour) stroke-opacity="0.6" {} }
            @if up > 0.5 { line x1=(px(x)) x2=(px(x)) y1=(px(y - up)) y2=(px(y + up)) stroke=(colour) stroke-opacity="0.6" {} }
            circle cx=(px(x)) cy=(px(y)) r="5" fill=(if best { colour.as_str() } else { "var(--page)" }) stroke=(colour) stroke-width="1.8" {}
        }
    }
}

/// Each label beside its point, where it covers neither a point nor an earlier label.
fn place(points: &[&Point], dots: &[[f64; 2]], [left, top, right, bottom]: [f64; 4]) -> Vec<([f64; 2], &'static str)> {
    let mut taken: Vec<[f64; 4]> = dots.iter().map(|[x, y]| [x - 6.0, y - 6.0, x + 6.0, y + 6.0]).collect();
    let mut labels = Vec::new();
    for (point, [x, y]) in points.iter().zip(dots) {
        let width = width_of(&short(&point.label, 26), FONT);
        let choices = [
            ([x + 9.0, y + 4.0], "start"),
            ([x - 9.0, y + 4.0], "end"),
            ([*x, y - 10.0], "middle"),
            ([*x, y + 19.0], "middle"),
            ([x + 8.0, y - 8.0], "start"),
            ([x + 8.0, y + 16.0], "start"),
            ([x - 8.0, y - 8.0], "end"),
            ([x - 8.0, y + 16.0], "end"),
        ];
        let area = |([x, y], anchor): ([f64; 2], &str)| {
            let from = match anchor {
                "start" => x,
                "end" => x - width,
                _ => x - width / 2.0,
            };
            [from, y - 10.0, from + width, y + 3.0]
        };
        let free = |a: &[f64; 4]| {
            let inside = a[0] >= left && a[2] <= right + 12.0 && a[1] >= top - 12.0 && a[3] <= bottom;
            inside && taken.iter().all(|b| a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1])
        };
        let chosen = choices.into_iter().find(|choice| free(&area(*choice))).unwrap_or(if x + width + 9.0 > right {
            choices[1]
        } else {
            choices[0]
        });
        taken.push(area(chosen));
        labels.push(chosen);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_who_is_beaten_by_nobody() {
        let points =
            [[83.0, 52.9], [82.8, 52.8], [85.1, 52.1], [84.1, 55.6], [88.0, 51.1], [84.1, 55.6], [f64::NAN, 99.0]];
        assert_eq!(front(&points), [3, 5, 2, 4]);
        assert_eq!(front(&[]), [0usize; 0]);
    }

    #[test]
    fn one_point_is_a_chart_and_none_is_not() {
        let point = |at| Point { label: "AT".into(), at, ..Point::default() };
        let chart = |points| Scatter { points, ..Scatter::default() };
        assert!(chart(vec![point([83.0, 52.9])]).figure().is_some());
        assert!(chart(vec![point([83.0, f64::NAN])]).figure().is_none());
        assert!(chart(vec![]).figure().is_none());
    }
}
