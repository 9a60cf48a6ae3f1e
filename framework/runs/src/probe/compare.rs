//! Compares two sets of tensors.

use foil::tensors::Named;
use tch::{Kind, Tensor};

/// The difference between two files.
#[derive(Debug)]
pub struct Comparison {
    /// Tensors that both have, the worst first.
    pub differences: Vec<Difference>,
    /// Names that only the first has.
    pub only_first: Vec<String>,
    /// Names that only the second has.
    pub only_second: Vec<String>,
}

/// The difference between two tensors of the same name.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Their name.
    pub name: String,
    /// Their shapes, which should be equal.
    pub shapes: [Vec<i64>; 2],
    /// The largest |a - b|; infinite for different shapes, or where only one is finite.
    pub absolute: f64,
    /// `absolute` divided by the largest |a| or |b|: element by element a quotient would be
    /// meaningless near zero.
    pub relative: f64,
    /// The index of the largest difference.
    pub place: Vec<i64>,
    /// The default limit of `relative`: 1e-10 where both are float64, otherwise 1e-5.
    pub usual: f64,
}

impl Difference {
    fn of(name: &str, a: &Tensor, b: &Tensor) -> Self {
        let usual = if a.kind() == Kind::Double && b.kind() == Kind::Double { 1e-10 } else { 1e-5 };
        let shapes = [a.size(), b.size()];
        let unlike = Self { name: name.into(), shapes, absolute: 0.0, relative: 0.0, place: Vec::new(), usual };
        if a.size() != b.size() {
            return Self { absolute: f64::INFINITY, relative: f64::INFINITY, ..unlike };
        }
        if a.numel() == 0 {
            return unlike;
        }
        let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
        let same = a.eq_tensor(&b).logical_or(&a.isnan().logical_and(&b.isnan()));
        let apart = (&a - &b).abs().nan_to_num(f64::INFINITY, f64::INFINITY, f64::INFINITY).masked_fill(&same, 0.0);
        let absolute = apart.max().double_value(&[]);
        let largest = |t: &Tensor| t.abs().nan_to_num(0.0, 0.0, 0.0).max().double_value(&[]);
        let relative = if absolute == 0.0 { 0.0 } else { absolute / largest(&a).max(largest(&b)) };
        let mut flat = apart.argmax(None::<i64>, false).int64_value(&[]);
        let mut place = Vec::new();
        for n in a.size().into_iter().rev() {
            place.insert(0, flat % n);
            flat /= n;
        }
        Self { absolute, relative, place, ..unlike }
    }

    /// Whether the relative difference is above `tolerance`, or above the usual one. Absolute
    /// differences below a ten-thousandth of it always count as rounding: some gradients are zero
    /// except for rounding.
    pub fn exceeds(&self, tolerance: Option<f64>) -> bool {
        let tolerance = tolerance.unwrap_or(self.usual);
        // Tested this way round so that a NaN counts as a difference.
        let agree = self.relative <= tolerance || self.absolute <= tolerance * 1e-4;
        !agree
    }
}

/// Compares tensors by name.
pub fn compare(first: &Named, second: &Named) -> Comparison {
    let missing = |from: &Named, to: &Named| from.keys().filter(|name| !to.contains_key(*name)).cloned().collect();
    let both = first.iter().filter_map(|(name, a)| second.get(name).map(|b| Difference::of(name, a, b)));
    let mut differences: Vec<Difference> = both.collect();
    differences.sort_by(|a, b| (b.relative / b.usual).total_cmp(&(a.relative / a.usual)).then(a.name.cmp(&b.name)));
    Comparison { differences, only_first: missing(first, second), only_second: missing(second, first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &[f64], b: &[f64]) -> Difference {
        Difference::of("t", &Tensor::from_slice(a), &Tensor::from_slice(b))
    }

    #[test]
    fn the_largest_difference_is_found_with_its_place() {
        let a = Tensor::from_slice(&[1f64, 2.0, 3.0, 4.0]).view([2, 2]);
        let b = Tensor::from_slice(&[1f64, 2.5, 3.0, 4.1]).view([2, 2]);
        let found = Difference::of("t", &a, &b);
        assert_eq!((found.absolute, found.place.as_slice()), (0.5, [0, 1].as_slice()));
        assert!((found.relative - 0.5 / 4.1).abs() < 1e-15);
        assert!(found.exceeds(None) && !found.exceeds(Some(0.2)));
    }

    #[test]
    fn what_is_no_number_is_no_agreement_unless_both_say_so() {
        assert!(difference(&[1.0, f64::NAN], &[1.0, 2.0]).exceeds(Some(1.0)));
        assert!(difference(&[1.0, f64::INFINITY], &[1.0, 2.0]).exceeds(Some(1.0)));
        assert!(!difference(&[1.0, f64::NAN, f64::INFINITY], &[1.0, f64::NAN, f64::INFINITY]).exceeds(None));
        assert!(difference(&[1.0], &[1.0, 1.0]).exceeds(Some(1.0)));
    }

    #[test]
    fn rounding_around_zero_is_no_difference() {
        assert!(!difference(&[0.0], &[1e-15]).exceeds(None));
        assert!(difference(&[0.0], &[1e-13]).exceeds(None));
    }

    #[test]
    fn the_worst_comes_first_and_missing_tensors_are_listed() {
        let named = |values: &[(&str, f64)]| values.iter().map(|(n, v)| (n.to_string(), Tensor::from(*v))).collect();
        let found =
            compare(&named(&[("a", 1.0), ("b", 1.0), ("c", 0.0)]), &named(&[("a", 1.1), ("b", 2.0), ("d", 0.0)]));
        assert_eq!(found.differences.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((found.only_first, found.only_second), (vec!["c".to_string()], vec!["d".to_string()]));
    }
}
