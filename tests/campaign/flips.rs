//! Single bits that flip in a run's files: each is found, or makes no difference.

use crate::tiny::{AT, Place, Run};
use crate::{Options, Random, Tally};
use std::fs;

/// What a stopped run resumes from.
const RESUMED: [&str; 4] = ["state.safetensors", "metrics.jsonl", "last.safetensors", "resolved.yaml"];
/// What is shown and evaluated of a run that is done.
const SHOWN: [&str; 5] = ["eval.json", "eval.images.csv", "metrics.jsonl", "best.safetensors", "state.safetensors"];

/// What `table` prints of a run, on both streams.
fn shown(place: &Place, folder: &str) -> [String; 2] {
    let words =
        [&["table", "accuracy", folder, "--format", "csv"][..], &["table", "per-class", folder, "--format", "csv"]];
    let ended = words.map(|words| place.foil(words));
    assert!(
        ended.iter().all(|ended| matches!(ended.code, Some(0 | 1)) && !ended.err.contains("panicked")),
        "{ended:?}"
    );
    let both = |stream: fn(&crate::tiny::Ended) -> &str| ended.iter().map(stream).collect::<String>();
    [both(|ended| &ended.out), both(|ended| &ended.err)]
}

/// Makes the flips, and returns how many there were.
pub fn all(options: &Options, on_time: &dyn Fn() -> bool, tally: &mut Tally) -> u64 {
    if options.flips == 0 {
        return 0;
    }
    let place = Place::with(AT);
    let whole = place.train("whole", &[]);
    let mut running = place.start(&["train", "tiny.yaml", "--no-eval", "--run-dir", "stopped"]);
    assert!(running.wait_for("epoch 2/3"));
    running.signal("TERM");
    running.end();
    copy(&whole, &place.run("evaluated"));
    place.foil(&["eval", "evaluated"]).ok();
    let [out, _] = shown(&place, "evaluated");
    assert!(out.contains("PGD-2"), "{out}");

    let mut done = 0;
    for n in (options.first..options.flips).take_while(|_| on_time()) {
        let mut random = Random::new(options.seed, 1 << 32 | n);
        let folder = format!("flip{n}");
        let run = place.run(&folder);
        let (from, names) = if n % 2 == 0 { ("stopped", &RESUMED[..]) } else { ("evaluated", &SHOWN[..]) };
        let name = names[(n / 2) as usize % names.len()];
        copy(&place.run(from), &run);
        let bit = flip(&run, name, &mut random);
        println!("flip {n} of seed {}: bit {bit} of {from}/{name}", options.seed);
        let found = match from {
            "stopped" => resumed(&place, &run, &folder, name, &whole),
            _ => looked(&place, &folder, name, &out),
        };
        tally.add(format!("flip in {name} of a {from} run: {}", if found { "found" } else { "harmless" }));
        fs::remove_dir_all(&run.0).unwrap();
        done += 1;
    }
    done
}

fn copy(from: &Run, to: &Run) {
    fs::create_dir(&to.0).unwrap();
    for name in from.files() {
        fs::copy(from.file(&name), to.file(&name)).unwrap();
    }
}

/// Flips a bit, of headers more often than of numbers; returns which.
fn flip(run: &Run, name: &str, random: &mut Random) -> u64 {
    let mut bytes = fs::read(run.file(name)).unwrap();
    let within = if random.below(2) == 0 { bytes.len().min(2048) } else { bytes.len() };
    let bit = random.below(8 * within as u64);
    bytes[bit as usize / 8] ^= 1 << (bit % 8);
    fs::write(run.file(name), bytes).unwrap();
    bit
}

/// Resumes the run: it names what is damaged (true), or ends with the same bits.
fn resumed(place: &Place, run: &Run, folder: &str, name: &str, whole: &Run) -> bool {
    let ended = place.foil(&["train", "--resume", folder, "--no-eval"]);
    if ended.code != Some(0) {
        let error = ended.error();
        assert!(error.contains(name), "{error}");
        return true;
    }
    // Another pipeline is trained as it says, and that it was changed is said.
    if name == "resolved.yaml" && ended.err.contains("has changed since the run stopped") {
        return true;
    }
    if name == "resolved.yaml" {
        fs::copy(whole.file(name), run.file(name)).unwrap(); // a comment or white space
    }
    run.assert_same(whole);
    false
}

/// Looks at the run and evaluates it: it names what is damaged (true), or shows the same figures.
fn looked(place: &Place, folder: &str, name: &str, truth: &str) -> bool {
    let [out, err] = shown(place, folder);
    let told = err.contains(name);
    assert!(told || out == *truth, "{out}\ninstead of\n{truth}\n{err}");
    // No row may say anything else than it did.
    let stands = |line: &str| !line.starts_with("tiny,") || truth.lines().any(|other| other == line);
    assert!(out.lines().all(stands), "{out}\ninstead of\n{truth}\n{err}");
    if name != "best.safetensors" {
        return told;
    }
    let ended = place.foil(&["eval", folder, "--trust", "off"]);
    if ended.code == Some(0) {
        let [out, err] = shown(place, folder);
        assert_eq!(out, *truth, "{err}");
        return told;
    }
    assert!(ended.error().contains(name));
    true
}
