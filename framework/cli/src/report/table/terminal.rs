//! A table in a terminal: a box of light lines, bold where it is best.

use std::io::IsTerminal;

use super::data::{Align, Cell, Grid, Table};
use foil::error::misleads;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether the best values and the title are bold.
    pub color: bool,
    /// Characters in a line; `None` for as many as the table needs.
    pub width: Option<usize>,
    /// Whether words are never cut: what does not fit comes in another box below.
    pub whole: bool,
}

impl Style {
    /// The style for standard output: its width and colour in a terminal, neither in a pipe or
    /// file. A variable `NO_COLOR` that is not empty (no-color.org), or `TERM=dumb`, turns the
    /// colour off.
    pub fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        Style { color: terminal && !dumb && !set("NO_COLOR"), width: width.filter(|_| terminal), whole: false }
    }

    /// The same, and words are never cut.
    #[must_use]
    pub fn whole(self) -> Self {
        Style { whole: true, ..self }
    }
}

/// Words are not cut below this many characters.
const NARROWEST: usize = 12;

impl Table {
    /// The table in a box. Where it is wider than the terminal, its longest words are cut ("…"),
    /// and if that is not enough it comes in several boxes, each with the first column again.
    pub fn terminal(&self, style: Style) -> String {
        let grid = self.grid();
        let texts: Vec<Vec<String>> = cells(&grid);
        let heads: Vec<String> = grid.columns.iter().map(|column| clean(&column.name)).collect();
        let mut widths: Vec<usize> = (0..heads.len())
            .map(|column| texts.iter().map(|row| length(&row[column])).fold(length(&heads[column]), usize::max))
            .collect();
        let limit = style.width.unwrap_or(usize::MAX);
        if !style.whole {
            shrink(&mut widths, &grid, limit);
        }

        let mut out = String::new();
        if !self.title.is_empty() {
            out += &bold(&clean(&self.title), style.color);
            out.push('\n');
        }
        for group in groups(&widths, limit) {
            let rule = |left, between, right| {
                let lines: Vec<String> = group.iter().map(|&column| "─".repeat(widths[column] + 2)).collect();
                format!("{left}{}{right}\n", lines.join(between))
            };
            let line = |row: &[String], best: &dyn Fn(usize) -> bool| {
                let cell = |&column: &usize| {
                    let text = cut(&row[column], widths[column]);
                    let space = " ".repeat(widths[column] - length(&text));
                    let text = bold(&text, style.color && best(column));
                    match grid.columns[column].align {
                        Align::Left => format!(" {text}{space} "),
                        Align::Right => format!(" {space}{text} "),
                    }
                };
                format!("│{}│\n", group.iter().map(cell).collect::<Vec<_>>().join("│"))
            };
            out += &rule("┌", "┬", "┐");
            out += &line(&heads, &|_| false);
            out += &rule("├", "┼", "┤");
            for (row, places) in texts.iter().zip(&grid.rows) {
                out += &line(row, &|column| places[column].best);
            }
            out += &rule("└", "┴", "┘");
        }
        out
    }
}

fn cells(grid: &Grid) -> Vec<Vec<String>> {
    let text = |(place, column): (&super::data::Place, &super::Column)| clean(&place.cell.plain(column.decimals));
    grid.rows.iter().map(|row| row.iter().zip(&grid.columns).map(text).collect()).collect()
}

/// The width of a box with such columns.
fn total(widths: impl Iterator<Item = usize>) -> usize {
    widths.map(|width| width + 3).sum::<usize>() + 1
}

/// Takes characters from the longest column of words until the box fits or words are short. Numbers
/// are never cut.
fn shrink(widths: &mut [usize], grid: &Grid, limit: usize) {
    let words: Vec<usize> = (0..widths.len())
        .filter(|&column| grid.rows.iter().any(|row| matches!(row[column].cell, Cell::Text(_))))
        .collect();
    while total(widths.iter().copied()) > limit {
        let longest = words.iter().copied().filter(|&column| widths[column] > NARROWEST);
        let Some(column) = longest.max_by_key(|&column| widths[column]) else { return };
        widths[column] -= 1;
    }
}

/// Columns that fit into a line together, the first one in front of each group.
fn groups(widths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for column in 1..widths.len() {
        match groups.last_mut() {
            Some(group) if total(group.iter().chain([&column]).map(|&one| widths[one])) <= limit => group.push(column),
            _ => groups.push(vec![0, column]),
        }
    }
    if groups.is_empty() && !widths.is_empty() {
        groups.push(vec![0]);
    }
    groups
}

/// Without characters that could move the cursor, end the line or reorder it.
fn clean(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { ' ' } else { c }).collect()
}

/// In characters: names and numbers here take one place each.
fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_string();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn bold(text: &str, on: bool) -> String {
    if on { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
}
