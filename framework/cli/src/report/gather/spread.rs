//! A number over several runs.

use crate::report::Cell;

/// Mean and standard deviation of a number over runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation (the sum of squares over `n - 1`); `None` for a single run.
    pub std: Option<f64>,
    /// How many runs.
    pub n: usize,
}

impl Spread {
    /// Of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, std: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }

    /// As an entry of a table, in percent.
    pub fn cell(self) -> Cell {
        match self.std {
            Some(std) => Cell::MeanStd { mean: self.mean, std },
            None => Cell::Percent(self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // statistics.mean and statistics.stdev of [50.0, 52.0, 57.0] are 53.0 and 3.605551275463989
    #[test]
    fn mean_and_deviation() {
        let spread = Spread::of(&[50.0, 52.0, 57.0]).unwrap();
        assert_eq!((spread.mean, spread.n), (53.0, 3));
        assert!((spread.std.unwrap() - 3.605551275463989).abs() < 1e-12);
        assert_eq!(Spread::of(&[50.0]), Some(Spread { mean: 50.0, std: None, n: 1 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
