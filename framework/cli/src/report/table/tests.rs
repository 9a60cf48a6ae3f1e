//! One table in all its forms, and the corners: narrow terminals, ties, rows of another length.

use super::*;

fn table() -> Table {
    let text = |text: &str| Cell::Text(text.into());
    Table {
        title: "CIFAR-10, Linf 8/255".into(),
        columns: vec![
            Column::text("method"),
            Column::accuracy("natural"),
            Column::accuracy("pgd20"),
            Column { higher_is_better: Some(false), ..Column::number("hours") },
        ],
        rows: vec![
            vec![text("AT"), Cell::Percent(84.234), Cell::MeanStd { mean: 51.5, std: 0.125 }, Cell::Number(3.0)],
            vec![text("cat_cw | ours"), Cell::Percent(84.231), Cell::MeanStd { mean: 55.0, std: 0.25 }, Cell::Missing],
            vec![text("TRADES"), Cell::Percent(f64::NAN), Cell::Missing, Cell::Number(-2.5)],
        ],
    }
}

#[test]
fn terminal() {
    let expected = "\
CIFAR-10, Linf 8/255
┌───────────────┬─────────────┬──────────────┬───────┐
│ method        │ natural (%) │        pgd20 │ hours │
├───────────────┼─────────────┼──────────────┼───────┤
│ AT            │       84.23 │ 51.50 ± 0.12 │  3.00 │
│ cat_cw | ours │       84.23 │ 55.00 ± 0.25 │     – │
│ TRADES        │         NaN │            – │ -2.50 │
└───────────────┴─────────────┴──────────────┴───────┘
";
    assert_eq!(table().terminal(Style::default()), expected);
}

/// Bold adds no width, and values shown as equal are equally bold.
#[test]
fn terminal_in_colour() {
    let shown = table().terminal(Style { color: true, width: Some(80), whole: false });
    assert!(shown.starts_with("\x1b[1mCIFAR-10, Linf 8/255\x1b[0m\n"));
    assert_eq!(shown.matches("\x1b[1m84.23\x1b[0m").count(), 2);
    assert!(shown.contains("│ \x1b[1m55.00 ± 0.25\x1b[0m │") && shown.contains("│ \x1b[1m-2.50\x1b[0m │"), "{shown}");
    assert_eq!(shown.replace("\x1b[1m", "").replace("\x1b[0m", ""), table().terminal(Style::default()));
}

#[test]
fn a_narrow_terminal_cuts_words_then_splits() {
    let expected = "\
CIFAR-10, Linf 8/255
┌──────────────┬─────────────┐
│ method       │ natural (%) │
├──────────────┼─────────────┤
│ AT           │       84.23 │
│ cat_cw | ou… │       84.23 │
│ TRADES       │         NaN │
└──────────────┴─────────────┘
┌──────────────┬──────────────┐
│ method       │        pgd20 │
├──────────────┼──────────────┤
│ AT           │ 51.50 ± 0.12 │
│ cat_cw | ou… │ 55.00 ± 0.25 │
│ TRADES       │            – │
└──────────────┴──────────────┘
┌──────────────┬───────┐
│ method       │ hours │
├──────────────┼───────┤
│ AT           │  3.00 │
│ cat_cw | ou… │     – │
│ TRADES       │ -2.50 │
└──────────────┴───────┘
";
    let narrow = Style { color: false, width: Some(32), whole: false };
    assert_eq!(table().terminal(narrow), expected);
    assert!(!table().terminal(Style { width: Some(0), ..narrow }).is_empty());
    let whole = table().terminal(narrow.whole());
    assert!(!whole.contains('…') && whole.lines().count() > 10, "{whole}");
}

#[test]
fn markdown() {
    let expected = "\
**CIFAR-10, Linf 8/255**

| method | natural (%) | pgd20 | hours |
| :--- | ---: | ---: | ---: |
| AT | **84.23** | 51.50 ± 0.12 | 3.00 |
| cat_cw \\| ours | **84.23** | **55.00 ± 0.25** | – |
| TRADES | NaN | – | **-2.50** |
";
    assert_eq!(table().markdown(), expected);
}

#[test]
fn latex() {
    let expected = r"\begin{table}[t]
  \centering
  \caption{CIFAR-10, Linf 8/255}
  \begin{tabular}{lrrr}
    \toprule
    method & natural (\%) & pgd20 & hours \\
    \midrule
    AT & \textbf{84.23} & $51.50 \pm 0.12$ & 3.00 \\
    cat\_cw \textbar{} ours & \textbf{84.23} & $\mathbf{55.00} \pm 0.25$ & -- \\
    TRADES & NaN & -- & $\mathbf{-2.50}$ \\
    \bottomrule
  \end{tabular}
\end{table}
";
    assert_eq!(table().latex(), expected);
}

#[test]
fn csv() {
    let mut table = table();
    table.rows[1][0] = Cell::Text("ours, \"best\"".into());
    let expected = "\
method,natural,pgd20,pgd20_std,hours
AT,84.234,51.5,0.125,3.0
\"ours, \"\"best\"\"\",84.231,55.0,0.25,
TRADES,NaN,,,-2.5
";
    assert_eq!(table.csv(), expected);
}

#[test]
fn rows_of_another_length_lose_nothing() {
    let rows = vec![vec![], vec![Cell::Text("AT\x1b[31m\n".into()), Cell::Number(1.0)]];
    let table = Table { title: String::new(), columns: vec![Column::text("method")], rows };
    let expected = "\
┌──────────┬──────┐
│ method   │      │
├──────────┼──────┤
│ –        │ –    │
│ AT [31m  │ 1.00 │
└──────────┴──────┘
";
    assert_eq!(table.terminal(Style::default()), expected);
    assert_eq!(Table::default().terminal(Style::default()), "");
    for form in [Table::markdown, Table::latex, Table::csv] {
        assert!(!form(&table).is_empty() && !form(&Table::default()).is_empty());
    }
}
