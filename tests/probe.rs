//! `foil probe` against PyTorch: the same weights and images, one step, every number.
//!
//! `tests/probe/reference.py` makes the same steps in plain PyTorch. What it gave, in double
//! precision and with PyTorch 2.11.0, is committed beside it as a digest of each tensor, to which
//! foil's is held, to 1e-10 in double precision. In single precision it is 5e-5, since the mask
//! network's gradients are what is left of nearly equal numbers, and 1e-2 where one unit of that
//! network has an input so near to 0 that its LeakyReLU flips. CAT_cent and CAT_cw are there twice,
//! with `small_cnn` and with batch norm, which notices the order of the passes.
//!
//! With FOIL_TEST_PYTHON naming a Python that has torch and safetensors, the script also runs here
//! and every number is compared; with FOIL_TEST_UPDATE=1 besides, the digests are written again.

mod digest;

use digest::{difference, digest, scattered};
use foil::tensors::{self, Named};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tch::{Kind, Tensor};

/// A layer's name and the shape of its weight, and whether it has a bias. Of one dimension it is
/// batch norm.
type Layer = (&'static str, &'static [i64], bool);

const SMALL_CNN: [Layer; 6] = [
    ("0", &[32, 1, 3, 3], true),
    ("2", &[32, 32, 3, 3], true),
    ("4", &[64, 32, 3, 3], true),
    ("6", &[64, 64, 3, 3], true),
    ("9", &[100, 3136], true),
    ("11", &[10, 100], true),
];

/// `wide_resnet` of depth 10 and width 1 on one channel.
const WIDE_RESNET: [Layer; 17] = [
    ("conv1", &[16, 1, 3, 3], false),
    ("block1.layer.0.bn1", &[16], true),
    ("block1.layer.0.conv1", &[16, 16, 3, 3], false),
    ("block1.layer.0.bn2", &[16], true),
    ("block1.layer.0.conv2", &[16, 16, 3, 3], false),
    ("block2.layer.0.bn1", &[16], true),
    ("block2.layer.0.conv1", &[32, 16, 3, 3], false),
    ("block2.layer.0.bn2", &[32], true),
    ("block2.layer.0.conv2", &[32, 32, 3, 3], false),
    ("block2.layer.0.convShortcut", &[32, 16, 1, 1], false),
    ("block3.layer.0.bn1", &[32], true),
    ("block3.layer.0.conv1", &[64, 32, 3, 3], false),
    ("block3.layer.0.bn2", &[64], true),
    ("block3.layer.0.conv2", &[64, 64, 3, 3], false),
    ("block3.layer.0.convShortcut", &[64, 32, 1, 1], false),
    ("bn1", &[64], true),
    ("fc", &[10, 64], true),
];

const MASK_CNN: [Layer; 4] = [
    ("mask.0", &[64, 1, 3, 3], true),
    ("mask.2", &[128, 64, 3, 3], true),
    ("mask.4", &[128, 128, 3, 3], true),
    ("mask.7", &[1, 128, 3, 3], true),
];

/// Weights of the method's networks, uniform in ±sqrt(6/fan_in), so that logits are of order one:
/// where they hardly differ, a KL divergence in single precision is mostly rounding. Batch norm is
/// near the identity.
fn weights(method: &str) -> Named {
    let model = if method.ends_with("_bn") { &WIDE_RESNET[..] } else { &SMALL_CNN[..] };
    let mask = if method.starts_with("cat") { &MASK_CNN[..] } else { &[] };
    let mut named = Named::new();
    for (i, (layer, shape, bias)) in model.iter().chain(mask).enumerate() {
        let mut salt = 2 * i as u32 + 10;
        let mut put = |what: &str, shape: &[i64], middle: f64, bound: f64| {
            named.insert(format!("{layer}.{what}"), (scattered(shape, salt) * 2.0 - 1.0) * bound + middle);
            salt += 1;
        };
        if shape.len() == 1 {
            put("weight", shape, 1.0, 0.5);
            put("bias", shape, 0.0, 0.1);
            put("running_mean", shape, 0.0, 0.1);
            put("running_var", shape, 1.0, 0.5);
            named.insert(format!("{layer}.num_batches_tracked"), Tensor::from(0i64));
            continue;
        }
        let bound = (6.0 / shape[1..].iter().product::<i64>() as f64).sqrt();
        put("weight", shape, 0.0, bound);
        if *bias {
            put("bias", &shape[..1], 0.0, bound);
        }
    }
    named
}

