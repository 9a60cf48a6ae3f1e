//! What may come of a case, and which of it is a fault of foil.

use std::time::Duration;

/// How long a case may take.
pub const LONGEST: Duration = Duration::from_secs(10);
/// MiB that a case may need besides what the process has.
pub const MOST_MIB: u64 = 512;

/// How foil took an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It read it.
    Taken,
    /// It said what is wrong, in these words.
    Refused(String),
    /// It did what it must not do.
    Fault(String),
}

impl Verdict {
    /// Of what foil would print: whether it can be printed.
    pub fn printed(text: &str, otherwise: Self) -> Self {
        // Control characters, and what turns the direction of writing.
        let moves = |c: &char| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c);
        match text.chars().find(moves) {
            Some(c) => Self::Fault(format!("what it prints has the control character {c:?}: {text:?}")),
            None => otherwise,
        }
    }

    /// Of an error as the program prints it.
    pub fn refused(error: &foil::Error) -> Self {
        let text = error.to_string();
        if error.message().trim().is_empty() {
            return Self::Fault("the error says nothing".into());
        }
        // Problems of pipelines are printed as they are, other errors through `shown`.
        let text = if error.problems().is_some() { text.into() } else { foil::error::shown(&text) };
        Self::printed(&text, Self::Refused(text.to_string()))
    }
}
