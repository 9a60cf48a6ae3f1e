//! Errors of a rule.

use thiserror::Error;

/// A place in a rule that cannot be parsed, or a name in it that is not measured.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {what}")]
pub struct RuleError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is there.
    pub what: String,
    /// What to write instead.
    pub help: String,
}

/// A metric that [`Rule::eval`](super::Rule::eval) needs but was not given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the selection rule needs the metric `{0}`, which this epoch does not have")]
pub struct UnknownMetric(pub String);
