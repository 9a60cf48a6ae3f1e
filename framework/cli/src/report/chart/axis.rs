//! An axis: which numbers are written along an edge, and where.

/// An axis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// The quantity, with its unit.
    pub label: String,
    /// Whether equal ratios are equal distances. Numbers must be above 0 then.
    pub log: bool,
    /// Whether only whole numbers are written, as for epochs.
    pub whole: bool,
    /// Whether it ends where the data end rather than at round numbers.
    pub tight: bool,
    /// The ends; by default they follow from the data.
    pub range: Option<[f64; 2]>,
    /// The least and the largest number that the quantity can have, such as 0 and 100 percent.
    pub limits: Option<[f64; 2]>,
}

impl Axis {
    /// An axis that fits its data.
    pub fn new(label: impl Into<String>) -> Self {
        Axis { label: label.into(), ..Axis::default() }
    }

    /// An axis of percentages.
    pub fn percent(label: impl Into<String>) -> Self {
        Axis { limits: Some([0.0, 100.0]), ..Axis::new(label) }
    }

    /// The axis from pixel `start`, where its smallest number is, to pixel `end`, for these
    /// numbers.
    pub(super) fn scale(&self, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Scale {
        let usable = values.filter(|value| value.is_finite() && (!self.log || *value > 0.0));
        let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 2.0) };
        let [low, high] = match self.range {
            Some(range) => range,
            None if self.log => [low, high.max(low * 1.01)],
            None if self.tight => [low, if high > low { high } else { low + 1.0 }],
            None => {
                let spread = if high > low { high - low } else { high.abs().max(1.0) * 0.1 };
                let step = step(spread, 5);
                let [least, most] = self.limits.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
                let low = ((low - 0.02 * spread) / step).floor() * step;
                let high = ((high + 0.02 * spread) / step).ceil() * step;
                [low.max(least), high.min(most).max(low.max(least) + step)]
            }
        };
        Scale { low, high, start, end, log: self.log, whole: self.whole }
    }
}

/// From numbers to pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub start: f64,
    pub end: f64,
    pub log: bool,
    pub whole: bool,
}

impl Scale {
    pub fn at(&self, value: f64) -> f64 {
        let map = |value: f64| if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let share = (map(value) - map(self.low)) / (map(self.high) - map(self.low));
        self.start + share * (self.end - self.start)
    }

    /// The numbers `edge` pixels beyond both ends, for the script that zooms.
    pub fn ends(&self, edge: f64) -> String {
        let beyond = edge / (self.end - self.start).abs();
        let (low, high) = if self.log { (self.low.ln(), self.high.ln()) } else { (self.low, self.high) };
        let [from, to] = [low - beyond * (high - low), high + beyond * (high - low)];
        if self.log { format!("{} {}", from.exp(), to.exp()) } else { format!("{from} {to}") }
    }

    /// The numbers that are written, at most about `most`, and how.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if self.log {
            let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
            let ticks = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(decade)));
            let inside = |tick: &f64| (self.low * 0.999..=self.high * 1.001).contains(tick);
            return ticks.filter(inside).map(|tick| (tick, written(tick, tick))).collect();
        }
        let step = step(self.high - self.low, most).max(if self.whole { 1.0 } else { 0.0 });
        let (first, last) = ((self.low / step - 1e-6).ceil() as i64, (self.high / step + 1e-6).floor() as i64);
        (first..=last).map(|n| n as f64 * step).map(|tick| (tick, written(tick, step))).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that `spread` holds at most about `most` of them.
fn step(spread: f64, most: usize) -> f64 {
    let rough = (spread / most.max(1) as f64).max(1e-12);
    let power = 10f64.powf(rough.log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * power >= rough * 0.999).unwrap_or(10.0);
    digit * power
}

/// A number with the decimals that `step` has.
pub(super) fn written(value: f64, step: f64) -> String {
    let decimals = (-(step * 1.001).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.starts_with('-') && !text.contains(|digit: char| ('1'..='9').contains(&digit)) {
        return text[1..].to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        axis.scale(values.iter().copied(), 0.0, 100.0).ticks(5).into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn round_numbers_around_the_data() {
        assert_eq!(labels(&Axis::percent("%"), &[41.2, 57.9]), ["40", "45", "50", "55", "60"]);
        assert_eq!(labels(&Axis::percent("%"), &[0.0, 99.9]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&Axis::new("loss"), &[0.31, 0.52]), ["0.30", "0.35", "0.40", "0.45", "0.50", "0.55"]);
        assert_eq!(
            labels(&Axis { log: true, ..Axis::default() }, &[1.0, 100.0]),
            ["1", "2", "5", "10", "20", "50", "100"]
        );
    }

    #[test]
    fn epochs_are_whole() {
        let axis = Axis { whole: true, tight: true, ..Axis::default() };
        assert_eq!(labels(&axis, &[1.0, 2.0]), ["1", "2"]);
        assert_eq!(labels(&axis, &[1.0, 100.0]), ["20", "40", "60", "80", "100"]);
        assert_eq!(labels(&axis, &[7.0]), ["7", "8"]);
    }

    #[test]
    fn odd_data_have_an_axis_too() {
        for values in [&[][..], &[f64::NAN], &[3.0], &[0.0, 0.0], &[1e-9], &[1e12, -1e12], &[100.0]] {
            for axis in [Axis::new("x"), Axis::percent("x"), Axis { log: true, ..Axis::default() }] {
                let scale = axis.scale(values.iter().copied(), 0.0, 100.0);
                assert!(scale.high > scale.low && scale.at(scale.low) == 0.0, "{values:?}: {scale:?}");
                assert!(scale.ticks(5).len() < 40);
            }
        }
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!([written(-0.0, 0.1), written(-0.2, 0.1), written(1e-17, 0.5)], ["0.0", "-0.2", "0.0"]);
    }
}
