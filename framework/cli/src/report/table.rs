//! Tables of results, in four forms: [`Table::terminal`], [`Table::markdown`], [`Table::latex`] and
//! [`Table::csv`].
//!
//! The first three round to the column's decimals, put the best value of a column in bold, all of
//! equal ones, and write "–" where nothing was measured. CSV is for programs: every digit, no bold,
//! an empty field.

mod csv;
mod data;
mod heading;
mod html;
mod latex;
mod markdown;
mod terminal;

pub use data::{Align, Cell, Column, Table};
pub use heading::heading;
pub use terminal::Style;

#[cfg(test)]
mod tests;
