//! Commands in messages as the user can type them: with the program's name as it was called.

use super::Cli;
use clap::CommandFactory;
use std::sync::LazyLock;

static COMMANDS: LazyLock<Vec<String>> =
    LazyLock::new(|| Cli::command().get_subcommands().map(|command| command.get_name().to_string()).collect());

/// `text` in which each `foil COMMAND` begins with what the user typed: `cargo foil eval` where
/// foil was started by `cargo foil`.
pub(super) fn as_typed(text: &str) -> String {
    replace(text, foil::program::typed())
}

fn replace(text: &str, typed: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("foil ") {
        let (before, after) = (&rest[..at], &rest[at + "foil ".len()..]);
        let word: String = after.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let begins = before.chars().next_back().is_none_or(|c| c.is_whitespace() || "`(;".contains(c));
        let is_command = begins && !before.ends_with("cargo ") && COMMANDS.contains(&word);
        out.push_str(before);
        out.push_str(if is_command { typed } else { "foil" });
        out.push(' ');
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_and_nothing_else_is() {
        let text = "`foil eval` says why; help: foil train --resume a; cargo foil list; foil is fast; runs/foil eval";
        let expected = "`./foil eval` says why; help: ./foil train --resume a; cargo foil list; foil is fast; \
                        runs/foil eval";
        assert_eq!(replace(text, "./foil"), expected);
        assert_eq!(replace(text, "foil"), text);
    }
}
