//! A check of whether an evaluation can be believed.

use serde::{Deserialize, Serialize};

/// One check and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrustCheck {
    /// Its name, such as `zero_gradients`.
    pub name: String,
    /// Whether the model passed; `null` when it was not run.
    pub passed: Option<bool>,
    /// What was measured, in the unit that `says` names; 0 when it was not run.
    pub value: f64,
    /// The value at which it turns.
    pub limit: f64,
    /// One sentence: what was found, and what it means.
    pub says: String,
}
