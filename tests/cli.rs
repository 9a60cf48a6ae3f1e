//! The command line as a user meets it: help, what you can combine, the manual, the schema, the
//! machine, exit codes.

use foil_models as _;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const COMMANDS: [&str; 14] = [
    "train",
    "sweep",
    "eval",
    "check",
    "bench",
    "profile",
    "demo",
    "list",
    "explain",
    "schema",
    "data",
    "doctor",
    "new-plugin",
    "plugins",
];

fn command(words: &[&str]) -> Command {
    let mut foil = Command::new(env!("CARGO_BIN_EXE_foil"));
    foil.current_dir(env!("CARGO_MANIFEST_DIR")).env("OMP_NUM_THREADS", "1").args(words);
    foil
}

fn run(words: &[&str]) -> Output {
    command(words).output().expect("foil runs")
}

/// What a command that succeeds prints.
fn shown(words: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(words);
    assert!(status.success(), "foil {words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// The exit code and the message of a command that fails.
fn failure(words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = run(words);
    assert!(stdout.is_empty(), "foil {words:?} prints {}", String::from_utf8_lossy(&stdout));
    let stderr = String::from_utf8(stderr).expect("UTF-8");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (status.code(), stderr)
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&shown(words)).expect("JSON")
}

fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// Kind and name of every plugin.
fn plugins() -> Vec<(String, String)> {
    let listed = json(&["list", "--json"]);
    let word = |row: &Value, key: &str| row[key].as_str().expect("a word").to_string();
    let rows = listed.as_array().expect("an array").iter().map(|row| (word(row, "kind"), word(row, "name")));
    rows.collect()
}

#[test]
fn every_command_has_help_with_examples() {
    let help = shown(&["--help"]);
    assert_holds(&help, &COMMANDS);
    assert_holds(&help, &["Examples:"]);
    for words in COMMANDS.iter().map(|name| vec![*name]).chain([vec!["data", "list"], vec!["data", "get"]]) {
        let words: Vec<&str> = words.into_iter().chain(["--help"]).collect();
        assert_holds(&shown(&words), &["Usage: foil", "Examples:\n  foil "]);
    }
}

#[test]
fn versions() {
    let version = shown(&["--version"]);
    assert!(version.starts_with(concat!("foil ", env!("CARGO_PKG_VERSION"), " (libtorch 2.")), "{version}");
}

#[test]
fn wrong_usage_is_2_and_an_error_is_1() {
    for words in [&["trian"][..], &["check"], &["list", "--jsn"], &["explain"], &["data"], &["data", "get"], &["train"]]
    {
        let (code, message) = failure(words);
        assert_eq!(code, Some(2), "foil {words:?}: {message}");
    }
    for (words, part) in [
        (&["list", "atack"][..], "did you mean `attack`?"),
        (&["explain", "pdg"], "did you mean `pgd`?"),
        (&["explain", "atack", "pgd"], "did you mean `attack`?"),
        (&["explain", "attack", "pdg"], "did you mean `pgd`?"),
        (&["explain", "kappa"], "`kappa` is a key of objective cw"),
        (&["explain", "a", "b:c"], "foil explain NAME"),
        (&["explain", "attack", "--example"], "only a plugin has an example"),
        (&["data", "get", "cifar-10"], "did you mean `cifar10`?"),
        (&["check", "nothing.yaml"], "there is no such file"),
        (&["check", "seed=1"], "no file given"),
        (&["eval", "nowhere"], "nowhere"),
        (&["schema", "--out", "no/such/folder/x.json"], "no/such/folder/x.json"),
        (&["train", "seed=1", "configs/demo/at.yaml"], "foil train FILE KEY=VALUE"),
    ] {
        let (code, message) = failure(words);
        assert_eq!(code, Some(1), "foil {words:?}: {message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_holds(&message, &[part]);
    }
}

#[test]
fn the_list_is_sorted_and_says_what_and_where_from() {
    // In a pipe each line is kind, name, crate and summary.
    let listed = shown(&["list"]);
    let fields = |line: &str| line.split('\t').map(str::to_string).collect::<Vec<_>>();
    assert!(listed.lines().all(|line| fields(line).len() == 4), "{listed}");
    assert_holds(&listed, &["pgd", "Projected gradient descent", "foil-attacks", "mnist_subset"]);
    let attacks = json(&["list", "attack", "--json"]);
    let attacks = attacks.as_array().expect("an array");
    let names: Vec<&str> = attacks.iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(names.len() > 1 && names.is_sorted(), "{names:?}");
    for row in attacks {
        assert_eq!(row["kind"], "attack");
        assert!(row["summary"].as_str().is_some_and(|text| text.len() > 10), "{row}");
    }
}

#[test]
fn a_key_is_explained_in_each_plugin_that_has_it() {
    let beta = shown(&["explain", "loss.beta"]);
    assert_holds(&beta, &["loss cat\n  beta: a number", "loss mart\n  beta:", "loss trades\n  beta:"]);
    assert!(!beta.contains("fab_t"), "{beta}");
    for path in ["attack.alpha", "attacks.pgd20.alpha", "attack.inner.alpha"] {
        assert_holds(&shown(&["explain", path]), &["attack pgd\n  alpha: a number or a scheduler"]);
    }
    assert_holds(&shown(&["explain", "attack.objective.kappa"]), &["objective cw\n  kappa:"]);
    let (_, message) = failure(&["explain", "loss.betta"]);
    assert!(message.contains("`loss.betta`"), "{message}");
}

#[test]
fn a_page_holds_the_whole_manual() {
    let pgd = shown(&["explain", "pgd"]);
    assert_holds(&pgd, &["pgd, an attack from the crate foil-attacks", "arXiv:1706.06083", "\nKeys\n", "\nExample\n"]);
    assert_holds(&pgd, &["  eps: a number or a scheduler, at least 0, in image units such as 8/255. Required.\n"]);
    assert_holds(
        &pgd,
        &["  steps: a whole number, 0 to 100000. Default: 10.\n", "  objective: an objective. Default: ce.\n"],
    );
    assert_holds(&pgd, &["        gaussian  x + 0.001 · N(0, 1)"]); // the meaning of a word
    assert!(pgd.lines().all(|line| line.chars().count() <= 100), "{pgd}");
    let example = shown(&["explain", "pgd", "--example"]);
    assert_eq!(example, "attack:\n  type: pgd\n  eps: 8/255\n  alpha: 2/255\n  steps: 10\n");
    // Neither of the two does without the other.
    let mma = "loss:\n  type: mma\n  clean: 0.3333333333333333\n";
    let an_pgd = "attack:\n  type: an_pgd\n  d_max: 32/255\n  e_min: 0.005\n  steps: 10\n";
    assert_eq!(shown(&["explain", "mma", "--example"]), format!("{mma}{an_pgd}"));
    assert_eq!(shown(&["explain", "an_pgd", "--example"]), format!("{an_pgd}{mma}"));
    assert_eq!(pgd, shown(&["explain", "attack", "pgd"]));
    assert_eq!(pgd, shown(&["explain", "attack:pgd"]));

    assert_holds(&shown(&["explain", "multistep"]), &["a scheduler from", "over a run of 200 epochs", "optimizer:"]);
    assert_holds(
        &shown(&["explain", "objective"]),
        &["is what an attack ascends", "  kl ", "objective of attack apgd"],
    );
    assert_holds(&shown(&["explain", "cifar10"]), &["CIFAR-10", "licence", "Krizhevsky"]);
    let pipeline = shown(&["explain", "pipeline"]);
    assert_holds(
        &pipeline,
        &["  train.epochs: a whole number, 1 to 1000000. Required.", "  train.drop_last: true or false."],
    );
    let epochs = shown(&["explain", "train.epochs"]);
    assert!(pipeline.contains(&epochs) && epochs.lines().count() == 2, "{epochs}");
}

/// The files of the examples of `folder` and `arrays`.
fn pictures(folder: &Path) {
    for class in ["train/cat", "train/dog", "test/cat"] {
        let class = folder.join("pictures").join(class);
        fs::create_dir_all(&class).expect("a folder");
        fs::write(class.join("1.png"), "listed, but not read by a check").expect("written");
    }
    let array = |name: &str, shape: &str, from: usize, to: usize| {
        format!(r#""{name}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[{from},{to}]}}"#)
    };
    let header = [
        array("images", "2,3,32,32", 0, 6144),
        array("labels", "2", 6144, 6146),
        array("test_images", "2,3,32,32", 6146, 12_290),
        array("test_labels", "2", 12_290, 12_292),
    ];
    let (header, split) = (format!("{{{}}}", header.join(",")), [vec![0; 6145], vec![1]].concat());
    let whole = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &split, &split].concat();
    fs::write(folder.join("pictures.safetensors"), whole).expect("written");
}

#[test]
fn every_plugin_has_a_page_whose_example_is_a_pipeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |file: String| folder.path().join(file).to_str().expect("a path in UTF-8").to_string();
    let base = "model: small_cnn\noptimizer: { type: sgd, lr: 0.1 }\nattack: { type: pgd, eps: 0.3, alpha: 0.01 }\n\
                loss: at\ntrain: { epochs: 1 }\n";
    let mut examples = Vec::new();
    for (kind, name) in plugins() {
        let page = shown(&["explain", &kind, &name]);
        assert_holds(&page, &[" from the crate foil"]);
        assert!(kind != "scheduler" || page.contains("over a run of"), "{page}");
        let (_, example) = page.split_once("\nExample\n").unwrap_or_else(|| panic!("no example in {page}"));
        let lines = example.lines().map_while(|line| line.strip_prefix("  ")).map(|line| format!("{line}\n"));
        examples.push((format!("{kind}-{name}"), lines.collect::<String>()));
    }
    assert!(examples.len() >= 15, "{} plugins", examples.len());

    // The files that TorchScript's examples name.
    for (file, program) in [("net.pt", "small_cnn.pt"), ("loss.pt", "trades.pt")] {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/torchscript/tests").join(program);
        fs::copy(program, path(file.into())).expect("copied");
    }

    // And what the examples of data sets name.
    pictures(folder.path());
    // The networks that examples of losses name.
    let problems = std::cell::RefCell::default();
    let digits = foil::registry::DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 1 };
    let cx = foil::registry::Build::new(digits, 0, tch::Kind::Float, tch::Device::Cpu, &problems);
    let small = serde_json::from_value(serde_json::json!("small_cnn")).expect("a model");
    let weights = cx.network("model", &small, 1).expect("a network").params().state_dict();
    for name in ["teacher", "helper"] {
        let file = folder.path().join(format!("{name}.safetensors"));
        foil::tensors::write(&file, &weights, std::collections::HashMap::new()).expect("written");
    }

    // A network is made for one size of image: an example is right if it is right for some data.
    let (mut right, mut problems) = (String::new(), String::new());
    for set in ["mnist_subset", "cifar10"] {
        fs::write(path(format!("{set}.yaml")), format!("data: {set}\n{base}")).expect("written");
        let mut files = Vec::new();
        for (name, example) in &examples {
            files.push(path(format!("{name}-{set}.yaml")));
            fs::write(files.last().expect("a file"), format!("extends: {set}.yaml\n{example}")).expect("written");
        }
        let words: Vec<&str> = std::iter::once("check").chain(files.iter().map(String::as_str)).collect();
        let Output { stdout, stderr, .. } = run(&words);
        right += &String::from_utf8_lossy(&stdout);
        problems += &String::from_utf8_lossy(&stderr);
    }
    assert!(!problems.contains("panicked"), "{problems}");
    for (name, example) in examples {
        assert!(right.contains(&format!("/{name}-")), "{name}:\n{example}{problems}");
    }
}

