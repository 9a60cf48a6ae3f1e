//! The texts below a command's options, laid out for the terminal's width.

use clap::Command;

/// The maximum width, and the width without a terminal; the same as clap's.
const WIDEST: u16 = 100;

/// The command and its subcommands, with the texts below their options fitted to the terminal.
pub(super) fn fitted(command: Command) -> Command {
    let (_, columns) = console::Term::stdout().size_checked().unwrap_or((0, WIDEST));
    within(command, usize::from(columns.min(WIDEST)))
}

fn within(mut command: Command, width: usize) -> Command {
    if let Some(text) = command.get_after_help() {
        let text = lay_out(&text.to_string(), width);
        command = command.after_help(text);
    }
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_string()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |below| within(below, width)))
}

/// The description of an example that is too long goes to its own line; prose becomes one line,
/// which clap wraps.
fn lay_out(text: &str, width: usize) -> String {
    let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (lines.last_mut(), line.trim_start().rsplit_once("  ")) {
            (Some(last), _) if is_prose(last) && is_prose(line) => *last += &format!(" {line}"),
            (_, about) if line.starts_with(' ') && line.chars().count() > width => {
                let (example, about) = about.map_or((line.trim(), None), |(example, about)| (example, Some(about)));
                lines.extend(continued(example.trim(), width));
                lines.extend(about.map(|about| format!("      {}", about.trim())));
            }
            _ => lines.push(line.to_string()),
        }
    }
    lines.join("\n")
}

/// Wraps a command with the continuation lines of a shell.
fn continued(command: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in command.split(' ') {
        let last = lines.len() - 1;
        if lines[last].chars().count() + word.chars().count() + " ".len() + r" \".len() > width
            && lines[last].trim() != ""
        {
            lines[last] += r" \";
            lines.push(format!("    {word}"));
        } else {
            lines[last] += &format!(" {word}");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_examples_take_two_lines_and_prose_one() {
        let text =
            "Examples:\n  foil a            short\n  foil b --long     what it does\n\nProse that is\nbroken by hand.";
        let expected = "Examples:\n  foil a            short\n  foil b --long\n      what it does\n\nProse that is broken by hand.";
        assert_eq!(lay_out(text, 30), expected);
        let command = "  torchrun --no-python foil train a.yaml --run-dir runs/a";
        let expected = "  torchrun --no-python foil \\\n    train a.yaml --run-dir \\\n    runs/a";
        assert_eq!(lay_out(command, 30), expected);
    }
}
