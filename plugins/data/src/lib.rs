//! Data sets: where a run's images come from.

mod published;
