//! Output for people: tables, pictures and progress.
//!
//! [`gather`] reads run folders and takes means over seeds; [`paper`] puts them beside published
//! figures; [`table`] sets accuracies side by side for a terminal, a README, a paper and a
//! spreadsheet; [`picture`] shows what attacks and masks do to images; [`chart`] draws curves, and
//! [`page`] puts all of it on one page of HTML; [`plot`] draws a curve in a terminal; [`progress`]
//! says how far a run is. Numbers come from the files that [`record`](foil_runs::record) keeps.

pub mod chart;
pub mod figures;
pub mod gallery;
pub mod gather;
mod number;
pub mod page;
pub mod paper;
pub mod picture;
pub mod plot;
pub mod progress;
pub mod table;

pub use gather::{Group, Run, Spread, Stage};
pub(crate) use number::thousands;
pub use progress::{Progress, Unit, reading};
pub use table::{Align, Cell, Column, Style, Table};
