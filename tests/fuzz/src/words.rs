//! Changes to texts, word by word: YAML, JSON and tables that are still nearly right.

use crate::mutate::{self, part};
use fastrand::Rng;

/// Texts do not grow beyond this.
const LARGEST: usize = 1 << 18;

/// What means something in YAML, JSON or CSV.
const SIGNS: &[&str] = &[
    "\n",
    "\n  ",
    "\n- ",
    ": ",
    ", ",
    "[",
    "]",
    "{",
    "}",
    "- ",
    "? ",
    "&a ",
    "*a",
    "!t ",
    "#",
    "|\n",
    ">\n",
    "'",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\e",
    "\u{1b}[2J",
    "\u{9b}",
    "\u{202e}",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "\0",
    "%",
    "---\n",
    "...\n",
    "\t",
    "\r\n",
    "<<",
    "é",
    "𝕏",
    "=",
    ".",
    "null",
    "~",
    "true",
    "no",
    ".nan",
    ".inf",
    "NaN",
    "inf",
    "-inf",
    "0",
    "-0.0",
    "-1",
    "1e309",
    "1e-400",
    "0.1",
    "8/255",
    "1/0",
    "-8/255",
    "100",
    "101",
    "255",
    "65536",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e5",
    "0x1f",
    "1_000",
    "2021-01-01",
];

/// `seed` with one to six changes; `others` are texts that parts are taken from, `known` are words
/// of the format.
pub fn text(random: &mut Rng, seed: &[u8], others: &[Vec<u8>], known: &[String]) -> Vec<u8> {
    // What is not text any more is changed as bytes are.
    if random.u8(0..8) == 0 {
        return mutate::bytes(random, seed, others);
    }
    let mut text = String::from_utf8_lossy(seed).into_owned();
    for _ in 0..random.usize(1..=6) {
        text = if random.u8(0..3) == 0 { lines(random, &text, others) } else { words(random, &text, others, known) };
        if text.len() > LARGEST {
            text = text.chars().take(LARGEST / 4).collect();
        }
    }
    text.into_bytes()
}

/// Runs of letters and digits, runs of space, and single signs.
fn split(text: &str) -> Vec<&str> {
    let class = |c: char| if c.is_alphanumeric() || c == '_' { 0 } else { 1 + u8::from(c == ' ') };
    let (mut parts, mut start, mut before) = (Vec::new(), 0, None);
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| before != class(c) || before == 1) {
            parts.push(&text[start..at]);
            start = at;
        }
        before = Some(class(c));
    }
    parts.push(&text[start..]);
    parts
}

fn other<'a>(random: &mut Rng, others: &'a [Vec<u8>]) -> std::borrow::Cow<'a, str> {
    random.choice(others).map_or("".into(), |other| String::from_utf8_lossy(other))
}

fn words(random: &mut Rng, text: &str, others: &[Vec<u8>], known: &[String]) -> String {
    let mut parts: Vec<String> = split(text).into_iter().map(String::from).collect();
    let at = random.usize(0..parts.len());
    let word = match random.u8(0..5) {
        0 => parts[random.usize(0..parts.len())].clone(),
        1 => {
            let text = other(random, others);
            let words = split(&text);
            words[random.usize(0..words.len())].to_string()
        }
        2 => random.choice(known).cloned().unwrap_or_default(),
        _ => SIGNS[random.usize(0..SIGNS.len())].to_string(),
    };
    match random.u8(0..10) {
        0..=3 => parts[at] = word,
        4 | 5 => parts.insert(at, word),
        6 => drop(parts.remove(at)),
        7 => {
            let copied = parts[part(random, parts.len())].to_vec();
            parts.splice(at..at, copied);
        }
        8 => drop(parts.drain(part(random, parts.len()))),
        // Depth and length.
        _ => parts.insert(at, word.repeat((1 << random.u32(1..15)).min((1 << 16) / word.len().max(1)))),
    }
    parts.concat()
}

fn lines(random: &mut Rng, text: &str, others: &[Vec<u8>]) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(String::from).collect();
    if lines.is_empty() {
        return other(random, others).into_owned();
    }
    let (at, to) = (random.usize(0..lines.len()), random.usize(0..lines.len()));
    match random.u8(0..7) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(to, lines[at].clone()),
        2 => lines.swap(at, to),
        3 => lines.truncate(at),
        4 => lines[at].insert_str(0, &" ".repeat(random.usize(1..5))),
        5 => lines[at] = lines[at].trim_start().to_string(),
        _ => {
            let text = other(random, others);
            let theirs: Vec<&str> = text.split_inclusive('\n').collect();
            let taken: Vec<String> = theirs[part(random, theirs.len())].iter().map(ToString::to_string).collect();
            lines.splice(at..at, taken);
        }
    }
    lines.concat()
}