#[test]
fn the_schema_describes_every_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("foil.schema.json");
    let Output { status, stderr, .. } = run(&["schema", "--out", file.to_str().expect("UTF-8")]);
    assert!(status.success());
    assert_holds(&String::from_utf8_lossy(&stderr), &["# yaml-language-server: $schema="]);
    let text = fs::read_to_string(&file).expect("the schema");
    assert_eq!(text, shown(&["schema"]));
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let definitions = schema["$defs"].as_object().expect("definitions");
    let maps = definitions.iter().map(|(name, map)| (name.as_str(), map)).chain([("pipeline", &schema)]);
    for (name, map) in maps {
        for (key, about) in map["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != "type") {
            assert!(
                about["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: `{key}` has no description"
            );
        }
    }
    for (kind, name) in plugins() {
        let plugin = &definitions[&format!("component.{kind}.{name}")];
        assert!(plugin["description"].as_str().is_some_and(|text| !text.is_empty()), "{kind} {name}");
    }
}

#[test]
fn the_doctor_looks_at_everything() {
    let page = shown(&["doctor"]);
    let names = ["foil", "libtorch", "processor", "memory", "CUDA", "driver", "computing", "ranks", "plugins", "data"];
    for name in names {
        assert!(page.lines().any(|line| line.starts_with(&format!("{name:<11}"))), "{name} is not in {page}");
    }
    assert_holds(&page, &[env!("CARGO_PKG_VERSION"), "cpu works", "mnist_subset: built in"]);
    let report = json(&["doctor", "--json"]);
    assert_eq!(report["works"], true);
    let found: Vec<&str> =
        report["findings"].as_array().expect("findings").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(found, names);
}

