//! Input that would keep the program busy, waiting or hungry for memory is refused at once, in
//! words.

mod tiny;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tiny::{AT, Place};

/// Runs `foil ARGS`, which must end with an error within a minute and in bounded memory.
#[track_caller]
fn refused(place: &Place, args: &[&str]) -> String {
    let started = Instant::now();
    // 16 GiB of addresses: libtorch takes several before it does anything.
    let line = format!("ulimit -v 16777216; exec {} \"$@\"", env!("CARGO_BIN_EXE_foil"));
    let mut command = place.command("sh", &[&["-c", &line, "foil"], args].concat());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = tiny::Mortal(child);
    while child.0.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "{args:?} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut text = String::new();
    std::io::Read::read_to_string(child.0.stderr.as_mut().unwrap(), &mut text).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(1), "{args:?}: {text}");
    assert!(text.contains("error: ") && !text.contains("panicked"), "{args:?}: {text}");
    text
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_files() {
    let place = Place::with(AT);
    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    place.train("run", &["train.epochs=1"]);
    for file in ["/dev/zero", "pipe"] {
        for args in [
            format!("check tiny.yaml plugins=[{file}]"),
            format!("check tiny.yaml --plugins {file}"),
            format!("check {file}"),
            format!("check tiny.yaml model.type=torchscript model.file={file}"),
            format!("train tiny.yaml init={file}"),
            format!("train tiny.yaml data=mnist data.path={file}"),
            format!("import {file}"),
            format!("plugins show {file}"),
        ] {
            refused(&place, &args.split(' ').collect::<Vec<_>>());
        }
    }
    // In a run's folder too.
    for name in ["best.safetensors", "resolved.yaml"] {
        fs::rename(place.path("run").join(name), place.path("kept")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", place.path("run").join(name)).unwrap();
        refused(&place, &["eval", "run"]);
        fs::remove_file(place.path("run").join(name)).unwrap();
        fs::rename(place.path("kept"), place.path("run").join(name)).unwrap();
    }
    fs::create_dir(place.path("locked")).unwrap();
    let lock = place.path("locked/plugins.lock");
    fs::write(place.path("locked/tiny.yaml"), format!("{AT}plugins: [x.so]\n")).unwrap();
    for to in ["../pipe", "nowhere"] {
        std::os::unix::fs::symlink(to, &lock).unwrap();
        let error = refused(&place, &["check", "locked/tiny.yaml"]);
        assert!(error.contains("locked/plugins.lock"), "{error}");
        fs::remove_file(&lock).unwrap();
    }
}

/// A run folder that somebody sent: looking at it opens none of the libraries it lists, and using
/// it asks whether they are trusted.
#[test]
fn looking_at_a_folder_runs_nothing_in_it() {
    let place = Place::with(AT);
    let run = place.train("runs/sent", &["train.epochs=1"]);
    place.foil(&["eval", "runs/sent", "--trust", "off"]).ok();
    let resolved = run.text("resolved.yaml");
    // If it were loaded, the error would say that it is not a library.
    fs::write(run.file("evil.so"), "no library").unwrap();
    let listed = format!("plugins: [{}]\n", run.file("evil.so").display());
    let changed = resolved.replace("type: at\n", "type: strange_loss\n  how: much\n").replace("plugins: []\n", "");
    assert_ne!(changed, resolved, "{resolved}");
    fs::write(run.file("resolved.yaml"), format!("{listed}{changed}")).unwrap();

    place.foil(&["check", "runs/sent/resolved.yaml"]).ok();
    place.foil(&["watch", "runs/sent", "--once"]).ok();
    let table = place.foil(&["table", "accuracy", "runs/sent"]).ok();
    assert!(table.out.contains("tiny"), "{}{}", table.out, table.err);
    let report = place.foil(&["report", "runs/sent", "--out", "page.html"]).ok();
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("strange_loss"), "{}", report.err);
    let error = refused(&place, &["train", "--resume", "runs/sent"]);
    assert!(error.contains("has no plugins.lock that holds") && error.contains("--plugins"), "{error}");
    // These need no loss, and say that its library was not loaded.
    for args in [&["eval", "runs/sent"][..], &["export", "runs/sent"]] {
        let told = place.foil(args).ok().err;
        assert!(told.contains("the loss `strange_loss` is missing") && told.contains("it was not loaded"), "{told}");
    }
}

#[test]
fn names_do_not_move_the_cursor() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    let named = run.text("resolved.yaml").replacen("name: tiny", r#"name: "t\e[2Jiny""#, 1);
    fs::write(run.file("resolved.yaml"), named).unwrap();
    let watched = place.foil(&["watch", "run", "--once"]).ok();
    let error = place.foil(&["eval", "run"]).error();
    for text in [watched.out + &watched.err, error] {
        assert!(text.contains("iny") && !text.contains('\u{1b}'), "{text:?}");
    }
}

#[test]
fn sizes_that_no_machine_has_are_refused_before_memory_is_asked_for() {
    const MOST: &str = "it has more than 20000 tensors or 4294967296 numbers";
    let place = Place::with(AT);
    for (key, part) in [
        ("model={ type: wide_resnet, depth: 1000000 }", "depth"),
        ("model={ type: wide_resnet, width: 1000000000000 }", "width"),
        ("model={ type: wide_resnet, depth: 9994, width: 1000 }", MOST),
        ("model={ type: mlp, hidden: [65536, 65536, 65536] }", MOST),
        ("images.validation=18446744073709551615", "`images.validation` holds out 18446744073709551615 of"),
        ("images.validation=9223372036854775808", "`images.validation` holds out 9223372036854775808 of"),
        ("train.batch_size=18446744073709551615", "batch_size"),
        ("train.epochs=18446744073709551615", "epochs"),
    ] {
        for command in ["check", "train"] {
            let error = refused(&place, &[command, "tiny.yaml", key]);
            assert!(error.contains(part), "{key}: {error}");
        }
    }
    // No more than there are, then.
    place.foil(&["check", "tiny.yaml", "images.train_limit=18446744073709551615"]).ok();
}

/// A file of 20,000 names that no model knows; the nearest ones are looked for among some of them.
#[test]
fn many_unknown_names_take_no_time() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    let (mine, _) = foil::tensors::read(&run.file("best.safetensors")).unwrap();
    let write = |file: &str, n: usize| {
        let one = tch::Tensor::from(1.0f32);
        let many = (0..n).map(|i| (format!("layer{i}.block{i}.conv{}.weight", i % 7), one.shallow_clone()));
        let all: Vec<_> = mine.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).chain(many).collect();
        foil::tensors::write(&place.path(file), &all, Default::default()).unwrap();
    };
    write("many.safetensors", 19_000);
    let error = refused(&place, &["import", "many.safetensors", "--out", "out"]);
    assert!(error.contains("is unknown to the model") && error.contains("more"), "{error}");
    write("more.safetensors", 20_000);
    let error = refused(&place, &["import", "more.safetensors", "--out", "out"]);
    assert!(error.contains("tensors, more than the 20000 it may have"), "{error}");
}
