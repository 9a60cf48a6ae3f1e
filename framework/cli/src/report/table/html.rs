//! A table in HTML, for the report.

use super::data::{Align, Cell, Column, Grid, Place, Table};
use maud::{Markup, html};

impl Table {
    /// The table, with the title as its caption. Where it is wider than the screen it can be pushed
    /// sideways.
    pub fn html(&self) -> Markup {
        let grid = self.grid();
        let rows = html! { tbody { @for places in &grid.rows { (row(places, &grid.columns)) } } };
        self.framed("wide", &grid.columns, &rows)
    }

    /// The table where a row without a word in the first column belongs to the one above it: each
    /// such group has its name on a line of its own, and its rows begin with the second column, so
    /// that more of them fits a narrow screen. A table in which no row belongs to another is as
    /// [`Table::html`] has it.
    pub fn html_in_groups(&self) -> Markup {
        let Grid { columns, rows } = self.grid();
        let goes_on = |row: &Vec<Place>| row.first().is_some_and(|place| *place.cell == Cell::Text(String::new()));
        if !rows.iter().any(goes_on) {
            return self.html();
        }
        let groups = rows.chunk_by(|_, next| goes_on(next));
        let columns = &columns[1..];
        let rows = html! {
            @for group in groups {
                tbody {
                    tr class="group" { th colspan=(columns.len()) scope="rowgroup" { span { (group[0][0].cell.plain(0)) } } }
                    @for places in group { (row(&places[1..], columns)) }
                }
            }
        };
        self.framed("wide grouped", columns, &rows)
    }

    fn framed(&self, class: &str, columns: &[Column], rows: &Markup) -> Markup {
        html! {
            div class=(class) tabindex="0" role="region" aria-label=(self.title) {
                table {
                    @if !self.title.is_empty() { caption { (self.title) } }
                    thead { tr { @for column in columns { th scope="col" class=(side(column)) { (column.name) } } } }
                    (rows)
                }
            }
        }
    }
}

/// A row with a heading.
fn row(places: &[Place], columns: &[Column]) -> Markup {
    html! {
        tr {
            @for (n, (place, column)) in places.iter().zip(columns).enumerate() {
                @let text = place.cell.plain(column.decimals);
                @let missing = *place.cell == Cell::Missing;
                @if n == 0 { th scope="row" { (text) } }
                @else if place.best { td class=(side(column)) { strong { (text) } } }
                @else { td class=(side(column)) { @if missing { span class="soft" { (text) } } @else { (text) } } }
            }
        }
    }
}

fn side(column: &Column) -> &'static str {
    if column.align == Align::Right { "n" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::*;

    #[test]
    fn names_are_only_names() {
        let table = Table {
            title: "a & b".into(),
            columns: vec![Column::text("<script>"), Column::accuracy("natural")],
            rows: vec![vec![Cell::Text("<i>".into()), Cell::Percent(84.2)], vec![]],
        };
        let html = table.html().into_string();
        assert!(html.contains("a &amp; b") && html.contains("&lt;script&gt;") && html.contains("&lt;i&gt;"), "{html}");
        assert!(html.contains("<strong>84.20</strong>") && !html.contains("<i>"), "{html}");
    }

    #[test]
    fn rows_that_go_on_stand_in_a_group() {
        let text = |text: &str| Cell::Text(text.into());
        let row = |name: &str, whose: &str, number: f64| vec![text(name), text(whose), Cell::Number(number)];
        let columns = vec![Column::text("method"), Column::text("figures"), Column::number("natural")];
        let rows = vec![row("AT", "ours", 84.0), row("", "paper", 83.0), row("FAT", "ours", 85.0)];
        let html = Table { title: "t".into(), columns, rows }.html_in_groups().into_string();
        let groups: Vec<&str> = html.split("<tbody>").skip(1).collect();
        assert_eq!(groups.len(), 2, "{html}");
        let head = "<tr class=\"group\"><th colspan=\"2\" scope=\"rowgroup\"><span>AT</span></th></tr>";
        let first = format!("{head}<tr><th scope=\"row\">ours</th><td class=\"n\">84.00</td></tr>");
        assert!(groups[0].starts_with(&first) && groups[0].matches("<tr").count() == 3, "{html}");
        assert!(!html.contains("method"), "its cells are the groups' names: {html}");
    }

    #[test]
    fn without_such_rows_it_is_the_table() {
        let table = Table {
            title: String::new(),
            columns: vec![Column::text("method")],
            rows: vec![vec![Cell::Text("AT".into())], vec![]],
        };
        assert_eq!(table.html_in_groups().into_string(), table.html().into_string());
    }
}
