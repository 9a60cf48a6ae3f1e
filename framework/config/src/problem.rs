//! A problem with a pipeline, where it was written, and what to write instead.

use crate::place::Place;
use crate::show;
use std::fmt;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What was found and what was expected, in one sentence without a full stop.
    pub message: String,
    /// Where it was written; `None` if no text is at fault, as for a missing file.
    pub place: Option<Place>,
    /// The key's path, `attack.inner.eps`; empty for the whole pipeline.
    pub path: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Whether the plugin could not be built, for which it may need files and libraries.
    pub building: bool,
}

impl Problem {
    /// A problem with the value at `path`; [`Checked::problems`](crate::Checked::problems) finds
    /// its place. An empty `help` is none.
    pub fn new(path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into()).filter(|text: &String| !text.is_empty());
        Self { message: message.into(), place: None, path: path.into(), help, building: false }
    }

    /// The same problem, found at `place`.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// Whether its key is the one at `path`, contains it or is contained in it.
    pub(crate) fn concerns(&self, path: &str) -> bool {
        let inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        self.path == path || inside(&self.path, path) || inside(path, &self.path)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A message may quote what was written.
        write!(f, "error: {}", show::shown(&self.message))?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {}", show::shown(&place.to_string()))?;
            let text = place.line_text().map(|text| show::line(text, place.column().unwrap_or(1)));
            if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
                write!(f, "\n   | {text}")?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {}", show::shown(help)),
            None => Ok(()),
        }
    }
}

/// All problems of a pipeline, in the order in which they were written. Printed one below the
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// How many problems are printed; a file with more of them is not a pipeline.
    const PRINTED: usize = 50;
    /// How many are kept, so that a hostile file cannot fill the memory with messages.
    pub(crate) const KEPT: usize = 1000;
}

/// Adds a problem, unless there are absurdly many already.
pub(crate) fn note(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.len() < Problems::KEPT {
        problems.push(problem);
    }
}

impl From<Vec<Problem>> for Problems {
    /// Sorts by place; problems without one come first, since they concern everything.
    fn from(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().take(Self::PRINTED).enumerate() {
            let newline = if n > 0 { "\n" } else { "" };
            write!(f, "{newline}{problem}")?;
        }
        match self.0.len().saturating_sub(Self::PRINTED) {
            0 => Ok(()),
            more => write!(f, "\nerror: {more} more problems are not shown"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Source;

    #[test]
    fn prints_where_what_and_what_instead() {
        let source = Source::file("configs/x.yaml", "attack:\n  step: 10\n".into(), 0);
        let problem =
            Problem::new("attack.step", "unknown key `step` in `attack` (attack `pgd`)", "did you mean `steps`?");
        let expected = "error: unknown key `step` in `attack` (attack `pgd`)\n  --> configs/x.yaml:2:3\n   |   step: 10\n  \
                        help: did you mean `steps`?";
        assert_eq!(problem.at(&Place::new(&source, 2, 3)).to_string(), expected);
    }

    #[test]
    fn nothing_in_it_moves_the_cursor() {
        let source = Source::file("a\u{1b}[2J.yaml", "name: x\u{7}".into(), 0);
        let problem = Problem::new("name", "`name` is `\u{1b}[31m`", "write\ranother").at(&Place::new(&source, 1, 1));
        let text = problem.to_string();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("`name` is `\\u{1b}[31m`") && text.contains("help: write\\ranother"), "{text}");
    }

    #[test]
    fn sorts_by_place_and_stops_printing_in_time() {
        let source = Source::file("x.yaml", String::new(), 0);
        let at = |line| Problem::new("", format!("line {line}"), "").at(&Place::new(&source, line, 1));
        let problems = Problems::from(vec![at(2), at(1), Problem::new("", "no place", "")]);
        let messages: Vec<_> = problems.0.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["no place", "line 1", "line 2"]);
        let many = Problems::from((0..60).map(at).collect::<Vec<_>>()).to_string();
        assert!(many.ends_with("error: 10 more problems are not shown"), "{many}");
    }
}
