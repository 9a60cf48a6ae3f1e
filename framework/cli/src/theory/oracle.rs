//! Who knows the class everywhere.

use std::f64::consts::TAU;
use tch::{Kind, Tensor};

/// An oracle on the unit square. It answers class 1 (Y = -1 in the paper) or class 2 (Y = +1); as
/// labels 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oracle {
    /// Class 2 above a wave as high as a ball is wide.
    Waves,
    /// Class 2 in four discs, not much larger than a ball.
    Islands,
    /// Class 2 above one long wave.
    Swell,
}

impl Oracle {
    /// The label, 0 or 1, of points `[…, 2]`: `[…]` int64.
    pub fn label(self, points: &Tensor) -> Tensor {
        self.level(points).ge(0.0).to_kind(Kind::Int64)
    }

    /// The label as -1 or +1, f_oracle of the paper: `[…]` float.
    pub fn sign(self, points: &Tensor) -> Tensor {
        self.label(points).to_kind(Kind::Float) * 2.0 - 1.0
    }

    /// A number that is 0 on the boundary, and larger on the side of class 2.
    pub(super) fn level(self, points: &Tensor) -> Tensor {
        let (x, y) = (points.select(-1, 0), points.select(-1, 1));
        match self {
            Oracle::Waves => y - 0.5 - (x * (3.0 * TAU)).sin() * 0.14,
            Oracle::Swell => y - 0.5 - (x * TAU).sin() * 0.07,
            Oracle::Islands => {
                // In the middle of the square's quarters.
                let (dx, dy) = (((x * 2.0).frac() - 0.5) * 0.5, ((y * 2.0).frac() - 0.5) * 0.5);
                0.15 * 0.15 - (dx.square() + dy.square())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_knows_both_sides() {
        let points = Tensor::from_slice2(&[[0.25f32, 0.9], [0.25, 0.1], [0.0833, 0.6], [0.0833, 0.66], [0.25, 0.25]]);
        let labels = |oracle: Oracle| Vec::<i64>::try_from(oracle.label(&points)).unwrap();
        assert_eq!(labels(Oracle::Waves)[..4], [1, 0, 0, 1]);
        assert_eq!(labels(Oracle::Islands)[4], 1);
        assert_eq!(labels(Oracle::Swell), [1, 0, 1, 1, 0]);
        assert_eq!(Vec::<f32>::try_from(Oracle::Swell.sign(&points)).unwrap(), [1.0, -1.0, 1.0, 1.0, -1.0]);
    }
}
