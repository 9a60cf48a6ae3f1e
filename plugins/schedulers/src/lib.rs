//! Numbers as functions of progress.

mod count;
mod multistep;

pub use count::Count;
pub use multistep::Multistep;
