//! Chains of resumed runs, each cut off by something at a random moment.

use crate::tiny::{AT, CAT, Ended, Place, TRADES};
use crate::{Options, Random, Tally};
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// What cuts a run off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Signal(&'static str),
    /// Two of them, the second while it saves or before.
    Twice(&'static str),
    /// No file may become larger than this many blocks.
    Limit(u64),
    /// The file system has room for this many KiB more.
    Disk(u64),
}

impl Blow {
    fn name(self) -> String {
        match self {
            Self::Kill => "KILL".into(),
            Self::Signal(name) => name.into(),
            Self::Twice(name) => format!("{name} twice"),
            Self::Limit(_) => "limited file size".into(),
            Self::Disk(_) => "full disk".into(),
        }
    }

    fn any(random: &mut Random, disks: bool) -> Self {
        const SIGNALS: [&str; 4] = ["TERM", "HUP", "USR1", "INT"];
        let signal = SIGNALS[random.below(4) as usize];
        match random.below(10) {
            0..=3 => Self::Kill,
            4 | 5 => Self::Signal(signal),
            6 => Self::Twice(signal),
            7 if disks => Self::Disk(random.below(3000)),
            _ => Self::Limit(random.below(6000)),
        }
    }
}

/// A pipeline that has been trained undisturbed in `whole`.
struct Known {
    name: &'static str,
    place: Place,
    took: Duration,
}

impl Known {
    fn new(name: &'static str, yaml: &str) -> Self {
        let place = Place::with(yaml);
        let whole = place.train("whole", &[]);
        let changed = |file: &str| fs::metadata(whole.file(file)).unwrap().modified().unwrap();
        let took = changed("state.safetensors").duration_since(changed("resolved.yaml")).unwrap();
        Self { name, place, took }
    }
}

/// Runs the chains, and returns how many there were.
pub fn all(options: &Options, on_time: &dyn Fn() -> bool, tally: &mut Tally) -> u64 {
    // The bf16 copy of the weights is no state: it follows from the fp32 ones.
    let bf16 = AT.replace("train: {", "train: { precision: bf16,");
    let pipelines = [("AT", AT), ("CAT", CAT), ("TRADES", TRADES), ("AT in bf16", &bf16)];
    let mut known: Vec<Option<Known>> = pipelines.iter().map(|_| None).collect();
    let (disks, mut done) = (small_disks(), 0);
    for n in (options.first..options.chains).take_while(|_| on_time()) {
        let at = n as usize % pipelines.len();
        let (name, yaml) = pipelines[at];
        let known = known[at].get_or_insert_with(|| Known::new(name, yaml));
        let seed = options.seed;
        println!("chain {n} of seed {seed}, {name}; again: --seed {seed} --first {n} --chains {} --flips 0", n + 1);
        chain(known, &format!("chain{n}"), &mut Random::new(seed, n), disks, tally);
        done += 1;
    }
    done
}

/// Whether this user may mount a small file system in a name space of its own.
fn small_disks() -> bool {
    let place = tempfile::tempdir().unwrap();
    let line = "mount -t tmpfs -o size=64k none \"$1\" && touch \"$1/x\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", line, "sh"]).arg(place.path());
    command.output().is_ok_and(|output| output.status.success())
}

/// Cuts a run and its resumptions off a few times, lets the last one finish, and compares it.
fn chain(known: &Known, folder: &str, random: &mut Random, disks: bool, tally: &mut Tally) {
    let (place, run) = (&known.place, known.place.run(folder));
    for _ in 0..3 + random.below(4) {
        let begun = run.file("resolved.yaml").exists();
        if !begun && run.0.exists() {
            fs::remove_dir_all(&run.0).unwrap(); // what it said was that nothing is saved
        }
        let blow = Blow::any(random, disks && begun);
        let fresh = ["train", "tiny.yaml", "--no-eval", "--run-dir", folder];
        let resumed = ["train", "--resume", folder, "--no-eval"];
        let args: &[&str] = if begun { &resumed } else { &fresh };
        let Some(ended) = strike(place, args, folder, blow, random.part(known.took / 2)) else {
            tally.add(format!("blow: {}", blow.name()));
            continue;
        };
        check(&ended, blow);
        if ended.code == Some(0) {
            break; // it was through before
        }
        tally.add(format!("blow: {}", blow.name()));
    }
    place.foil(&["train", "--resume", folder, "--no-eval"]).ok();
    run.assert_same(&place.run("whole"));
    tally.add(format!("chain with the same bits: {}", known.name));
    fs::remove_dir_all(&run.0).unwrap();
}

/// Starts `foil ARGS` and cuts it off after `wait`; how it ended, unless by SIGKILL.
fn strike(place: &Place, args: &[&str], folder: &str, blow: Blow, wait: Duration) -> Option<Ended> {
    let foil = env!("CARGO_BIN_EXE_foil");
    match blow {
        Blow::Kill => {
            let running = place.start(args);
            sleep(wait);
            let struck = running.kill();
            // Where it was through, the next one has nothing to do and ends at once.
            (!struck).then(|| Ended { code: Some(0), out: String::new(), err: String::new() })
        }
        Blow::Signal(name) | Blow::Twice(name) => {
            let running = place.start(args);
            sleep(wait);
            running.signal(name);
            if blow == Blow::Twice(name) {
                sleep(wait / 8);
                running.signal(name);
            }
            Some(running.end())
        }
        Blow::Limit(blocks) => Some(shell(place, &format!("ulimit -f {blocks}; exec {foil} {}", args.join(" ")))),
        Blow::Disk(room) => {
            // Its own copy of the run, on a file system with little room left; then back again.
            let line = format!(
                "set -e; used=$(du -sk {folder} | cut -f1); mkdir -p disk; mount -t tmpfs -o size=$((used + 64 + {room}))k none disk; \
                 cp -a {folder} disk/run; code=0; {foil} train --resume disk/run --no-eval || code=$?; rm -rf {folder}; \
                 cp -a disk/run {folder}; exit $code"
            );
            Some(shell(place, &format!("exec unshare -rm sh -c '{line}'")))
        }
    }
}

fn shell(place: &Place, line: &str) -> Ended {
    let output = place.command("sh", &["-c", line]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// It was through, or said what happened.
#[track_caller]
fn check(ended: &Ended, blow: Blow) {
    let Ended { code, err, .. } = ended;
    assert!(!err.contains("panicked"), "{blow:?}: {err}");
    if *code == Some(0) {
        return;
    }
    match blow {
        Blow::Kill => {}
        Blow::Signal(_) => {
            assert!(*code == Some(130) && err.contains("stopped and saved"), "{blow:?}, {code:?}: {err}")
        }
        Blow::Twice(_) => assert_eq!(*code, Some(130), "{blow:?}: {err}"),
        Blow::Limit(_) => assert!(*code == Some(1) && err.contains("File too large"), "{blow:?}, {code:?}: {err}"),
        Blow::Disk(_) => assert!(*code == Some(1) && err.contains("No space left"), "{blow:?}, {code:?}: {err}"),
    }
}
