//! The best epoch so far.

use serde::{Deserialize, Serialize};

/// Keeps the epoch with the highest score; of equal ones, the first. Saved with a checkpoint, so
/// that a resumed run makes the same choice.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Best {
    /// The best so far, if any.
    pub held: Option<Held>,
}

/// An epoch and its score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The epoch.
    pub epoch: u64,
    /// Its score by the selection rule.
    pub score: f64,
}

impl Best {
    /// Takes `epoch` if its `score` is strictly better than the best so far, and returns whether
    /// it did. A score that is not finite (a run that diverged, a division by zero) is never taken,
    /// not even as the first.
    pub fn offer(&mut self, epoch: u64, score: f64) -> bool {
        let better = score.is_finite() && self.held.is_none_or(|held| score > held.score);
        if better {
            self.held = Some(Held { epoch, score });
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictly_better_replaces() {
        let mut best = Best::default();
        let offers = [f64::NAN, 120.0, 120.0, f64::NAN, 130.5, f64::INFINITY, 130.4];
        let taken: Vec<_> = (1..).zip(offers).filter(|&(epoch, score)| best.offer(epoch, score)).collect();
        assert_eq!(taken, [(2, 120.0), (5, 130.5)]);
        assert_eq!(best.held, Some(Held { epoch: 5, score: 130.5 }));
    }

    #[test]
    fn survives_a_checkpoint() {
        for best in [Best::default(), Best { held: Some(Held { epoch: 7, score: 0.1 + 0.2 }) }] {
            let text = serde_json::to_string(&best).unwrap();
            assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), best);
        }
    }
}
