//! One error type: what went wrong, and what to do instead.

use std::fmt;
use std::panic::Location;
use std::path::Path;

pub use foil_config::{misleads, shown};

/// The result of every fallible function of foil.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message for the user, printed as `error: …` and `help: …`; see `docs/decisions/` for the
/// style.
#[derive(Debug)]
pub struct Error {
    message: String,
    help: Option<String>,
    problems: Option<foil_config::Problems>,
    /// Where it was raised, if that is outside of foil; for [`Error::placed`].
    place: Option<&'static Location<'static>>,
    kind: ErrorKind,
    /// The part of a pipeline that raised it, and the message within that part.
    part: Option<(Part, String)>,
}

/// What kind of error it is, for code that treats it specially. Nothing decides by a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shown to the user, and nothing else.
    #[default]
    Other,
    /// A batch of one image met batch norm over vectors.
    OneImage,
    /// Another process trains in a run's folder.
    InUse,
}

/// A part of a pipeline's training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `attack`
    Attack,
    /// `loss`
    Loss,
    /// `model`
    Model,
    /// `optimizer`
    Optimizer,
    /// `update`
    Update,
}

impl Part {
    /// The part with this key.
    pub fn of(key: &str) -> Option<Self> {
        [Part::Attack, Part::Loss, Part::Model, Part::Optimizer].into_iter().find(|part| part.key() == key)
    }

    /// Its key in a pipeline.
    pub fn key(self) -> &'static str {
        match self {
            Part::Attack => "attack",
            Part::Loss => "loss",
            Part::Model => "model",
            Part::Optimizer => "optimizer",
            Part::Update => "update",
        }
    }
}

/// The message of an error that lists a config's problems.
const PROBLEMS: &str = "the configuration has problems";

impl Error {
    /// An error that says what was found and what was expected.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            problems: None,
            place: outside(Location::caller()),
            kind: ErrorKind::Other,
            part: None,
        }
    }

    /// Another library's error, with its own message.
    #[track_caller]
    pub fn of(error: impl fmt::Display) -> Self {
        Self::new(error.to_string())
    }

    /// An error of libtorch, from its text; without the C++ backtrace that the text carries.
    #[track_caller]
    pub fn torch(text: &str) -> Self {
        // libtorch's errors have no kinds, so here the text decides.
        let one_image = text.contains("Expected more than 1 value per channel when training");
        Self::new(torch_message(text)).of_kind(if one_image { ErrorKind::OneImage } else { ErrorKind::Other })
    }

    /// Says of which kind it is.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Of which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Adds what to do instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Prepends where it happened: `context: message`; only once if it is added again.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        let context = format!("{context}: ");
        if !self.message.starts_with(&context) {
            self.message.insert_str(0, &context);
        }
        self
    }

    /// Says which part of a pipeline raised it: `attack `pgd`: message`.
    #[must_use]
    pub fn in_part(self, part: Part, name: &str) -> Self {
        let within = self.message.clone();
        let said = self.context(format!("{} `{name}`", part.key()));
        // It may be said where the plugin is called, and again by the step.
        if said.message == within { said } else { Self { part: Some((part, within)), ..said } }
    }

    /// The part of a pipeline that raised it, and the message within that part.
    pub fn part(&self) -> Option<(Part, &str)> {
        self.part.as_ref().map(|(part, message)| (*part, message.as_str()))
    }

    /// Appends the file and line where a plugin raised it: `message (at src/lib.rs:40:13)`. Errors
    /// that foil raises for the plugin stay as they are.
    #[must_use]
    pub fn placed(mut self) -> Self {
        if let Some(place) = self.place.take() {
            self.message += &format!(" (at {place})");
        }
        self
    }

    /// Appends where a panic was raised.
    pub fn raised(mut self, place: &str) -> Self {
        self.message += &format!(" ({place})");
        self
    }

    /// Without the file and line that [`Error::placed`] appends: the message has others.
    #[must_use]
    pub fn unplaced(mut self) -> Self {
        self.place = None;
        self
    }

    /// The problems of a config, if that is what this error is.
    pub fn problems(&self) -> Option<&foil_config::Problems> {
        self.problems.as_ref()
    }

    /// The message without its help.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do instead, if it is known.
    pub fn suggestion(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// The place, unless it is in foil's own crates or in Rust's.
fn outside(place: &'static Location<'static>) -> Option<&'static Location<'static>> {
    // foil's crates are in one folder. Each copy of this crate decides for its own.
    let ours = file!().trim_end_matches("torch/src/error.rs");
    let file = place.file();
    (!file.starts_with(ours) && !file.starts_with("/rustc/") && !file.contains("/library/core/")).then_some(place)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problems) = &self.problems {
            if self.message != PROBLEMS {
                writeln!(f, "error: {}", self.message)?; // the source of the problems
            }
            return problems.fmt(f);
        }
        write!(f, "error: {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<foil_config::Problems> for Error {
    fn from(problems: foil_config::Problems) -> Self {
        Self { problems: Some(problems), place: None, ..Self::new(PROBLEMS) }
    }
}

impl From<foil_data::DataError> for Error {
    fn from(error: foil_data::DataError) -> Self {
        let places: String = error.places().iter().map(|place| format!("\n  --> {place}")).collect();
        Self::new(error.message() + &places).help(error.help())
    }
}

impl From<tch::TchError> for Error {
    #[track_caller]
    fn from(error: tch::TchError) -> Self {
        Self::torch(&error.to_string())
    }
}

/// Says which file an I/O error is about.
pub trait AtPath<T> {
    /// # Errors
    /// The same error, with `doing` (a verb, as in "reading") and the path in front.
    fn at(self, doing: &str, path: &Path) -> Result<T>;
}

impl<T, E: fmt::Display> AtPath<T> for std::result::Result<T, E> {
    fn at(self, doing: &str, path: &Path) -> Result<T> {
        self.map_err(|e| {
            let (path, text) = (path.display().to_string(), e.to_string());
            let text = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text); // `record::atomic` adds the path too
            Error::new(format!("{doing} {path}: {text}"))
        })
    }
}

/// libtorch's message without the C++ backtrace it carries.
fn torch_message(text: &str) -> String {
    let panic = text.strip_prefix("called `Result::unwrap()` on an `Err` value: Torch(\"");
    let text = panic.or_else(|| text.strip_prefix("Internal torch error: ")).unwrap_or(text);
    let text = text.split("\\nException raised from").next().unwrap_or(text);
    let text = text.split("\nException raised from").next().unwrap_or(text);
    text.replace("\\n", "\n").replace("\\\"", "\"").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_in_the_house_style() {
        let error = Error::new("`epochs` is 0").help("write at least 1").context("train");
        assert_eq!(error.to_string(), "error: train: `epochs` is 0\n  help: write at least 1");
    }

    #[test]
    fn where_problems_were_found_is_told() {
        let problem = foil_config::Problem::new("epochs", "`epochs` is 0", "write at least 1");
        let error = || Error::from(foil_config::Problems::from(vec![problem.clone()]));
        assert!(error().to_string().starts_with("error: `epochs` is 0"), "{}", error());
        let text = error().context("rank 2").to_string();
        assert!(text.starts_with("error: rank 2: the configuration has problems\nerror: `epochs` is 0"), "{text}");
    }

    #[test]
    fn a_torch_panic_loses_its_backtrace() {
        let panic = "called `Result::unwrap()` on an `Err` value: Torch(\"size 3 must match 4\\nException raised from x (at y)\")";
        assert_eq!(torch_message(panic), "size 3 must match 4");
    }
}