/// What `foil doctor` says of the processor when this many threads are asked for; `before` are
/// words that foil is started with.
#[cfg(target_os = "linux")]
fn processor(before: &[&str], threads: &str) -> (String, String) {
    let words = [before, &[env!("CARGO_BIN_EXE_foil"), "doctor", "--json"]].concat();
    let output = Command::new(words[0]).args(&words[1..]).env("OMP_NUM_THREADS", threads).output().expect("foil runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["name"] == "processor").expect("the processor");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    (text(&found["found"][0]), text(&found["help"]))
}

/// Threads that wait for each other's turn slow training to a tenth, so there are never more of
/// them than processors.
#[cfg(target_os = "linux")]
#[test]
fn the_doctor_says_when_more_threads_are_asked_for_than_there_are_processors() {
    let given = std::thread::available_parallelism().expect("a number").get();
    let (found, help) = processor(&[], "300");
    assert!(found.ends_with(&format!("libtorch computes with {given} of them")), "{found}");
    assert_eq!(help, format!("OMP_NUM_THREADS asks for 300 threads; more than {given} would wait for each other"));
    let (found, help) = processor(&[], &given.to_string());
    assert!(found.ends_with(&format!("libtorch computes with {given} of them")) && help.is_empty(), "{found}: {help}");

    // A process that may use one of several.
    let status = fs::read_to_string("/proc/self/status").expect("the process's status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("processors");
    let first = list.trim().split(['-', ',']).next().expect("a processor");
    let (found, help) = processor(&["taskset", "-c", first], "2");
    assert!(found.ends_with("libtorch computes with 1 of them"), "{found}");
    assert!(given == 1 || found.contains(", 1 of the machine's "), "{found}");
    assert_eq!(help, "OMP_NUM_THREADS asks for 2 threads; more than 1 would wait for each other");
}

#[test]
fn data_sets_are_described_and_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = |words: &[&str]| {
        let output = command(words).env("FOIL_DATA", folder.path()).env("XDG_CACHE_HOME", folder.path()).output();
        String::from_utf8(output.expect("foil runs").stdout).expect("UTF-8")
    };
    assert_holds(&list(&["data", "list"]), &["cifar100", "licence", "cite", "built in", "foil data get mnist"]);
    fs::create_dir(folder.path().join("cifar10")).expect("a folder");
    fs::write(folder.path().join("cifar10/cifar-10-binary.tar.gz"), "").expect("a file"); // is found by its name
    let sets: Value = serde_json::from_str(&list(&["data", "list", "--json"])).expect("JSON");
    let set =
        |name: &str| sets.as_array().expect("sets").iter().find(|set| set["name"] == name).expect("a set").clone();
    assert!(set("cifar10")["found"].as_str().is_some_and(|place| place.ends_with("cifar-10-binary.tar.gz")));
    assert_eq!(set("mnist")["found"], Value::Null);
    assert_eq!(set("mnist_subset")["found"], "built in");
    assert_holds(&list(&["data", "get", "mnist_subset"]), &["comes with foil"]);
}

#[test]
fn a_download_without_a_server_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command(&["data", "get", "mnist", "--dir"])
        .arg(folder.path())
        .env("HTTPS_PROXY", "http://127.0.0.1:9") // nobody answers there
        .env("https_proxy", "http://127.0.0.1:9")
        .output()
        .expect("foil runs");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert_holds(
        &message,
        &["error: `train-images-idx3-ubyte.gz` of `mnist` could not be fetched", "help: no network here?"],
    );
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mistake = "tests/data/errors/several_problems_at_once.yaml";
    for words in [&["schema"][..], &["explain", "pipeline"], &["list"], &["check", mistake]] {
        let mut foil = command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("foil runs");
        drop(foil.stdout.take());
        if words[0] == "check" {
            drop(foil.stderr.take()); // where it says what is wrong
        }
        let mut said = String::new();
        foil.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said).expect("UTF-8"));
        let status = foil.wait().expect("foil ends");
        assert!(said.is_empty(), "foil {words:?}: {said}");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(13), "foil {words:?} ends by SIGPIPE, as `cat` does: {status}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error_in_plain_words() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("the device");
    let output = command(&["list"]).stdout(full).output().expect("foil runs");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(message, "error: cannot write to standard output: No space left on device (os error 28)\n");
}

