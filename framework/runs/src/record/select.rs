//! Which epoch's model a run keeps: `select: natural + pgd10`.
//!
//! A [`Rule`] is an expression over the names of metrics. It knows numbers, `+ - * /` with the
//! usual precedence, unary minus, parentheses, `min(a, b)` and `max(a, b)`. The epoch for which it
//! is largest is kept, and a later one replaces it only when strictly better ([`Best`]).
//!
//! ```text
//! natural + pgd10                         the paper's rule: the highest sum of both accuracies
//! pgd10                                   robust accuracy alone
//! min(natural, 1.6 * pgd10)               whichever lags
//! -loss                                   the lowest loss
//! ```

mod best;
mod error;
mod parse;
mod rule;

pub use best::{Best, Held};
pub use error::{RuleError, UnknownMetric};
pub use rule::Rule;
