//! Where a key or value was written: a file with line and column, or an override on the command
//! line.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text that was read: a file, or one override.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path as the user knows it, or `` override `a.b=1` ``.
    name: String,
    /// The whole text; problems quote its lines.
    text: String,
    /// Rank among the texts of one load: the file itself, what it extends, then overrides. Problems
    /// are sorted by it.
    order: usize,
    is_file: bool,
}

impl Source {
    pub fn file(name: &str, text: String, order: usize) -> Arc<Self> {
        Arc::new(Self { name: name.to_string(), text, order, is_file: true })
    }

    pub fn argument(argument: &str, text: &str, order: usize) -> Arc<Self> {
        let name = format!("override `{}`", crate::show::short(argument));
        Arc::new(Self { name, text: text.to_string(), order, is_file: false })
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// One position in a file or in an override.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    line: usize,
    column: usize,
}

impl Place {
    pub(crate) fn new(source: &Arc<Source>, line: usize, column: usize) -> Self {
        Self { source: Arc::clone(source), line, column }
    }

    /// The file's path as it was given, or `` override `a.b=1` ``.
    pub fn source(&self) -> &str {
        &self.source.name
    }

    /// The folder that a path written here is relative to: the file's; for an override the current
    /// one, which is empty.
    pub fn folder(&self) -> PathBuf {
        match self.source.is_file {
            true => Path::new(self.source()).parent().map(Path::to_path_buf).unwrap_or_default(),
            false => PathBuf::new(),
        }
    }

    /// Line from 1; `None` for an override.
    pub fn line(&self) -> Option<usize> {
        self.source.is_file.then_some(self.line)
    }

    /// Column from 1, in characters; `None` for an override.
    pub fn column(&self) -> Option<usize> {
        self.source.is_file.then_some(self.column)
    }

    /// The unquoted word that begins here, as it was written: up to what may end one in a list or a
    /// map, or a comment.
    pub(crate) fn word(&self) -> &str {
        let line = nth_line(&self.source.text, self.line);
        let start = line.char_indices().nth(self.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        let rest = &line[start..];
        let ends = [",", "]", "}", " #", ": "].iter().filter_map(|end| rest.find(end)).min();
        rest[..ends.unwrap_or(rest.len())].trim_end().trim_end_matches(':')
    }

    /// The text of that line; `None` for an override, whose text is its name.
    pub fn line_text(&self) -> Option<&str> {
        self.source.is_file.then(|| nth_line(&self.source.text, self.line))
    }
}

/// Lines end at `\n`, `\r` or both, as in YAML.
fn nth_line(text: &str, line: usize) -> &str {
    let mut rest = text;
    for _ in 1..line {
        let Some(end) = rest.find(['\n', '\r']) else { return "" };
        let skip = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + skip..];
    }
    rest.split(['\n', '\r']).next().unwrap_or("")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line() {
            Some(line) => write!(f, "{}:{line}:{}", self.source.name, self.column),
            None => f.write_str(&self.source.name),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.source.order, self.line, self.column).cmp(&(other.source.order, other.line, other.column))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        let text = "a\r\nb\rc\n\nd";
        assert_eq!((1..=7).map(|n| nth_line(text, n)).collect::<Vec<_>>(), ["a", "b", "c", "", "d", "", ""]);
    }

    #[test]
    fn an_override_has_no_lines() {
        let place = Place::new(&Source::argument("a=1", "1", 0), 1, 1);
        assert_eq!((place.to_string().as_str(), place.line()), ("override `a=1`", None));
    }
}
