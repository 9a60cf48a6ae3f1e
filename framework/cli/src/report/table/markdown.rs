//! A table in Markdown, as GitHub reads it.

use super::data::{Align, Table};

impl Table {
    /// The table with pipes; the title is a bold line above it.
    pub fn markdown(&self) -> String {
        let grid = self.grid();
        let mut out = String::new();
        if !self.title.is_empty() {
            out += &format!("**{}**\n\n", escape(&self.title));
        }
        let mut line = |cells: Vec<String>| out += &format!("| {} |\n", cells.join(" | "));
        line(grid.columns.iter().map(|column| escape(&column.name)).collect());
        let rule = |align| if align == Align::Left { ":---" } else { "---:" };
        line(grid.columns.iter().map(|column| rule(column.align).to_string()).collect());
        for row in &grid.rows {
            let cells = row.iter().zip(&grid.columns).map(|(place, column)| {
                let text = escape(&place.cell.plain(column.decimals));
                if place.best { format!("**{text}**") } else { text }
            });
            line(cells.collect());
        }
        out
    }
}

/// `text` as itself. Underscores inside words, as in `cat_cw`, mean nothing to Markdown and stay.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let inside = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        if matches!(c, '\\' | '|' | '*' | '`' | '<' | '[' | ']' | '~') || c == '_' && !inside {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_only_marks() {
        assert_eq!(escape("cat_cw _x_ a|b *c* <d>\n"), "cat_cw \\_x\\_ a\\|b \\*c\\* \\<d> ");
    }
}
