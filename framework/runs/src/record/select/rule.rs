//! A rule: its text, and the same as steps for a small stack machine.

use foil::distinct;
use std::fmt;
use std::str::FromStr;

use super::error::{RuleError, UnknownMetric};
use super::parse::{self, Step};

/// A parsed selection rule. See the [module page](super).
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    text: String,
    /// In postfix order: no recursion, whatever the length.
    steps: Vec<Step>,
}

impl Rule {
    /// Parses a rule. Names are not checked here; see [`Rule::check`].
    ///
    /// # Errors
    /// The first place that cannot be parsed. Rules of more than 1000 characters or 50 nested
    /// parentheses are refused.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        Ok(Rule { text: text.to_string(), steps: parse::parse(text)? })
    }

    /// The metrics that the rule needs, each once, in the order in which it names them.
    pub fn names(&self) -> Vec<&str> {
        distinct(self.metrics().map(|(name, _)| name))
    }

    /// Compares the names with those of the metrics that the run will have. One error for each
    /// place with an unknown name.
    pub fn check(&self, known: &[&str]) -> Vec<RuleError> {
        let unknown = self.metrics().filter(|(name, _)| !known.contains(name));
        unknown
            .map(|(name, column)| RuleError {
                column,
                what: format!("no metric is called `{name}`"),
                help: foil_config::suggest(name, known, "this run has"),
            })
            .collect()
    }

    /// The rule's value. It is NaN where a metric in it is, also under `min` and `max`.
    ///
    /// # Errors
    /// [`UnknownMetric`] with the first name for which `metric` has no value.
    pub fn eval(&self, metric: impl Fn(&str) -> Option<f64>) -> Result<f64, UnknownMetric> {
        let mut stack: Vec<f64> = Vec::new();
        for step in &self.steps {
            // The parser puts two values before each operator; if it were wrong, NaN would select
            // nothing.
            let mut pop = || stack.pop().unwrap_or(f64::NAN);
            let value = match step {
                Step::Number(value) => *value,
                Step::Metric { name, .. } => metric(name).ok_or_else(|| UnknownMetric(name.clone()))?,
                Step::Negate => -pop(),
                Step::Both(operator) => {
                    let (b, a) = (pop(), pop());
                    operator.of(a, b)
                }
            };
            stack.push(value);
        }
        Ok(stack.pop().unwrap_or(f64::NAN))
    }

    /// Names with their columns.
    fn metrics(&self) -> impl Iterator<Item = (&str, usize)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Metric { name, column } => Some((name.as_str(), *column)),
            _ => None,
        })
    }
}

/// The rule as it was written.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Rule::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> f64 {
        let metric = |name: &str| match name {
            "natural" => Some(80.0),
            "pgd10" => Some(50.0),
            "min" => Some(1.0),
            "lost" => Some(f64::NAN),
            _ => None,
        };
        Rule::parse(text).unwrap().eval(metric).unwrap()
    }

    #[test]
    fn computes_as_on_paper() {
        assert_eq!(value("natural + pgd10"), 130.0);
        assert_eq!(value("natural - pgd10 - 1"), 29.0);
        assert_eq!(value("natural - (pgd10 - 1)"), 31.0);
        assert_eq!(value("2 + 3 * 4 / 6"), 4.0);
        assert_eq!(value("-natural + --2"), -78.0);
        assert_eq!(value("2 * -pgd10"), -100.0);
        assert_eq!(value("min(natural, 1.5 * pgd10) + max(1e-1, .5)"), 75.5);
        assert_eq!(value("min + 1"), 2.0, "a metric may have a function's name");
    }

    #[test]
    fn nan_is_not_hidden_by_min_and_max() {
        for text in ["min(lost, natural)", "max(natural, lost)", "lost + 1", "0 / 0"] {
            assert!(value(text).is_nan(), "{text}");
        }
    }

    #[test]
    fn names_and_unknown_names() {
        let rule = Rule::parse("natual + 2 * pgd10 - min(autoattack, pgd10)").unwrap();
        assert_eq!(rule.names(), ["natual", "pgd10", "autoattack"]);
        let errors = rule.check(&["natural", "pgd10"]);
        let shown: Vec<_> = errors.iter().map(|error| (error.column, error.to_string(), error.help.as_str())).collect();
        assert_eq!(
            shown,
            [
                (
                    1,
                    "column 1: no metric is called `natual`".into(),
                    "did you mean `natural`? this run has: natural, pgd10"
                ),
                (26, "column 26: no metric is called `autoattack`".into(), "this run has: natural, pgd10"),
            ]
        );
        assert_eq!(rule.eval(|_| None), Err(UnknownMetric("natual".into())));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Rule::parse(&text).map(|rule| rule.eval(|_| Some(1.0)));
        }

        #[test]
        fn any_heap_of_tokens_is_read_or_refused(
            tokens in prop::collection::vec(prop::sample::select(vec!["natural", "min", "(", ")", ",", "+", "-", "*", "/", "1.5", " "]), 0..40),
        ) {
            let text = tokens.concat();
            match Rule::parse(&text) {
                Ok(rule) => prop_assert!(rule.eval(|_| Some(1.0)).is_ok()),
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}"),
            }
        }

        /// `a op b op c` in the machine equals Rust's own precedence.
        #[test]
        fn sums_of_products_agree_with_rust(a in -9.0..9.0, b in -9.0..9.0, c in 1.0..9.0) {
            let rule = Rule::parse("a - b / c * 2 + a").unwrap();
            let got = rule.eval(|name| Some(match name { "a" => a, "b" => b, _ => c })).unwrap();
            prop_assert_eq!(got, a - b / c * 2.0 + a);
        }
    }
}
