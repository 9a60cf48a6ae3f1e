//! The threat model: what an attacker may change.

use crate::scheduler::Scheduled;
use foil_macros::settings;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far an attacker may move an image, whose values lie in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threat {
    /// How the distance is measured.
    pub norm: Norm,
    /// The largest distance allowed, in image units: `8/255` is 0.0314.
    pub eps: f64,
}

impl Threat {
    /// The ball of radius `eps`, as [`Attack::threats`](super::Attack::threats) returns it: nothing
    /// if the radius follows a scheduler.
    pub fn within(norm: Norm, eps: &Scheduled) -> Vec<Self> {
        eps.constant().map(|eps| Self { norm, eps }).into_iter().collect()
    }
}

/// The norm of a perturbation, spelled as in RobustBench.
#[settings]
#[derive(Copy, PartialEq, Eq)]
pub enum Norm {
    /// The largest change of a pixel.
    #[serde(rename = "Linf")]
    Linf,
    /// The Euclidean length of the change.
    #[serde(rename = "L2")]
    L2,
    /// The sum of the absolute changes of all pixels.
    #[serde(rename = "L1")]
    L1,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Norm::Linf => "Linf",
            Norm::L2 => "L2",
            Norm::L1 => "L1",
        })
    }
}

/// `Linf 8/255`, or `Linf 0.3`: the radius as [`radius`] writes it.
impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.norm, radius(self.eps))
    }
}

/// A radius in image units as people write it: the decimal where that is short, so 0.4 although it
/// is 102/255, otherwise the fraction of 255 that is exactly the number, if one with at most one
/// decimal is: `8/255`, `0.5/255`. Reading it gives the number.
pub fn radius(value: f64) -> String {
    let (decimal, levels) = (value.to_string(), (value * 2550.0).round() / 10.0);
    let exact = decimal.len() > 6 && levels / 255.0 == value;
    if exact { format!("{levels}/255") } else { decimal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_papers_write_it() {
        let of = |norm, eps| Threat { norm, eps }.to_string();
        assert_eq!(of(Norm::Linf, 8.0 / 255.0), "Linf 8/255");
        assert_eq!(of(Norm::Linf, 0.3), "Linf 0.3");
        assert_eq!(of(Norm::Linf, 0.031), "Linf 0.031");
        assert_eq!(of(Norm::L2, 1.0), "L2 1");
        assert_eq!(of(Norm::L2, 0.0), "L2 0");
        for whole in [0.2, 0.4, 0.6, 0.8] {
            assert_eq!(of(Norm::Linf, whole), format!("Linf {whole}"));
        }
        assert_eq!(of(Norm::Linf, 0.5 / 255.0), "Linf 0.5/255");
        assert_eq!(of(Norm::L2, 128.0 / 255.0), "L2 128/255");
        assert_eq!(radius(300.0 / 255.0), "300/255");
    }

    #[test]
    fn read_as_written() {
        for n in 1..2550 {
            let (tenths, decimal) = (f64::from(n) / 10.0 / 255.0, f64::from(n) / 1000.0);
            let read = |text: &str| foil_config::fraction(text).unwrap_or_else(|| text.parse().unwrap());
            assert_eq!(read(&radius(tenths)), tenths);
            assert_eq!(radius(decimal), decimal.to_string());
        }
    }

    #[test]
    fn stored_under_the_same_names() {
        let threat: Threat = serde_json::from_str(r#"{"norm":"L2","eps":0.5}"#).unwrap();
        assert_eq!(threat, Threat { norm: Norm::L2, eps: 0.5 });
        assert!(serde_json::from_str::<Norm>(r#""linf""#).is_err());
    }
}
