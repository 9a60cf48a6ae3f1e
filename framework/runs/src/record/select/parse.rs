//! From a rule's text to its steps, by recursive descent:
//!
//! ```text
//! sum     = product (("+" | "-") product)*
//! product = signed (("*" | "/") signed)*
//! signed  = "-"* (number | name | ("min" | "max") "(" sum "," sum ")" | "(" sum ")")
//! ```
//! A name begins with a letter or `_` and continues with letters, digits, `_` and `.`. Letters are
//! ASCII.

use super::error::RuleError;

const LONGEST: usize = 1000;
const DEEPEST: usize = 50;

/// One step of the stack machine: push a value, or replace the topmost one or two by a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Number(f64),
    Metric { name: String, column: usize },
    Negate,
    Both(Operator),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Min,
    Max,
}

impl Operator {
    pub fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            _ if a.is_nan() || b.is_nan() => f64::NAN, // f64::min would take the other
            Operator::Min => a.min(b),
            Operator::Max => a.max(b),
        }
    }
}

pub fn parse(text: &str) -> Result<Vec<Step>, RuleError> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0, steps: Vec::new() };
    if parser.text.len() > LONGEST {
        let what = format!("the rule has {} characters, which is too long", parser.text.len());
        return Err(RuleError { column: LONGEST + 1, what, help: format!("at most {LONGEST} are read") });
    }
    parser.sum()?;
    match parser.peek() {
        None => Ok(parser.steps),
        Some(')') => Err(parser.error("this `)` closes nothing", "remove it, or open a `(` before")),
        Some(_) => Err(parser.unexpected("an operator (`+ - * /`)")),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
    steps: Vec<Step>,
}

impl Parser {
    fn sum(&mut self) -> Result<(), RuleError> {
        self.chain(Self::product, &[('+', Operator::Add), ('-', Operator::Subtract)])
    }

    fn product(&mut self) -> Result<(), RuleError> {
        self.chain(Self::signed, &[('*', Operator::Multiply), ('/', Operator::Divide)])
    }

    /// Parts joined by any of `operators`, from left to right.
    fn chain(
        &mut self,
        part: fn(&mut Self) -> Result<(), RuleError>,
        operators: &[(char, Operator)],
    ) -> Result<(), RuleError> {
        part(self)?;
        while let Some(&(_, operator)) = operators.iter().find(|(sign, _)| self.peek() == Some(*sign)) {
            self.at += 1;
            part(self)?;
            self.steps.push(Step::Both(operator));
        }
        Ok(())
    }

    fn signed(&mut self) -> Result<(), RuleError> {
        let mut negative = false;
        while self.take('-') {
            negative = !negative;
        }
        match self.peek() {
            Some('(') => self.nested(&[])?,
            Some(c) if c.is_ascii_digit() || c == '.' => self.number()?,
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name()?,
            _ => return Err(self.unexpected("a metric, a number or `(`")),
        }
        if negative {
            self.steps.push(Step::Negate);
        }
        Ok(())
    }

    /// `( sum )`, or `( sum , sum )` for a function of two.
    fn nested(&mut self, function: &[Operator]) -> Result<(), RuleError> {
        if self.depth == DEEPEST {
            return Err(self.error("parentheses nested too deep", &format!("at most {DEEPEST} levels are read")));
        }
        self.depth += 1;
        self.expect('(')?;
        self.sum()?;
        for operator in function {
            self.expect(',')?;
            self.sum()?;
            self.steps.push(Step::Both(*operator));
        }
        self.depth -= 1;
        self.expect(')')
    }

    fn name(&mut self) -> Result<(), RuleError> {
        let start = self.at;
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        match (name.as_str(), self.peek()) {
            ("min", Some('(')) => self.nested(&[Operator::Min]),
            ("max", Some('(')) => self.nested(&[Operator::Max]),
            (_, Some('(')) => {
                self.at = start;
                Err(self.error(&format!("no function is called `{name}`"), "there are two: min(a, b) and max(a, b)"))
            }
            _ => {
                self.steps.push(Step::Metric { name, column: start + 1 });
                Ok(())
            }
        }
    }

    fn number(&mut self) -> Result<(), RuleError> {
        let start = self.at;
        let mut digits = self.take_while(|c| c.is_ascii_digit() || c == '.');
        if self.text.get(self.at).is_some_and(|c| matches!(c, 'e' | 'E')) {
            self.at += 1;
            digits.push('e');
            digits.extend(self.text.get(self.at).filter(|c| matches!(c, '+' | '-')).inspect(|_| self.at += 1));
            digits += &self.take_while(|c| c.is_ascii_digit());
        }
        match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                self.steps.push(Step::Number(value));
                Ok(())
            }
            _ => {
                self.at = start;
                Err(self.error(&format!("`{digits}` is not a number"), "write it like 0.5, 20 or 1e-3"))
            }
        }
    }

    /// The next character that is not a space, without consuming it.
    fn peek(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let taken: String = self.text[self.at..].iter().take_while(|c| wanted(**c)).collect();
        self.at += taken.len(); // one byte each: all that are asked for are ASCII
        taken
    }

    fn expect(&mut self, wanted: char) -> Result<(), RuleError> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected(&format!("`{wanted}`"))) }
    }

    fn unexpected(&mut self, wanted: &str) -> RuleError {
        let what = match self.peek() {
            Some(c) => format!("unexpected `{c}`"),
            None if self.text.is_empty() => "the rule is empty".to_string(),
            None => "the rule ends".to_string(),
        };
        self.error(&what, &format!("expected {wanted} here"))
    }

    fn error(&self, what: &str, help: &str) -> RuleError {
        RuleError { column: self.at + 1, what: what.to_string(), help: help.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where_and_what_instead() {
        for (text, expected) in [
            ("", "column 1: the rule is empty; expected a metric, a number or `(` here"),
            ("natural +", "column 10: the rule ends; expected a metric, a number or `(` here"),
            ("natural pgd10", "column 9: unexpected `p`; expected an operator (`+ - * /`) here"),
            ("natural + pgd10)", "column 16: this `)` closes nothing; remove it, or open a `(` before"),
            ("(natural", "column 9: the rule ends; expected `)` here"),
            ("min(natural)", "column 12: unexpected `)`; expected `,` here"),
            ("mean(a, b)", "column 1: no function is called `mean`; there are two: min(a, b) and max(a, b)"),
            ("1.2.3", "column 1: `1.2.3` is not a number; write it like 0.5, 20 or 1e-3"),
            ("2 + 1e", "column 5: `1e` is not a number; write it like 0.5, 20 or 1e-3"),
            ("1e999", "column 1: `1e999` is not a number; write it like 0.5, 20 or 1e-3"),
            ("natürlich", "column 4: unexpected `ü`; expected an operator (`+ - * /`) here"),
            ("20pgd", "column 3: unexpected `p`; expected an operator (`+ - * /`) here"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(format!("{error}; {}", error.help), expected);
        }
    }

    #[test]
    fn depth_and_length_are_limited() {
        assert!(parse(&format!("{}a{}", "(".repeat(50), ")".repeat(50))).is_ok());
        assert_eq!(parse(&format!("{}a{}", "(".repeat(51), ")".repeat(51))).unwrap_err().column, 51);
        assert!(parse(&format!("{}a", "-".repeat(999))).is_ok());
        assert_eq!(parse(&"(".repeat(100_000)).unwrap_err().column, 1001);
    }
}
