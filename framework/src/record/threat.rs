//! The threat model: what an attacker may change.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far an attacker may move an image, whose values lie in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threat {
    /// How the distance is measured.
    pub norm: Norm,
    /// The largest distance allowed, in image units: `8/255` is 0.0314.
    pub eps: f64,
}

/// The norm of a perturbation, spelled as in RobustBench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Norm {
    /// The largest change of any value.
    Linf,
    /// The root of the sum of squared changes.
    L2,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Norm::Linf => "Linf",
            Norm::L2 => "L2",
        })
    }
}

/// `Linf 8/255`, or `Linf 0.3` where the radius is no whole number of grey levels.
impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = self.eps * 255.0;
        let whole = levels.round();
        if (1.0..255.0).contains(&whole) && (levels - whole).abs() < 1e-9 {
            write!(f, "{} {whole}/255", self.norm)
        } else {
            write!(f, "{} {}", self.norm, self.eps)
        }
    }
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
    }

    #[test]
    fn stored_under_the_same_names() {
        let threat: Threat = serde_json::from_str(r#"{"norm":"L2","eps":0.5}"#).unwrap();
        assert_eq!(threat, Threat { norm: Norm::L2, eps: 0.5 });
        assert!(serde_json::from_str::<Norm>(r#""linf""#).is_err());
    }
}
