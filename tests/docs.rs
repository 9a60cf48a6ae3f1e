//! The documentation does what it says: commands of `docs/writing-a-plugin.md` run, and the
//! reference pages are what doc comments say now.

mod tiny;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A fenced block: what stands behind the fence, and the lines.
struct Block {
    info: String,
    lines: Vec<String>,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => open = Some(Block { info: info.to_string(), lines: Vec::new() }),
            (None, Some(block)) => block.lines.push(line.to_string()),
            (None, None) => {}
        }
    }
    blocks
}

/// The clone as a newcomer has it, but for `plugins/` and what is written by commands: everything
/// is a link to the real one, so that cargo finds it built.
struct Clone {
    place: tempfile::TempDir,
    /// Whether training is cut short.
    short: bool,
}

impl Clone {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(ROOT).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            match name.to_str() {
                Some("plugins" | "mine" | "runs" | "target" | ".git") => {}
                // git follows no link to the list of what it leaves out.
                Some("Cargo.lock" | ".gitignore") => drop(fs::copy(entry.path(), place.path().join(&name)).unwrap()),
                _ => symlink(entry.path(), place.path().join(&name)).unwrap(),
            }
        }
        fs::create_dir(place.path().join("plugins")).unwrap();
        for entry in fs::read_dir(Path::new(ROOT).join("plugins")).unwrap().map(Result::unwrap) {
            symlink(entry.path(), place.path().join("plugins").join(entry.file_name())).unwrap();
        }
        symlink(target(), place.path().join("target")).unwrap();
        Self { place, short: true }
    }

    /// Runs a command of the documentation.
    fn run(&self, command: &str) -> Output {
        let (folder, command) = match command.strip_prefix("cd ").and_then(|rest| rest.split_once(" && ")) {
            Some((folder, command)) => (self.place.path().join(folder), command),
            None => (self.place.path().to_path_buf(), command),
        };
        let mut words: Vec<&str> = command.split_whitespace().collect();
        let program = match words.as_slice() {
            ["cargo", "foil", ..] => {
                words.drain(..2);
                PathBuf::from(env!("CARGO_BIN_EXE_foil"))
            }
            ["cargo", ..] => {
                words.remove(0);
                PathBuf::from(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            }
            _ => panic!("the documentation says `{command}`, which this test does not know"),
        };
        if self.short && matches!(words.first(), Some(&"train" | &"compare" | &"sweep")) {
            words.extend([
                "train.epochs=1",
                "images.train_limit=100",
                "images.test_limit=50",
                "evaluate=[natural,fgsm]",
            ]);
        }
        let mut run = Command::new(program);
        run.args(words).current_dir(folder).env("OMP_NUM_THREADS", "1").env("CARGO_TARGET_DIR", target());
        run.output().unwrap()
    }
}

/// Where this test was built.
fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf()
}

/// Whether `line` has what was written down, in which `…` stands for anything.
fn holds(line: &str, written: &str) -> bool {
    let mut rest = line;
    written.trim().split('…').all(|part| match rest.find(part.trim()) {
        Some(at) => {
            rest = &rest[at + part.trim().len()..];
            true
        }
        None => false,
    })
}

#[test]
fn a_plugin_from_nothing_to_a_row_beside_trades() {
    let ran = follow(&Clone::new(), &page("docs/writing-a-plugin.md"));
    assert!(ran >= 6, "{ran} commands");
}

/// Nothing is fetched: with digits where CIFAR-10 is not on this machine.
fn own_images() -> String {
    let page = page("docs/own-images.md").replace("$ cargo foil data get cifar10\n", "");
    let place = tiny::Place::with("");
    let listed: serde_json::Value = serde_json::from_str(&place.foil(&["data", "list", "--json"]).ok().out).unwrap();
    let cifar10 = listed.as_array().unwrap().iter().find(|set| set["name"] == "cifar10").unwrap();
    if cifar10["found"].is_string() {
        return page;
    }
    let digits = page.replace("data write cifar10", "data write mnist_subset");
    assert_ne!(digits, page);
    digits.replace("… airplane … truck …", "… 0 … 9 …")
}

