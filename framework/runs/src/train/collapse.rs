//! Notices catastrophic overfitting: from one epoch to the next a network that is trained on weak
//! attacks comes to resist those alone (Wong, Rice, Kolter 2020, arXiv:2001.03994).

use crate::eval::NATURAL;
use crate::record::{Row, Values};

/// How far accuracy falls at once, in percent points: what the published code stops at.
const FALL: f64 = 20.0;
/// Accuracy under the training attack, over the epoch's images.
const TRAINED: &str = "train_adversarial_acc";

/// A warning if accuracy under one of `attacks` has fallen since it was last measured, much more
/// than natural accuracy, though under the training attack it has not. `before` are the rows of
/// earlier epochs.
pub(super) fn warning(before: &[Row], now: &Values, attacks: &[String]) -> Option<String> {
    let others = || attacks.iter().filter(|name| *name != NATURAL);
    let last = &before.iter().rev().find(|row| others().any(|name| row.values.contains_key(name)))?.values;
    let pair = |name: &str| Some((*last.get(name)?, *now.get(name)?));
    let trained = pair(TRAINED).filter(|(was, is)| is >= was)?;
    let natural = pair(NATURAL).map_or(0.0, |(was, is)| was - is).max(0.0);
    let falls = others().filter_map(|name| pair(name).map(|(was, is)| (name, was, is)));
    let (name, was, is) = falls.max_by(|a, b| (a.1 - a.2).total_cmp(&(b.1 - b.2)))?;
    (was - is - natural > FALL).then(|| {
        format!(
            "accuracy under {name} fell from {was:.1} % to {is:.1} %, while under the training attack it rose from \
             {:.1} % to {:.1} %: the network now resists that attack alone (catastrophic overfitting); train with more \
             steps or a random start, and use the weights of an earlier epoch",
            trained.0, trained.1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: &[(&str, f64)]) -> Values {
        all.iter().map(|(name, value)| (name.to_string(), *value)).collect()
    }

    #[test]
    fn only_a_fall_that_training_does_not_see_is_one() {
        let names = ["natural", "fgsm", "pgd10"].map(String::from);
        let at = |trained, natural, fgsm, pgd| {
            values(&[(TRAINED, trained), ("natural", natural), ("fgsm", fgsm), ("pgd10", pgd)])
        };
        let before = vec![
            Row { epoch: 1, step: 10, values: at(30.0, 50.0, 40.0, 38.0) },
            Row { epoch: 2, step: 20, values: values(&[(TRAINED, 35.0)]) },
        ];
        let warned = |now: &Values| warning(&before, now, &names);
        let text = warned(&at(60.0, 55.0, 70.0, 3.0)).unwrap();
        assert!(text.starts_with("accuracy under pgd10 fell from 38.0 % to 3.0 %, while under the training"), "{text}");
        assert!(text.contains("it rose from 30.0 % to 60.0 %"), "{text}");
        // 20 points are not more than 20; natural accuracy falls too; training sees it; nothing was
        // measured.
        for now in [
            at(60.0, 55.0, 70.0, 18.0),
            at(60.0, 30.0, 70.0, 3.0),
            at(29.0, 55.0, 70.0, 3.0),
            values(&[(TRAINED, 60.0)]),
        ] {
            assert_eq!(warned(&now), None, "{now:?}");
        }
        assert_eq!(warning(&[], &at(60.0, 55.0, 70.0, 3.0), &names), None);
    }
}
