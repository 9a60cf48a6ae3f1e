//! A table for a paper: `booktabs` rules, best values bold.

use super::data::{Align, Cell, Column, Place, Table};

impl Table {
    /// A `table` environment with the title as its caption. The document needs
    /// `\usepackage{booktabs}`.
    pub fn latex(&self) -> String {
        let grid = self.grid();
        let spec: String =
            grid.columns.iter().map(|column| if column.align == Align::Left { 'l' } else { 'r' }).collect();
        let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
        let mut out = String::from("\\begin{table}[t]\n  \\centering\n");
        if !self.title.is_empty() {
            out += &format!("  \\caption{{{}}}\n", escape(&self.title));
        }
        out += &format!("  \\begin{{tabular}}{{{spec}}}\n    \\toprule\n");
        out += &line(grid.columns.iter().map(|column| escape(&column.name)).collect());
        out += "    \\midrule\n";
        for row in &grid.rows {
            out += &line(row.iter().zip(&grid.columns).map(|(place, column)| cell(*place, column)).collect());
        }
        out += "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n";
        out
    }
}

fn cell(place: Place, column: &Column) -> String {
    let decimals = column.decimals;
    match place.cell {
        Cell::MeanStd { mean, std } if place.best => format!("$\\mathbf{{{mean:.decimals$}}} \\pm {std:.decimals$}$"),
        Cell::MeanStd { mean, std } => format!("${mean:.decimals$} \\pm {std:.decimals$}$"),
        Cell::Percent(value) | Cell::Number(value) if *value < 0.0 => {
            let number = format!("{value:.decimals$}");
            if place.best { format!("$\\mathbf{{{number}}}$") } else { format!("${number}$") }
        }
        other if place.best => format!("\\textbf{{{}}}", escape(&other.plain(decimals))),
        other => escape(&other.plain(decimals)),
    }
}

/// `text` as itself in running text, under any engine: characters that `inputenc` does not know
/// are written as commands.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut before, mut left) = (' ', text.chars().peekable());
    while let Some(c) = left.next() {
        match c {
            // A minus sign, not a hyphen.
            '-' if !before.is_alphanumeric() && left.peek().is_some_and(char::is_ascii_digit) => out += "$-$",
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '<' => out += "\\textless{}",
            '>' => out += "\\textgreater{}",
            '|' => out += "\\textbar{}",
            '"' => out += "\\char34{}", // \textquotedbl is not in every font encoding
            // After the `\\` of the line above these would be its arguments.
            '[' | ']' | '*' => out.extend(['{', c, '}']),
            '–' => out += "--",
            '—' => out += "---",
            '…' => out += "\\ldots{}",
            '±' => out += "$\\pm$",
            '×' => out += "$\\times$",
            '∞' => out += "$\\infty$",
            '≤' => out += "$\\leq$",
            '≥' => out += "$\\geq$",
            'α' => out += "$\\alpha$",
            'β' => out += "$\\beta$",
            'γ' => out += "$\\gamma$",
            'δ' => out += "$\\delta$",
            'ε' => out += "$\\varepsilon$",
            'κ' => out += "$\\kappa$",
            'λ' => out += "$\\lambda$",
            '‖' => out += "$\\|$",
            '≠' => out += "$\\neq$",
            '′' => out += "$'$",
            'τ' => out += "$\\tau$",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_a_command() {
        assert_eq!(escape("50% of cat_cw & {AT}"), "50\\% of cat\\_cw \\& \\{AT\\}");
        assert_eq!(
            escape("a\\b~c^d <e> [f]"),
            "a\\textbackslash{}b\\textasciitilde{}c\\textasciicircum{}d \\textless{}e\\textgreater{} {[}f{]}"
        );
        assert_eq!(escape("wrn-34-10: -1.20 [-2, 1]"), "wrn-34-10: $-$1.20 {[}$-$2, 1{]}");
        assert_eq!(escape("ε ≤ 8/255 – β"), "$\\varepsilon$ $\\leq$ 8/255 -- $\\beta$");
    }
}
