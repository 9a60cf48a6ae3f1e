//! What can be wrong with a rule.

use thiserror::Error;

/// A place in a rule that does not read, or a name in it that nobody measures.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {what}")]
pub struct RuleError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What stands there.
    pub what: String,
    /// What to write instead.
    pub help: String,
}

/// A metric that [`Rule::eval`](super::Rule::eval) asked for and was not given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the selection rule needs the metric `{0}`, which this epoch does not have")]
pub struct UnknownMetric(pub String);
