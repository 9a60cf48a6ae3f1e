//! What a library costs: to load, and in a step.

use super::{changed, library};
use crate::tiny::Place;
use foil::prelude::*;
use foil::testing::{loss_from_yaml, loss_on};
use foil_optimizers as _;
use foil_template as _; // the same plugins linked in, to compare with
use std::time::{Duration, Instant};

/// The template library with its plugins under other names, `templat0_loss` and so on: ten
/// libraries from one.
fn renamed(place: &Place, n: usize) -> std::path::PathBuf {
    let (from, to) = (b"template_", format!("templat{n}_"));
    changed(place, &format!("lib{n}.so"), |bytes| {
        let found: Vec<usize> = (0..bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from)).collect();
        found.into_iter().for_each(|i| bytes[i..i + to.len()].copy_from_slice(to.as_bytes()));
    })
}

/// The shortest of many times, which other programs on the machine disturb least.
fn shortest(times: usize, mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..times).map(|_| once()).min().unwrap()
}

/// In one process: ten libraries are loaded within a tenth of a second, and a call into one costs
/// nearly what a direct call does.
///
/// The figures of docs/results/speed.md: `cargo test --release --test dynamic speed --
/// --nocapture`.
#[test]
fn ten_libraries_load_at_once_and_a_call_costs_nothing() {
    let place = Place::with("");
    let files: Vec<_> = (0..10).map(|n| renamed(&place, n)).collect();
    let start = Instant::now();
    files.iter().for_each(|file| foil::plugin::load(file).unwrap());
    let loading = start.elapsed();

    let logits = Tensor::rand([100, 10], (Kind::Float, tch::Device::Cpu));
    let y = Tensor::zeros([100], (Kind::Int64, tch::Device::Cpu));
    let [linked, loaded] = ["template_loss", "templat3_loss"].map(loss_from_yaml);
    let call = |loss: &dyn Loss| shortest(2000, || drop(loss_on(loss, &logits, &logits, &y)));
    let (direct, across) = (call(linked.as_ref()), call(loaded.as_ref()));
    let size = std::fs::metadata(library("foil_template")).unwrap().len() / 1024;
    eprintln!(
        "ten libraries of {size} KiB: {loading:?}; a loss of 100 x 10 logits: linked {direct:?}, loaded {across:?}"
    );
    // Ten times what is promised for an idle machine, since tests share theirs.
    assert!(loading < Duration::from_secs(1), "{loading:?}");
    assert!(across < direct * 2, "{across:?} {direct:?}");
}
