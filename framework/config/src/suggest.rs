//! The word that was probably meant.

use crate::show;

/// Longer words are not compared: the time grows with the product of the lengths.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be what was meant.
///
/// Near enough is a third of the word's length, counted in edits (a swap of two neighbours is one),
/// and at least one edit for words of two characters or more. Case and `-` for `_` cost nothing. Of
/// equally near candidates the first wins.
pub fn did_you_mean<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    if !(2..=LONGEST).contains(&length) {
        return None;
    }
    let word = normal(word);
    let allowed = (length / 3).max(1);
    candidates
        .iter()
        .filter(|candidate| candidate.len() <= LONGEST * 2)
        .map(|candidate| (strsim::osa_distance(&word, &normal(candidate)), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn normal(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// `` did you mean `steps`? known keys: eps, steps ``: the word that was probably meant, if one is
/// near, and after `lead` all valid words.
pub fn suggest<S: AsRef<str>>(word: &str, candidates: &[S], lead: &str) -> String {
    let words: Vec<&str> = candidates.iter().map(AsRef::as_ref).collect();
    let meant = did_you_mean(word, &words).map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
    format!("{meant}{lead}: {}", show::list(&words))
}

/// A hint for `loss:at`, which YAML reads as one word.
pub(crate) fn space_after_colon(text: &str) -> Option<String> {
    let (key, value) = text.trim().split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = value.split(|c: char| c.is_whitespace() || c == ',').next().filter(|value| !value.is_empty())?;
    (is_key && !value.starts_with('/'))
        .then(|| format!("a space belongs after the colon: `{}: {}`", show::short(key), show::short(value)))
}

/// A hint for a key with a letter that looks like an ASCII letter: a Cyrillic `е`, a full-width
/// `ｓ`.
pub(crate) fn look_alike(key: &str) -> Option<String> {
    let letter = key.chars().find(|letter| !letter.is_ascii() && letter.is_alphabetic())?;
    Some(format!("its `{letter}` is U+{:04X}, and keys have ASCII letters only", u32::from(letter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let keys = ["eps", "steps", "alpha", "objective", "batch_size", "start"];
        let table = [
            ("step", Some("steps"), "one letter is missing"),
            ("stpes", Some("steps"), "a swap is one edit"),
            ("obejctvie", Some("objective"), "two swaps, a third of nine letters allows three edits"),
            ("eps_", Some("eps"), "one letter too many"),
            ("ep", Some("eps"), "short words may miss one letter"),
            ("EPS", Some("eps"), "case costs nothing"),
            ("batch-size", Some("batch_size"), "neither does a dash"),
            ("e", None, "one letter says nothing"),
            ("epsilon", None, "four edits are more than a third of seven letters"),
            ("momentum", None, "nothing is near"),
            ("", None, "there is no word"),
            ("starts", Some("start"), "one edit to `start`; `steps` needs more"),
        ];
        for (word, expected, why) in table {
            assert_eq!(did_you_mean(word, &keys), expected, "{word}: {why}");
        }
        assert_eq!(did_you_mean(&"x".repeat(100_000), &keys), None, "very long words are not compared");
    }

    #[test]
    fn a_word_with_a_colon_lacks_a_space() {
        for (text, expected) in [
            ("loss:at", Some("`loss: at`")),
            ("  eps:0.3 alpha:0.1", Some("`eps: 0.3`")),
            ("loss: at", None),
            ("loss:", None),
            ("http://example.org", None),
            ("{a:1", None),
        ] {
            let help = expected.map(|pair| format!("a space belongs after the colon: {pair}"));
            assert_eq!(space_after_colon(text), help, "{text}");
        }
    }

    #[test]
    fn the_help_lists_what_would_do() {
        assert_eq!(suggest("pdg", &["fgsm", "pgd"], "known attacks"), "did you mean `pgd`? known attacks: fgsm, pgd");
        assert_eq!(suggest("zzz", &["fgsm", "pgd"], "known attacks"), "known attacks: fgsm, pgd");
    }
}
