//! Memory that one side allocates and the other frees.

use super::methods::EVERY_KIND;
use super::path;
use crate::tiny::Place;

/// Batches, settings, errors, names and tensors cross in a step of every kind of plugin.
///
/// `cargo test --release --test dynamic memory -- --ignored`; 2026-11-22, valgrind 3.19: 641,317
/// frees, no error, nothing definitely lost.
#[test]
#[ignore = "needs valgrind, and takes minutes"]
fn valgrind_finds_nothing() {
    let place = Place::with(EVERY_KIND);
    let foil = env!("CARGO_BIN_EXE_foil");
    let template = path("foil_template");
    let train = [foil, "train", "tiny.yaml", "--no-eval", "train.epochs=1", "--run-dir", "run", "--plugins", &template];
    // libtorch reads bytes that it has not written, in vector code; reads and writes beyond blocks
    // and wrong frees are what is asked for.
    let options = ["--undef-value-errors=no", "--error-exitcode=9"];
    let output = place.command("valgrind", &[&options[..], &train].concat()).output().expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("definitely lost: 0 bytes"), "{said}");
}
