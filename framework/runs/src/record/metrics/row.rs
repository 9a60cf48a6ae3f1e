//! One epoch's metrics, and their JSON form.

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Metric names and their values, in the order in which they were put in.
pub type Values = IndexMap<String, f64>;

/// The metrics at the end of one epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Row {
    /// The epoch that ended.
    pub epoch: u64,
    /// Model updates since the start of the run.
    pub step: u64,
    /// Losses (nats), rates and accuracies (percent) by name. The names `epoch` and `step` are
    /// reserved.
    #[serde(flatten, serialize_with = "write", deserialize_with = "read")]
    pub values: Values,
}

/// A number as JSON can hold it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(Other),
}

#[derive(Serialize, Deserialize)]
enum Other {
    #[serde(rename = "NaN")]
    Nan,
    #[serde(rename = "inf")]
    Up,
    #[serde(rename = "-inf")]
    Down,
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        match value {
            f64::INFINITY => Number::Other(Other::Up),
            f64::NEG_INFINITY => Number::Other(Other::Down),
            _ if value.is_nan() => Number::Other(Other::Nan),
            _ => Number::Finite(value),
        }
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        match number {
            Number::Finite(value) => value,
            Number::Other(Other::Nan) => f64::NAN,
            Number::Other(Other::Up) => f64::INFINITY,
            Number::Other(Other::Down) => f64::NEG_INFINITY,
        }
    }
}

pub(crate) fn write<S: Serializer>(values: &Values, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(values.iter().map(|(name, &value)| (name, Number::from(value))))
}

pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Values, D::Error> {
    let numbers = IndexMap::<String, Number>::deserialize(from)?;
    Ok(numbers.into_iter().map(|(name, number)| (name, number.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_like_a_table_row() {
        let mut row = Row { epoch: 1, step: 391, ..Row::default() };
        row.values.extend([("pgd10".to_string(), 49.61), ("loss".into(), f64::NAN), ("gap".into(), f64::NEG_INFINITY)]);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(text, r#"{"epoch":1,"step":391,"pgd10":49.61,"loss":"NaN","gap":"-inf"}"#);
        let back: Row = serde_json::from_str(&text).unwrap();
        assert!(back.values["loss"].is_nan());
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn other_words_are_not_numbers() {
        assert!(serde_json::from_str::<Row>(r#"{"epoch":1,"step":2,"loss":"low"}"#).is_err());
        assert!(serde_json::from_str::<Row>(r#"{"epoch":1,"loss":1.0}"#).is_err());
    }

    proptest! {
        /// Fails where serde_json is built without its feature `float_roundtrip`.
        #[test]
        fn every_number_survives(value in any::<f64>()) {
            let row = Row { epoch: 1, step: 1, values: Values::from([("x".to_string(), value)]) };
            let back: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
            prop_assert!(back.values["x"].to_bits() == value.to_bits() || value.is_nan() && back.values["x"].is_nan());
        }
    }
}
