//! Symbols of formulas in a drawing's words: `x'_0` and `f_{oracle}` have their index set lower and
//! smaller.

use maud::{Markup, html};

/// A piece of text, and whether it is an index.
type Piece = (String, bool);

/// `words` as the content of a `text` element.
pub(super) fn symbols(words: &str) -> Markup {
    let pieces = pieces(words);
    // An index moves the line down, and what follows moves it up again.
    let shift = |n: usize| match (n.checked_sub(1).is_some_and(|before| pieces[before].1), pieces[n].1) {
        (false, true) => Some("0.28em"),
        (true, false) => Some("-0.20em"),
        _ => None,
    };
    html! {
        @for (n, (piece, index)) in pieces.iter().enumerate() {
            tspan dy=[shift(n)] font-size=[index.then_some("72%")] { (piece) }
        }
    }
}

/// The words without the characters that mark an index.
pub(super) fn plain(words: &str) -> String {
    pieces(words).into_iter().map(|piece| piece.0).collect()
}

/// `_` makes the next character an index, or everything between braces.
fn pieces(words: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = words;
    while let Some((before, after)) = rest.split_once('_') {
        pieces.push((before.to_string(), false));
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let single = || after.split_at(after.chars().next().map_or(0, char::len_utf8));
        let (index, after) = braced.unwrap_or_else(single);
        pieces.push((index.to_string(), true));
        rest = after;
    }
    pieces.push((rest.to_string(), false));
    pieces.retain(|piece| !piece.0.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_a_character_or_what_stands_in_braces() {
        assert_eq!(plain("x'_0 of f_{oracle}(x)"), "x'0 of foracle(x)");
        let found = symbols("f_{or}(x)").into_string();
        assert_eq!(found.matches("72%").count(), 1);
        assert!(found.contains(">or</tspan>") && found.contains(">(x)</tspan>"), "{found}");
        assert_eq!(pieces("a_"), [("a".to_string(), false)]);
    }
}
