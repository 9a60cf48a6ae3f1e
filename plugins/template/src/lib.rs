//! One plugin of each kind, each as small as it can be.
//!
//! `foil new-plugin KIND NAME` copies one of these files, with the names changed, into a crate of
//! its own.

mod attack;
mod augment;
mod average;
mod data;
mod loss;
mod model;
mod objective;
mod optimizer;
mod scheduler;
mod update;

foil::export_plugin!();