/// Where no terminal says how wide it is, lines have up to 100 columns, and what an example does
/// stands behind it or in a line of its own.
#[test]
fn examples_in_help_are_not_broken_in_the_middle() {
    for name in COMMANDS {
        let help = shown(&[name, "--help"]);
        for line in help.lines().skip_while(|line| *line != "Examples:").skip(1).take_while(|line| !line.is_empty()) {
            assert!(line.starts_with("  ") && line.chars().count() <= 100, "foil {name} --help: {line}");
        }
    }
}

#[test]
fn shells_and_man_know_the_commands() {
    for (shell, has) in [("bash", "complete -F _foil"), ("zsh", "#compdef foil"), ("fish", "complete -c foil")] {
        let output = command(&["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains(has) && text.contains("new-plugin"), "{shell}: {text}");
    }
    let place = tempfile::tempdir().unwrap();
    assert!(command(&["man", "--dir"]).arg(place.path()).status().unwrap().success());
    let page = fs::read_to_string(place.path().join("foil-train.1")).unwrap();
    assert!(page.contains(".TH foil-train 1") && page.contains("resume"), "{page}");
    let help = command(&["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let commands: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"man"), "{commands:?}");
    assert!(place.path().join("foil-new-plugin.1").is_file() && place.path().join("foil.1").is_file());
}

/// A command in a message works as it is printed: with the name that the program was called by.
#[test]
fn messages_name_the_program_as_it_was_called() {
    let told = |typed: Option<&str>| {
        let mut foil = command(&["explain", "nothing_such"]);
        match typed {
            Some(typed) => foil.env("FOIL_TYPED", typed),
            None => foil.env_remove("FOIL_TYPED"),
        };
        String::from_utf8(foil.output().unwrap().stderr).unwrap()
    };
    let plain = told(Some("foil"));
    let commands = plain.matches("foil list").count();
    assert!(commands > 0, "{plain}");
    assert_eq!(told(Some("cargo foil")), plain.replace("foil list", "cargo foil list"));
    let called = format!("{} list", env!("CARGO_BIN_EXE_foil"));
    assert_eq!(told(None).matches(&called).count(), commands, "{}", told(None));
}

/// Every command in the documentation can be typed into zsh, where `[`, `{`, `*` and `?` outside of
/// quotes mean files.
#[test]
fn commands_in_the_documentation_are_quoted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for folder in ["", "docs", "docs/results"] {
        for entry in fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.extension().is_none_or(|end| end != "md") {
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines() {
                let Some(typed) = line.strip_prefix("$ ") else { continue };
                let typed = typed.split(" #").next().unwrap_or_default();
                // Odd parts are within quotes. A pattern of files has a path in front.
                let outside: String = typed.split(['\'', '"']).step_by(2).collect();
                let brackets =
                    outside.split_whitespace().filter(|word| word.contains('=') && word.contains(['[', '{']));
                wrong.extend(brackets.map(|word| format!("{}: {word}", path.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "quote them: {wrong:#?}");
}
