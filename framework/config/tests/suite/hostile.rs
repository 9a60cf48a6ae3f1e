//! Whatever the bytes, a load ends soon, and with a result.

use crate::pipeline::{FULL, check};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Far above what a load takes even unoptimised on a busy machine; far below what a runaway one
/// takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn survives(text: &[u8], overrides: &[&str]) {
    let start = Instant::now();
    if let Err(problems) = check(text, overrides) {
        assert!(!problems.0.is_empty(), "an error says what is wrong");
        assert!(problems.to_string().chars().all(|c| c == '\n' || !c.is_control()), "nothing moves the cursor");
    }
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
}

#[test]
fn the_corpus_is_survived() {
    let files = std::fs::read_dir("tests/corpus").expect("the corpus").map(|entry| entry.expect("a file").path());
    let mut count = 0;
    for path in files {
        survives(&std::fs::read(&path).expect("a file"), &[]);
        count += 1;
    }
    assert!(count > 10, "the corpus has {count} files");
}

#[test]
fn huge_files_are_survived() {
    let million = 1 << 20;
    let quarter = million / 4; // where unoptimised code takes seconds for a million
    let fill = |unit: &str| unit.repeat(million / unit.len());
    let nested: String = (0..1400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let texts = [
        fill("["),
        fill("{a: "),
        fill("- "),
        fill("? "),
        fill("a: 1\n"),
        fill("&a *a "),
        format!("[{}", &fill("a,")[..million - 2]),
        format!("evaluate: [{}x]", &fill("pgd, ")[..quarter]),
        format!("labels: [{}x]", &fill("a, ")[..quarter]),
        format!("{{{}x}}", (0..30_000).map(|n| format!("k{n},")).collect::<String>()),
        format!("notes: {{{}x}}", (0..30_000).map(|n| format!("k{n},")).collect::<String>()),
        format!("{}: 1", "x".repeat(million - 3)),
        format!("data: {}", "x".repeat(million - 6)),
        format!("loss: {{ type: {} }}", "x".repeat(million - 20)),
        nested,
        fill("x: [1,\n"),
        "a".repeat(million + 1),
    ];
    for text in texts {
        survives(text.as_bytes(), &["train.epochs=1"]);
    }
}

/// Pieces that mean something in YAML or in a pipeline.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "\n", "\n  ", "\n    ", "\n- ", ": ", ", ", "[", "]", "{", "}", "- ", "? ", "&a ", "*a", "!t ", "#", "|\n",
        ">\n", "'", "\"", "\\", "%", "---\n", "...\n", "\t", "\r", "null", "~", "8/255", "1e9", "-1", "0.5", ".nan",
        "true", "extends", "type", "attack", "pgd", "eps", "loss", "trades", "beta", "train", "lr", "ramp", "inner",
        "evaluate", "\u{feff}", "\u{85}", "é", "<<",
    ];
    proptest::sample::select(pieces.to_vec()).prop_map(str::to_string)
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes, &[]);
    }

    #[test]
    fn arbitrary_pieces_are_survived(pieces in proptest::collection::vec(piece(), 0..60)) {
        survives(pieces.concat().as_bytes(), &[]);
    }

    #[test]
    fn a_mutated_pipeline_is_survived(
        changes in proptest::collection::vec((0..FULL.len(), 0..12usize, proptest::option::of(piece())), 1..6),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (at, cut, insert) in changes {
            let start = at.min(bytes.len());
            let end = (start + cut).min(bytes.len());
            bytes.splice(start..end, insert.unwrap_or_default().into_bytes());
        }
        survives(&bytes, &[]);
    }

    #[test]
    fn arbitrary_overrides_are_survived(
        path in proptest::collection::vec(proptest::sample::select(vec!["attack", "inner", "eps", "train", "lr", "evaluate", "1", "type", "x", ""]), 0..6),
        value in proptest::collection::vec(piece(), 0..8),
        any_text in any::<String>(),
    ) {
        let argument = format!("{}={}", path.join("."), value.concat());
        survives(FULL.as_bytes(), &[&argument, &any_text]);
    }
}
