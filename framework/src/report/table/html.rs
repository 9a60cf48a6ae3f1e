//! A table in HTML, for the report.

use super::data::{Align, Cell, Table};
use maud::{Markup, html};

impl Table {
    /// The table, with the title as its caption. Where it is wider than the screen it can be pushed sideways.
    pub fn html(&self) -> Markup {
        let grid = self.grid();
        let class = |align| if align == Align::Right { "n" } else { "" };
        html! {
            div class="wide" tabindex="0" role="region" aria-label=(self.title) {
                table {
                    @if !self.title.is_empty() { caption { (self.title) } }
                    thead { tr { @for column in &grid.columns { th scope="col" class=(class(column.align)) { (column.name) } } } }
                    tbody {
                        @for row in &grid.rows {
                            tr {
                                @for (n, (place, column)) in row.iter().zip(&grid.columns).enumerate() {
                                    @let text = place.cell.plain(column.decimals);
                                    @let missing = *place.cell == Cell::Missing;
                                    @if n == 0 { th scope="row" { (text) } }
                                    @else if place.best { td class=(class(column.align)) { strong { (text) } } }
                                    @else { td class=(class(column.align)) { @if missing { span class="soft" { (text) } } @else { (text) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
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
}
