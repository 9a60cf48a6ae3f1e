//! What was measured, as tables.

use super::Sides;
use crate::report::{Cell, Column, Table};

/// One network on one problem.
#[derive(Debug, Clone)]
pub struct Row {
    /// The problem.
    pub problem: &'static str,
    /// Which network: what it was trained by, or what it was made as.
    pub network: &'static str,
    /// What was measured.
    pub sides: Sides,
}

/// A column: its heading, and its cell for a row.
type Quantity<'a> = (&'a str, &'a dyn Fn(&Sides) -> Cell);

/// Both theorems, the two terms of Eq. 4, and what is ours, each as a table with a row for each of
/// `rows`.
pub fn tables(rows: &[Row]) -> [Table; 4] {
    [
        table(
            "Theorem 1 (Eq. 5): R_rob ≤ R_cali",
            rows,
            &[
                ("R(f)", &|s| number(s.natural)),
                ("R_rob(f)", &|s| number(s.robust)),
                ("R_cali(f)", &|s| number(s.calibrated)),
                ("R_rob ≤ R_cali", &|s| holds(s.robust, s.calibrated)),
                ("crossed balls", &|s| number(s.crossed)),
            ],
        ),
        table(
            "Theorem 2 (Eq. 6): R_cali − R* ≤ ψ⁻¹(R_φ − R_φ*) + E max φ(f(X′)Y) over f_oracle(X′) = Y; R* = R_φ* = 0",
            rows,
            &[
                ("R_cali − R*", &|s| number(s.calibrated)),
                ("R_φ − R_φ*", &|s| number(s.surrogate)),
                ("ψ⁻¹(R_φ − R_φ*)", &|s| number(s.excess)),
                ("E max φ", &|s| number(s.constrained)),
                ("right side", &|s| number(s.theorem_2())),
                ("left ≤ right", &|s| holds(s.calibrated, s.theorem_2())),
            ],
        ),
        table(
            "Eq. 4: the inner maximum of Eq. 1, where the oracle gives X′ the class Y (a), and where it does not (b)",
            rows,
            &[
                ("E max φ(f(X′)Y)", &|s| number(s.whole)),
                ("(a)", &|s| number(s.whole - s.term_b)),
                ("(b)", &|s| number(s.term_b)),
                ("X′ in (b)", &|s| number(s.share_b)),
            ],
        ),
        table(
            "Ours, which holds for every f",
            rows,
            &[
                ("R_rob over (a)", &|s| number(s.robust_within)),
                ("R_cali(f)", &|s| number(s.calibrated)),
                ("A: ψ⁻¹ + E max φ(f(X′)f_oracle(X′))", &|s| number(s.corrected())),
                ("B: R_φ + E max φ(f(X)Y · f(X′)f_oracle(X′))", &|s| number(s.ours())),
                ("holds", &|s| {
                    if s.robust_within <= s.calibrated {
                        holds(s.calibrated, s.corrected().min(s.ours()))
                    } else {
                        Cell::Text("NO".into())
                    }
                }),
                ("wrong part of a ball", &|s| number(s.within)),
            ],
        ),
    ]
}

fn table(title: &str, rows: &[Row], quantities: &[Quantity]) -> Table {
    let names = ["problem", "network"].map(Column::text);
    let columns = quantities.iter().map(|entry| Column { decimals: 3, ..Column::number(entry.0) });
    let cells = rows.iter().map(|row| {
        let words = [row.problem, row.network].map(|word| Cell::Text(word.into()));
        words.into_iter().chain(quantities.iter().map(|entry| (entry.1)(&row.sides))).collect()
    });
    Table { title: title.into(), columns: names.into_iter().chain(columns).collect(), rows: cells.collect() }
}

fn number(value: f64) -> Cell {
    Cell::Number(value)
}

fn holds(left: f64, right: f64) -> Cell {
    Cell::Text(if left <= right { "yes" } else { "NO" }.into())
}