/// Four images, part of them black as digits are, and where the attack starts on them.
fn batch() -> Named {
    let shape = [4, 1, 28, 28];
    let u = scattered(&shape, 1);
    let x = &u * u.gt(0.4);
    let start = (&x + (scattered(&shape, 2) * 2.0 - 1.0) * 0.3).clamp(0.0, 1.0);
    let y = Tensor::from_slice(&[3i64, 0, 7, 9]);
    let index = Tensor::from_slice(&[5i64, 2, 11, 8]);
    [("x", x), ("y", y), ("index", index), ("start", start)].map(|(name, t)| (name.to_string(), t)).into()
}

/// A folder with a step's two files.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(weights: Named, batch: Named) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        for (name, tensors) in [("w", weights), ("b", batch)] {
            tensors::write(&bench.file(name), &tensors.into_iter().collect::<Vec<_>>(), HashMap::new()).unwrap();
        }
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.safetensors"))
    }

    fn foil(&self, arguments: &[&str]) -> Output {
        let mut foil = Command::new(env!("CARGO_BIN_EXE_foil"));
        foil.current_dir(self.folder.path()).env("OMP_NUM_THREADS", "1").args(arguments).output().unwrap()
    }

    /// One step; `more` goes behind the command.
    fn probe(&self, method: &str, out: &str, more: &[&str]) -> Output {
        let config = beside(&format!("{method}.yaml"));
        let fixed =
            ["probe", config.to_str().unwrap(), "--weights", "w.safetensors", "--batch", "b.safetensors", "--out", out];
        self.foil(&[&fixed, more].concat())
    }

    fn tensors(&self, name: &str) -> Named {
        tensors::read(&self.file(name)).unwrap().0
    }
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(output: Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn fails(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn equals_pytorch(method: &str) {
    let bench = Bench::new(weights(method), batch());
    let committed = beside(&format!("{method}.json"));
    let python = std::env::var("FOIL_TEST_PYTHON").ok();
    let single = if matches!(method, "at" | "trades" | "cat_cw") { "5e-5" } else { "1e-2" };
    for (dtype, tolerance) in [("f64", "1e-10"), ("f32", single)] {
        let ours = format!("foil_{dtype}.safetensors");
        let said = succeeds(bench.probe(method, &ours, &["--dtype", dtype, "--iterates"]));
        assert!(said.contains("Nothing was random"), "{said}");

        if let Some(python) = &python {
            let theirs = format!("pytorch_{dtype}.safetensors");
            let script = beside("reference.py");
            let mut run = Command::new(python);
            run.current_dir(bench.folder.path()).arg(script).arg(method).args(["--dtype", dtype, "--out", &theirs]);
            succeeds(run.args(["--weights", "w.safetensors", "--batch", "b.safetensors"]).output().unwrap());
            let said = succeeds(bench.foil(&["probe", "--compare", &ours, &theirs, "--tolerance", tolerance]));
            assert!(!said.contains("only in"), "{said}");
            if dtype == "f64" && std::env::var("FOIL_TEST_UPDATE").is_ok() {
                let lines: Vec<String> = bench
                    .tensors("pytorch_f64")
                    .iter()
                    .map(|(name, t)| format!("{}: {}", json!(name), digest(t)))
                    .collect();
                std::fs::write(&committed, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
            }
        }

        let reference: HashMap<String, Value> =
            serde_json::from_str(&std::fs::read_to_string(&committed).unwrap()).unwrap();
        let ours = bench.tensors(&format!("foil_{dtype}"));
        let mut names: Vec<&String> = reference.keys().collect();
        names.sort();
        assert_eq!(ours.keys().collect::<Vec<_>>(), names);
        let tolerance = tolerance.parse().unwrap();
        let wrong: Vec<String> =
            ours.iter().filter_map(|(name, t)| difference(name, &digest(t), &reference[name], tolerance)).collect();
        assert!(wrong.is_empty(), "{method} {dtype}\n{}", wrong.join("\n"));
    }
}

#[test]
fn at_equals_pytorch() {
    equals_pytorch("at");
}

#[test]
fn trades_equals_pytorch() {
    equals_pytorch("trades");
}

#[test]
fn cat_cent_equals_pytorch() {
    equals_pytorch("cat_cent");
}

#[test]
fn cat_cw_equals_pytorch() {
    equals_pytorch("cat_cw");
}

#[test]
fn cat_cent_with_batch_norm_equals_pytorch() {
    equals_pytorch("cat_cent_bn");
}

#[test]
fn cat_cw_with_batch_norm_equals_pytorch() {
    equals_pytorch("cat_cw_bn");
}

/// `tensors` with some replaced, added, or taken away.
fn changed(mut tensors: Named, changes: Vec<(&str, Option<Tensor>)>) -> Named {
    for (name, tensor) in changes {
        match tensor {
            Some(tensor) => drop(tensors.insert(name.to_string(), tensor)),
            None => drop(tensors.remove(name).unwrap()),
        }
    }
    tensors
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let ones = |shape: &[i64]| Some(scattered(shape, 5));
    let w = vec![
        ("0.bias", None),
        ("2.weight", ones(&[32, 32, 3])),
        ("2.bias", ones(&[32]).map(|t| t / 0.0)),
        ("4.bias", ones(&[64]).map(|t| t.to_kind(Kind::Half))),
        ("11.wieght", ones(&[10, 100])),
        ("mask.0.bias", ones(&[64])),
    ];
    let b = vec![
        ("x", ones(&[4, 1, 28, 28]).map(|x| x * 255.0)),
        ("y", Some(Tensor::from_slice(&[3i64, 0, 10, -1]))),
        ("index", Some(Tensor::from_slice(&[3i64, 4, 3, 70_000]))),
        ("start", ones(&[3, 1, 28, 28])),
        ("noise.dropout.0.0", ones(&[2])),
        ("noise.start", ones(&[4, 1, 28, 28])),
        ("labels", ones(&[4])),
    ];
    let bench = Bench::new(changed(weights("at"), w), changed(batch(), b));
    let said = fails(bench.probe("at", "out.safetensors", &[]));
    let expected = "\
error: these files do not fit the step
  w.safetensors: `0.bias` is missing; it is [32]
  w.safetensors: `2.weight` is [32, 32, 3]; it must be [32, 32, 3, 3]
  w.safetensors: `2.bias` holds 32 numbers that are not finite, the first at [0]
  w.safetensors: `4.bias` is float16; it must be float32 or float64
  w.safetensors: `11.wieght` is unknown; did you mean `11.weight`?
  w.safetensors: `mask.0.bias` is unknown; neither the model nor the attack has it
  b.safetensors: `start` is [3, 1, 28, 28]; it must be [4, 1, 28, 28]
  b.safetensors: `x` reaches from 0.088 to 254.978; images are in [0, 1]
  b.safetensors: `y` holds -1; the data have 10 classes, 0 to 9
  b.safetensors: `y` holds 10; the data have 10 classes, 0 to 9
  b.safetensors: `index` holds 70000; the data have 10000 training images, 0 to 9999
  b.safetensors: `index` holds an image twice
  b.safetensors: `noise.dropout.0.0` is [2]; it must have 4 rows, one per image
  b.safetensors: `labels` is unknown; known: x, y, index, start, x_adv, noise.NAME
  b.safetensors: `noise.start` is unknown; write `start`, the point where the attack starts
  help: docs/probe.md describes them; `model`, `attack` and `data` are the config's
";
    assert_eq!(said, expected);
    assert!(!bench.file("out").exists());
}

#[test]
fn attacked_images_can_be_given_and_give_the_same_step() {
    let bench = Bench::new(weights("cat_cw"), batch());
    succeeds(bench.probe("cat_cw", "whole.safetensors", &[]));
    let x_adv = bench.tensors("whole").remove("x_adv");
    let given = changed(batch(), vec![("start", None), ("x_adv", x_adv)]);
    tensors::write(&bench.file("b"), &given.into_iter().collect::<Vec<_>>(), HashMap::new()).unwrap();
    succeeds(bench.probe("cat_cw", "given.safetensors", &[]));
    let said =
        succeeds(bench.foil(&["probe", "--compare", "whole.safetensors", "given.safetensors", "--tolerance", "0"]));
    assert!(said.contains("0 of 52 tensors differ") && !said.contains("only in"), "{said}");
}

#[test]
fn what_was_left_to_chance_is_said() {
    let bench = Bench::new(weights("at"), changed(batch(), vec![("start", None)]));
    let said = succeeds(bench.probe("at", "out.safetensors", &["attack.steps=1", "seed=3"]));
    assert!(said.contains("Random, from seed 3: start"), "{said}");
    let (_, metadata) = tensors::read(&bench.file("out")).unwrap();
    assert_eq!(metadata["foil.random"], r#"["start"]"#);
    assert!(metadata["foil.config"].contains("steps: 1"), "{}", metadata["foil.config"]);
}

#[test]
fn a_comparison_lists_the_worst_first_and_what_is_missing() {
    let named = |tensors: &[(&str, f64)]| tensors.iter().map(|(n, v)| (n.to_string(), Tensor::from(*v))).collect();
    let bench = Bench::new(
        named(&[("loss.total", 2.0), ("loss.kl", 1.0), ("mask", 1.0)]),
        named(&[("loss.total", 2.0 + 1e-9), ("loss.kl", 1.5), ("x_adv", 1.0)]),
    );
    let compare =
        |more: &[&str]| bench.foil(&[&["probe", "--compare", "w.safetensors", "b.safetensors"], more].concat());
    let output = compare(&[]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "\
Largest differences
┌────────────┬───────┬──────────┬──────────┬────┬─────────┐
│ tensor     │ shape │ absolute │ relative │ at │         │
├────────────┼───────┼──────────┼──────────┼────┼─────────┤
│ loss.kl    │ []    │  5.00e-1 │  3.33e-1 │ [] │ differs │
│ loss.total │ []    │  1.00e-9 │ 5.00e-10 │ [] │ differs │
└────────────┴───────┴──────────┴──────────┴────┴─────────┘
only in w.safetensors: mask
only in b.safetensors: x_adv
2 of 2 tensors differ by more than 1e-10 (float64) or 1e-5, relative
";
    assert_eq!(text(&output.stdout), expected);
    assert!(compare(&["--tolerance", "0.5"]).status.success());
    assert!(fails(compare(&["--tolerance=-1"])).contains("at least 0"));
}

/// The commands of docs/probe.md, with the images and weights that its Python makes.
#[test]
#[ignore = "needs FOIL_TEST_PYTHON, a Python with torch and safetensors"]
fn the_manual_holds() {
    let python = std::env::var("FOIL_TEST_PYTHON").expect("FOIL_TEST_PYTHON names a Python");
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/probe.md")).unwrap();
    let (_, rest) = manual.split_once("```python\n").unwrap();
    let (code, rest) = rest.split_once("   ```\n").unwrap();
    let code: String = code.lines().map(|line| format!("{}\n", line.strip_prefix("   ").unwrap_or(line))).collect();
    let commands = rest.lines().map(str::trim).filter(|line| {
        line.starts_with("python reference.py")
            || line.starts_with("foil probe cat_cw")
            || line.starts_with("foil probe --compare f")
    });

    let bench = Bench::new(Named::new(), Named::new());
    for name in ["reference.py", "base.yaml", "cat_cw.yaml"] {
        std::fs::copy(beside(name), bench.folder.path().join(name)).unwrap();
    }
    succeeds(Command::new(&python).current_dir(bench.folder.path()).args(["-c", &code]).output().unwrap());
    let mut said = Vec::new();
    for command in commands {
        let (program, arguments) = command.split_once(' ').unwrap();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        said.push(succeeds(match program {
            "foil" => bench.foil(&arguments),
            _ => Command::new(&python).current_dir(bench.folder.path()).args(arguments).output().unwrap(),
        }));
    }
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[1].contains("Nothing was random"), "{}", said[1]);
    assert!(said[2].contains("0 of 56 tensors differ"), "{}", said[2]);
}
