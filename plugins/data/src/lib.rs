//! Data sets: where a run's images come from.

mod arrays;
mod corrupted;
mod folder;
mod mat;
mod pickles;
mod places;
mod published;
mod svhn;

#[doc(hidden)]
pub mod test_set;
