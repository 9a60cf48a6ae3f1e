//! Text for a terminal: wrapped, indented, and bold where it helps.

use crate::report::Style;

/// Widest line that reads well.
const WIDEST: usize = 100;
/// Narrowest line that still holds some words.
const NARROWEST: usize = 30;

/// Characters in a line of standard output.
pub(super) fn width() -> usize {
    Style::stdout().width.unwrap_or(WIDEST).clamp(NARROWEST, WIDEST)
}

/// The text in bold, where standard output shows it.
pub(super) fn bold(text: &str) -> String {
    if Style::stdout().color { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
}

/// A doc comment wrapped to `width`, each line behind `indent` spaces. Paragraphs, lists and code
/// blocks stay what they are.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let space = " ".repeat(indent);
    let width = width.saturating_sub(indent).max(NARROWEST);
    let lines = blocks(text).into_iter().flat_map(|block| match block {
        Block::Verbatim(line) => vec![line],
        Block::Words(words) => fill(&words, width),
    });
    lines.map(|line| format!("{space}{line}").trim_end().to_string() + "\n").collect()
}

/// A block of text.
enum Block {
    /// A line of code, or the empty line between two paragraphs.
    Verbatim(String),
    /// Words that may be rewrapped.
    Words(String),
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        let words = line.trim();
        if words.starts_with("```") {
            in_code = !in_code;
        } else if in_code || words.is_empty() {
            blocks.push(Block::Verbatim(line.trim_end().to_string()));
        } else {
            let item = words.starts_with("- ") || words.starts_with("* ") || words.starts_with('|');
            match blocks.last_mut() {
                Some(Block::Words(before)) if !item => {
                    before.push(' ');
                    before.push_str(&without_links(words));
                }
                _ => blocks.push(Block::Words(without_links(words))),
            }
        }
    }
    blocks
}

/// Lines of at most `width` characters; a longer word gets its own line.
fn fill(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// ``[`Network`](foil::engine::Network)`` is a link for rustdoc; the terminal shows only the word.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        let Some(end) = rest[start..].find("`]").map(|at| start + at + 1) else { break };
        plain.push_str(&rest[..start]);
        plain.push_str(&rest[start + 1..end]);
        rest = &rest[end + 1..];
        if let Some(close) = rest.find(')').filter(|_| rest.starts_with('(')) {
            rest = &rest[close + 1..];
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_lists_and_code_are_kept() {
        let text = "One two three four five six seven\neight.\n\n- an item\n- another\n\n```text\na  b\n```";
        let wrapped = wrap(text, 30, 2);
        let expected = "  One two three four five six\n  seven eight.\n\n  - an item\n  - another\n\n  a  b\n";
        assert_eq!(wrapped, expected);
    }

    #[test]
    fn no_word_is_lost_or_cut() {
        let long = "x".repeat(80);
        assert_eq!(wrap(&format!("a {long} b"), 40, 0), format!("a\n{long}\nb\n"));
    }

    #[test]
    fn links_become_words() {
        assert_eq!(
            without_links("a [`Network`](foil::engine::Network), a [`Clock`] in [0, 1]"),
            "a `Network`, a `Clock` in [0, 1]"
        );
        assert_eq!(without_links("an open [` stays"), "an open [` stays");
    }
}
