//! What `table`, `report` and `watch` show of a folder, as text. Fuzzing calls this.

use super::{report, table, words};
use crate::compare::Comparison;
use crate::report::Style;
use crate::report::paper::{fill, numbers, table as paper};
use crate::watch::{Load, View, draw};
use foil::Result;
use foil::error::shown;
use ratatui::{Terminal, backend::TestBackend};
use std::path::Path;

/// A folder's runs as they are shown.
#[derive(Debug, Default)]
pub struct Looked {
    /// What is printed at the terminal.
    pub printed: String,
    /// The page.
    pub page: String,
}

/// Looks at the runs in and below a folder.
///
/// # Errors
/// What the commands report: there is no run, or none that can be read.
pub fn looked(folder: &Path) -> Result<Looked> {
    let folders = [folder.to_path_buf()];
    let mut printed = String::new();
    let mut view = View::new(folders.to_vec());
    view.refresh();
    view.runs.iter().for_each(|run| printed += &format!("{}\n", shown(&run.line())));
    let drawn = Terminal::new(TestBackend::new(100, 40))
        .map(|mut terminal| terminal.draw(|frame| draw(frame, &view, &Load::default(), 0)).map(drop));
    let (Ok(Ok(())) | Err(_)) = drawn; // in memory nothing fails

    let (rows, notes) = table::rows(&folders)?;
    notes.iter().for_each(|note| printed += &format!("note: {}\n", shown(note)));
    for number in numbers() {
        let ours: Vec<_> = rows.iter().map(table::ours).collect();
        printed.extend(paper(number).map(|paper| fill(&paper, &ours).table.terminal(Style::default())));
    }
    let compared = Comparison { rows, ..Comparison::default() };
    printed += &compared.table().terminal(Style::default());
    match table::per_class(&compared, None) {
        Ok(classes) => printed += &classes.terminal(Style::default()),
        Err(error) => printed += &format!("{}\n", shown(&words(&error))),
    }
    Ok(Looked { printed, page: report::read(&folders)?.html() })
}
