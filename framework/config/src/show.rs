//! User text, made safe to print: no control characters, never too long.

use std::borrow::Cow;

/// Longest quotation inside a sentence, in characters.
const WORD: usize = 60;
/// Longest quoted source line, in characters.
const LINE: usize = 100;

/// A word or value for the middle of a sentence.
pub fn short(text: &str) -> String {
    cut(text, WORD)
}

/// A whole sentence from elsewhere.
pub fn sentence(text: &str) -> String {
    cut(text, LINE * 2)
}

fn cut(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).flat_map(safe).collect();
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

/// A source line, cut around `column` (from 1) when it is long.
pub fn line(text: &str, column: usize) -> String {
    let text = text.trim_end();
    let length = text.chars().count();
    if length <= LINE {
        return text.chars().flat_map(safe).collect();
    }
    let start = column.saturating_sub(LINE / 3).min(length - LINE);
    let window: String = text.chars().skip(start).take(LINE).flat_map(safe).collect();
    let (head, tail) = (if start > 0 { "…" } else { "" }, if start + LINE < length { "…" } else { "" });
    format!("{head}{window}{tail}")
}

/// Whether a character would move the cursor, colour the terminal, reorder the text or be hidden.
pub fn misleads(c: char) -> bool {
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || hidden
}

/// A text for a terminal: characters that mislead are escaped, line ends are not.
pub fn shown(text: &str) -> Cow<'_, str> {
    let misleads = |c: char| misleads(c) && c != '\n';
    if !text.contains(misleads) {
        return text.into();
    }
    let lines = text.split('\n').map(|line| line.chars().flat_map(safe).collect::<String>());
    lines.collect::<Vec<_>>().join("\n").into()
}

/// Escapes what misleads.
fn safe(c: char) -> impl Iterator<Item = char> {
    let escaped = misleads(c).then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// `a`, `b` and so on as one list.
pub fn list<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// A kind of component in a sentence: the key `data` takes a data set.
pub fn noun(kind: &str) -> &str {
    match kind {
        "data" => "data set",
        "augment" => "augmentation",
        kind => kind,
    }
}

/// A kind with its article: `an attack`, `a loss`.
pub fn article(kind: &str) -> String {
    let word = noun(kind);
    let an = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {word}", if an { "an" } else { "a" })
}

/// More than one of a kind: `attacks`, `losses`.
pub fn plural(kind: &str) -> String {
    let word = noun(kind);
    let es = ["s", "x", "ch", "sh"].iter().any(|end| word.ends_with(end));
    format!("{word}{}", if es { "es" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(short("a\u{1b}[31m"), "a\\u{1b}[31m");
        assert_eq!(short("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(line("  a:\t1", 3), "  a:\\t1");
        assert_eq!(shown("a\nb \u{1b}[2Jc\r\u{9b}\u{202e}"), "a\nb \\u{1b}[2Jc\\r\\u{9b}\\u{202e}");
        assert!(matches!(shown("plain ä\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_text_is_cut_around_the_place() {
        assert_eq!(short(&"x".repeat(200)), format!("{}…", "x".repeat(60)));
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let shown = line(&text, 501);
        assert!(shown.contains("HERE") && shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert_eq!(shown.chars().count(), LINE + 2);
    }

    #[test]
    fn words_take_their_article_and_plural() {
        assert_eq!((article("attack"), article("loss")), ("an attack".into(), "a loss".into()));
        assert_eq!((plural("attack"), plural("loss")), ("attacks".into(), "losses".into()));
        assert_eq!((article("data"), plural("data")), ("a data set".into(), "data sets".into()));
    }
}
