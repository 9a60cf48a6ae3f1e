//! The real program over MPI, started by mpirun: it computes what one process computes, over 1, 2
//! and 4 ranks.
//!
//! Only in a build with MPI: `cargo test --release --features mpi --test mpi`. What does not depend
//! on the transport is tested in `distributed.rs`.

mod ranks;
mod tiny;

use ranks::{AT, FAT, MMA, NORM, Ranks, assert_close, numbers};
use std::time::Duration;
use tiny::{CAT, Ended, Place, Run};

const SIZES: [usize; 3] = [1, 2, 4];

/// Runs `foil ARGS` as `size` ranks of MPI, for two minutes at most.
fn mpirun(place: &Place, size: usize, args: &[&str]) -> Ended {
    let size = size.to_string();
    // As many ranks as are asked for, on whatever cores there are; tests may run as root in a
    // container.
    let words = ["--oversubscribe", "--allow-run-as-root", "--bind-to", "none", "--timeout", "120", "-n", &size];
    let mut command = place.command("mpirun", &words);
    command.arg(env!("CARGO_BIN_EXE_foil")).args(args).env("FOIL_TRANSPORT", "mpi").env("FOIL_TIMEOUT", "20");
    let output = command.output().expect("mpirun is not installed");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn train(place: &Place, size: usize, run: &str, overrides: &[&str]) -> Run {
    mpirun(place, size, &[&["train", "tiny.yaml", "--no-eval", "--run-dir", run], overrides].concat()).ok();
    let run = place.run(run);
    let log = run.text("log.txt");
    let ranks = if size == 1 { "1 rank (mpi)".to_string() } else { format!("{size} ranks (mpi)") };
    assert!(log.contains(&ranks) && !log.contains("came apart"), "{log}");
    run
}

/// Trains in one process and over MPI, and compares what they keep.
fn same_as_one(yaml: &str, tolerance: f64) {
    let place = Place::with(yaml);
    let one = place.train("one", &[]);
    for size in SIZES {
        assert_close(&train(&place, size, &format!("ranks{size}"), &[]), &one, tolerance);
    }
}

#[test]
fn adversarial_training_with_uneven_and_empty_shares() {
    same_as_one(AT, 2e-6);
}

// The tolerances are those of `distributed.rs`, with their reasons.
#[test]
fn mma_with_its_radii() {
    same_as_one(MMA, 1e-5);
}

#[test]
fn cat_with_its_mask_network() {
    same_as_one(&CAT.replace("epochs: 3", "epochs: 1"), 1e-3);
}

#[test]
fn fat_with_dropout() {
    same_as_one(FAT, 2e-3);
}

#[test]
fn synchronised_batch_norm() {
    let place = Place::with(NORM);
    let one = place.train("one", &[]);
    let off = |run: &Run| {
        let [ours, theirs] = [run, &one].map(|run| numbers(&run.tensors("state.safetensors").0["model.stats"]));
        ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let local = off(&train(&place, 2, "local", &["train.batch_norm=local"]));
    for size in SIZES {
        let run = train(&place, size, &format!("ranks{size}"), &[]);
        assert_close(&run, &one, 0.05);
        assert!(off(&run) * 10.0 < local, "{:e} {local:e}", off(&run));
    }
}

#[test]
fn evaluations_are_those_of_one_process() {
    let place = Place::with(AT);
    place.train("run", &[]);
    place.foil(&["eval", "run", "--out", "one.json"]).ok();
    mpirun(&place, 2, &["eval", "run", "--out", "two.json"]).ok();
    let accuracies = |file: &str| {
        let record: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(place.path(file)).unwrap()).unwrap();
        record["entries"].as_array().unwrap().iter().map(|entry| entry["accuracy"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(accuracies("one.json"), accuracies("two.json"));
}

#[test]
fn a_rank_that_fails_ends_all_with_its_error() {
    let place = Place::with(AT);
    // Rank 0 cannot write where a file is in the way.
    std::fs::write(place.path("taken"), "").unwrap();
    let ended = mpirun(&place, 2, &["train", "tiny.yaml", "--run-dir", "taken/run"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("error: rank 0 on ") && ended.err.contains("making taken/run"), "{}", ended.err);
}

#[test]
fn a_step_that_fails_is_told_with_its_place() {
    let place = Place::with(AT);
    let ended = mpirun(&place, 2, &["train", "tiny.yaml", "--run-dir", "run", "optimizer.lr=1.0e+30"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("error: epoch 1, step "), "{}", ended.err);
    assert!(ended.err.contains("not finite"), "{}", ended.err);
}

#[test]
fn ranks_that_mpi_does_not_know_are_refused() {
    let place = Place::with(AT);
    // torchrun's variables, but no mpirun: each process is alone in MPI's world.
    let ended = Ranks::start_with(&place, 2, &["train", "tiny.yaml"], &|_| Vec::new(), &[("FOIL_TRANSPORT", "mpi")])
        .end(Duration::from_secs(60));
    assert_eq!([ended[0].code, ended[1].code], [Some(1); 2]);
    for (rank, ended) in ended.iter().enumerate() {
        let told = format!("error: MPI says rank 0 of 1, but torchrun says rank {rank} of 2");
        assert!(ended.err.contains(&told), "{}", ended.err);
    }
}