/// The size of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
}

#[test]
fn from_pictures_to_a_robust_classifier() {
    let clone = Clone::new();
    let ran = follow(&clone, &own_images());
    assert!(ran >= 7, "{ran} commands");
    let written = size(&clone.place.path().join("pictures"));
    assert!((100_000..3_000_000).contains(&written), "{written} bytes of pictures");
    let page = fs::read_to_string(clone.place.path().join("report.html")).unwrap();
    let classes = fs::read_dir(clone.place.path().join("pictures/train")).unwrap();
    for class in classes.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(page.contains(&format!("<title>{class}</title>")), "the page has no class `{class}`");
    }
}

/// As the page has it, to the last epoch: ten minutes on two cores that do nothing else.
#[test]
#[ignore = "trains in full: three minutes of one core"]
fn from_pictures_to_a_robust_classifier_in_full() {
    let (clone, started) = (Clone { short: false, ..Clone::new() }, std::time::Instant::now());
    follow(&clone, &own_images());
    let took = started.elapsed().as_secs();
    let accuracy = |run: &str| {
        let record = fs::read_to_string(clone.place.path().join("runs/pictures").join(run).join("eval.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["worst_case"].as_f64().unwrap_or_else(|| panic!("{record}"))
    };
    let (robust, undefended) = (accuracy("at"), accuracy("undefended"));
    println!("{took} s; worst case {robust} % with AT, {undefended} % without");
    assert!(took < 600, "it took {took} s");
    assert!(robust > undefended + 10.0, "{robust} % with AT, {undefended} % without");
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// Writes the files of a page and runs its commands, in order; returns how many. What it shows is
/// in the output of the command before it.
fn follow(clone: &Clone, page: &str) -> usize {
    let mut ran = 0;
    for block in blocks(page) {
        if let Some((_, file)) = block.info.split_once("file=") {
            fs::write(clone.place.path().join(file), block.lines.join("\n") + "\n").unwrap();
        }
        if block.info != "console" {
            continue;
        }
        let mut output = String::new();
        for line in &block.lines {
            if let Some(command) = line.strip_prefix("$ ") {
                let ended = clone.run(command);
                output =
                    [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
                assert!(ended.status.success(), "{command}\n{output}");
                ran += 1;
            } else {
                assert!(output.lines().any(|shown| holds(shown, line)), "`{line}` is not in\n{output}");
            }
        }
    }
    ran
}

#[test]
fn the_reference_is_what_doc_comments_say() {
    let place = tiny::Place::with("");
    place.foil(&["explain", "--markdown", "manual"]).ok();
    let mut stale = Vec::new();
    for entry in fs::read_dir(place.path("manual")).unwrap().map(Result::unwrap) {
        let kept = Path::new(ROOT).join("docs/reference").join(entry.file_name());
        let page = fs::read_to_string(entry.path()).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&kept, &page).unwrap();
        }
        if fs::read_to_string(&kept).unwrap_or_default() != page {
            stale.push(entry.file_name());
        }
    }
    assert!(stale.is_empty(), "{stale:?} are stale; write them again: cargo foil explain --markdown docs/reference");
}

/// The source files of a folder, one text.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            None if path.is_dir() => sources(&path, all),
            Some("rs") => *all += &fs::read_to_string(&path).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn messages_in_troubleshooting_are_what_foil_says() {
    let mut all = String::new();
    ["framework", "plugins"].iter().for_each(|folder| sources(&Path::new(ROOT).join(folder), &mut all));
    let page = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let quoted: Vec<&str> = page.split("\n- **`").skip(1).filter_map(|item| item.split('`').next()).collect();
    assert!(quoted.len() > 10, "{quoted:?}");
    for message in quoted.iter().filter(|message| !message.starts_with("error while loading shared libraries")) {
        assert!(all.contains(message), "`{message}` is in no source");
    }
}

/// What `new-plugin` writes is the template that the workspace builds and tests, under another
/// name.
#[test]
fn every_template_becomes_a_crate() {
    for kind in ["loss", "attack", "objective", "model", "optimizer", "scheduler", "augment", "data"] {
        let place = tiny::Place::with("");
        let name = format!("my_{kind}");
        let said = place.foil(&["new-plugin", kind, &name]).ok().out;
        assert!(said.contains(&format!("cd {name} && cargo build --release")), "{said}");
        let code = fs::read_to_string(place.path(&name).join("src/lib.rs")).unwrap();
        let template = fs::read_to_string(format!("{ROOT}/plugins/template/src/{kind}.rs")).unwrap();
        assert!(!code.contains("template") && code.contains("foil::export_plugin!();"), "{code}");
        assert_eq!(code.lines().count(), template.lines().count() + 2);
        assert!(code.lines().count() <= 75, "{kind}: {} lines", code.lines().count());
        if kind == "loss" {
            assert!(code.lines().count() <= 60, "{} lines", code.lines().count());
        }
        for file in ["Cargo.toml", "example.yaml", ".cargo/config.toml", "Cargo.lock", ".gitignore"] {
            let text = fs::read_to_string(place.path(&name).join(file)).unwrap();
            let here = place.path("");
            for absolute in [ROOT, here.to_str().unwrap()] {
                assert!(
                    !text.contains(&format!("\"{absolute}")) && !text.contains(&format!("[{absolute}")),
                    "{file}: {text}"
                );
            }
        }
        let again = place.foil(&["new-plugin", kind, &name]).error();
        assert!(again.contains("already exists"), "{again}");
    }
    let place = tiny::Place::with("");
    let message = place.foil(&["new-plugin", "loss", "mine", "--foil", "."]).error();
    assert!(message.contains(". is not a clone of foil"), "{message}");
    for (words, part) in [
        (["loss", "My-Loss"], "write `my_loss`"),
        (["loss", "trades"], "loss `trades` already exists"),
        (["loss", "match"], "Rust or foil uses it"),
        (["loss", "tensor"], "Rust or foil uses it"),
        (["lsos", "mine"], "did you mean `loss`?"),
    ] {
        let message = place.foil(&["new-plugin", words[0], words[1]]).error();
        assert!(message.contains(part), "{message}");
    }
}

/// cargo as in the crate that `new-plugin` made in `folder`, without the network.
fn cargo(folder: &Path, words: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(words).args(["--offline", "--locked"]).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Its own lock is complete, and the command line is not built with it.
#[test]
fn a_plugin_is_built_without_the_command_line() {
    let place = tiny::Place::with("");
    place.foil(&["new-plugin", "loss", "mine"]).ok();
    let tree = cargo(&place.path("mine"), &["tree", "--prefix", "none", "-e", "normal,build,dev"]);
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(["mine", "foil-train", "foil-torch", "tch"].iter().all(|name| has(name)), "{tree}");
    assert!(!["foil-cli", "foil-runs", "clap", "ratatui", "resvg", "maud"].iter().any(|name| has(name)), "{tree}");
}

/// In a clone the plugin's folder is left out by git; `plugins/` is for what becomes part of foil.
#[test]
fn a_plugin_in_a_clone_leaves_git_status_clean() {
    let clone = Clone::new();
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(clone.place.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b.org", "commit", "--quiet", "-m", "all"]);
    let made = clone.run("cargo foil new-plugin loss mine_too");
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.starts_with("made mine/mine_too: Cargo.toml, src/lib.rs, example.yaml"), "{said}");
    assert_eq!(git(&["status", "--porcelain"]), "");
    let said = String::from_utf8(clone.run("cargo foil new-plugin loss ours --dir plugins/ours").stdout).unwrap();
    assert!(said.contains("cargo test --release -p ours") && said.contains("a part of foil now"), "{said}");
    assert!(git(&["status", "--porcelain"]).contains("plugins/ours/"));
}
