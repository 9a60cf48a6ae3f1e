//! One training step of every method, held against the papers' own published codes.
//!
//! tests/parity holds small networks, eight real images and what the official code computed from
//! them in one step; its README.md names repository, commit and function of each case. The
//! committed inputs are whole. Of what came out a digest is kept (eight numbers of each tensor, its
//! largest, its norm, its sum under scattered signs), since the tensors themselves are twice as
//! large as all else together. A number that is off by d moves the signed sum by d, and the norm
//! against which that is evaluated is at most sqrt(n) times the largest value; so a digest sees
//! what a comparison of all numbers sees, but for that factor. Scalars, so all losses, are there in
//! full.
//!
//! Bounds, relative to a tensor's largest value: 1e-9 in double precision for every tensor, where
//! correct programs differ by 1e-12 at most and wrong ones by 1e-5 or more. In single precision
//! rounding turns the sign of small gradients, so only losses (1e-3) and logits (1e-2) are
//! evaluated. With FOIL_PARITY naming the folders of whole packs, from which tests/parity/make.py
//! makes what is committed, every number of every tensor is compared as well, and the committed
//! inputs with the packs'.

mod digest;

use digest::{difference, digest};
use foil::tensors::{self, Named};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tch::{Device, Kind, Tensor};

/// What foil writes and the official codes have no variable for. Some do not keep the terms of
/// their loss apart: CAT's MNIST script, TRADES-AWP's, ARD's, LBGAT's, FGSM-PGI's and others.
const OURS_ALONE: [&str; 14] = [
    "delta",
    "loss.boundary",
    "loss.cross",
    "loss.distance",
    "loss.distilled",
    "loss.kl",
    "loss.mask_mean",
    "loss.natural",
    "loss.pairs",
    "loss.robust",
    "loss.teacher",
    "loss.weighted_ce",
    "mma.distance",
    "period",
];

/// Logits that two codes have along the way, of the attack's first pass, and foil does not write.
const THEIRS_ALONE: [&str; 1] = ["logits.start"];

struct Case {
    name: String,
    expected: Value,
    folder: tempfile::TempDir,
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name)
}

/// A committed file of tensors, with those of the file over which it lies, but for some.
fn inputs(kind: &str, name: &str) -> Named {
    let (mut own, metadata) = tensors::read(&beside(&format!("{kind}/{name}.safetensors"))).unwrap();
    if let Some(over) = metadata.get("over") {
        for (name, tensor) in inputs(kind, over) {
            own.entry(name).or_insert(tensor);
        }
    }
    for name in metadata.get("without").iter().flat_map(|names| names.split(' ')) {
        own.remove(name);
    }
    own
}

impl Case {
    fn new(name: &str) -> Self {
        let text = fs::read_to_string(beside(&format!("expected/{name}.json"))).unwrap();
        let case = Self {
            name: name.to_string(),
            expected: serde_json::from_str(&text).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        for (file, kind) in [("weights", "weights"), ("batch", "batches")] {
            let named = |(name, tensor): (String, Tensor)| match name.strip_prefix("helper.") {
                Some(rest) => (format!("{}.{rest}", case.network()), tensor),
                None => (name, tensor),
            };
            let tensors = inputs(kind, case.text(file)).into_iter().map(named).collect::<Vec<_>>();
            tensors::write(&case.file(file), &tensors, HashMap::new()).unwrap();
            // A pipeline asks for the weights of a network besides the model; probe sets them.
            let prefix = format!("{}.", case.network());
            let own = |(name, tensor): &(String, Tensor)| Some((name.strip_prefix(&prefix)?.into(), tensor.copy()));
            let besides: Vec<(String, Tensor)> = tensors.iter().filter_map(own).collect();
            if !besides.is_empty() {
                tensors::write(&case.file("besides"), &besides, HashMap::new()).unwrap();
            }
        }
        case.write_pictures();
        case
    }

    fn all() -> Vec<Self> {
        let files = fs::read_dir(beside("expected")).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
        names.sort();
        assert_eq!(names.len(), 43);
        names.iter().map(|name| Self::new(name)).collect()
    }

    fn text(&self, key: &str) -> &str {
        self.expected[key].as_str().unwrap()
    }

    /// What the pipeline calls the network besides the model.
    fn network(&self) -> &str {
        self.expected.get("network").map_or("helper", |name| name.as_str().unwrap())
    }

    /// A data set of eight images, for FGSM-PGI: what it keeps of 50,000 is 2.4 GB. The images do
    /// not matter, only that there are ten classes.
    fn write_pictures(&self) {
        let (images, labels) =
            (Tensor::zeros([8, 3, 32, 32], (Kind::Uint8, Device::Cpu)), Tensor::arange(8, (Kind::Int64, Device::Cpu)));
        let all = ["images", "test_images"].map(|name| (name.to_string(), images.shallow_clone()));
        let of = ["labels", "test_labels"].map(|name| (name.to_string(), &labels + 2));
        let pictures: Vec<(String, Tensor)> = all.into_iter().chain(of).collect();
        tensors::write(&self.file("pictures"), &pictures, HashMap::new()).unwrap();
    }

    fn pipeline(&self) -> PathBuf {
        beside(&format!("pipelines/{}.yaml", self.name))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.safetensors"))
    }

    /// foil's step; `more` overrides keys of the pipeline.
    fn step(&self, dtype: &str, more: &[&str]) -> Named {
        let mut foil = Command::new(env!("CARGO_BIN_EXE_foil"));
        foil.arg("probe").arg(self.pipeline()).args(["--dtype", dtype]).args(more);
        if self.file("besides").exists() {
            foil.arg(format!("networks.{}.init=besides.safetensors", self.network()));
        }
        if fs::read_to_string(self.pipeline()).unwrap().contains("pictures.safetensors") {
            foil.arg("data.path=pictures.safetensors");
        }
        for file in ["weights", "batch", "out"] {
            foil.arg(format!("--{file}")).arg(self.file(file));
        }
        let output = foil.current_dir(self.folder.path()).env("OMP_NUM_THREADS", "1").output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && said.contains("Nothing was random"), "{}: {said}", self.name);
        tensors::read(&self.file("out")).unwrap().0
    }

    /// Where foil's step is not the official one, by the digests.
    fn differences(&self, ours: &Named, dtype: &str) -> Vec<String> {
        let theirs = self.expected[dtype].as_object().unwrap();
        let mut wrong: Vec<String> = theirs
            .iter()
            .filter_map(|(name, theirs)| match ours.get(name) {
                Some(ours) => difference(name, &digest(ours), theirs, bound(name, dtype)?),
                None if THEIRS_ALONE.contains(&name.as_str()) => None,
                None => Some(format!("{name} is missing")),
            })
            .collect();
        if dtype == "f64" {
            let left_out = self.expected["left_out"].as_array().unwrap();
            let known = |name: &str| {
                theirs.contains_key(name) || left_out.iter().any(|left| left == name) || OURS_ALONE.contains(&name)
            };
            wrong.extend(ours.keys().filter(|name| !known(name)).map(|name| format!("only foil has {name}")));
        }
        wrong
    }

    /// The same by every number of a whole pack; also where the committed inputs are not the
    /// packs'.
    fn differences_from(&self, pack: &Path, packs: &[PathBuf], ours: &Named, dtype: &str) -> Vec<String> {
        let theirs = tensors::read(&pack.join(format!("expected/{}.{dtype}.safetensors", self.name))).unwrap().0;
        let mut wrong: Vec<String> = theirs
            .iter()
            .filter_map(|(name, theirs)| {
                let (apart, bound) = (apart(ours.get(name)?, theirs), bound(name, dtype)?);
                (apart.is_nan() || apart > bound).then(|| format!("{name} of the pack: {apart:.1e}"))
            })
            .collect();
        for (kind, key) in [("weights", "weights"), ("batches", "batch")] {
            let file = format!("{kind}/{}.safetensors", self.text(key));
            let given = packs.iter().map(|pack| pack.join(&file)).find(|file| file.exists());
            if inputs(kind, self.text(key)) != tensors::read(&given.expect(&file)).unwrap().0 {
                wrong.push(format!("{kind}/{} is not the pack's", self.text(key)));
            }
        }
        wrong
    }
}

/// How far `tensor` may be off; `None` where nothing is asked of it.
fn bound(tensor: &str, dtype: &str) -> Option<f64> {
    match dtype {
        "f64" => Some(1e-9),
        _ if tensor.starts_with("loss.") => Some(1e-3),
        _ if tensor.starts_with("logits.") => Some(1e-2),
        _ => None,
    }
}

/// The largest difference, relative to the largest value.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    if a.size() != b.size() {
        return f64::INFINITY;
    }
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let largest = |t: &Tensor| t.abs().max().double_value(&[]);
    largest(&(&a - &b)) / largest(&a).max(largest(&b)).max(1e-4)
}

fn every_case_equals_its_official_code(dtype: &str) {
    let packs: Vec<PathBuf> = std::env::var_os("FOIL_PARITY").iter().flat_map(std::env::split_paths).collect();
    let mut wrong = Vec::new();
    let mut held = 0;
    for case in Case::all().iter().filter(|case| !case.expected[dtype].is_null()) {
        let ours = case.step(dtype, &[]);
        let mut differences = case.differences(&ours, dtype);
        let file = format!("expected/{}.{dtype}.safetensors", case.name);
        if let Some(pack) = packs.iter().find(|pack| pack.join(&file).exists()) {
            differences.extend(case.differences_from(pack, &packs, &ours, dtype));
        }
        wrong.extend(differences.into_iter().map(|difference| format!("{}: {difference}", case.name)));
        held += 1;
    }
    assert!(wrong.is_empty(), "{dtype}\n{}", wrong.join("\n"));
    let all = if dtype == "f64" { 43 } else { 11 };
    assert!(held >= all, "{held} cases");
}

#[test]
fn in_double_precision_every_tensor() {
    every_case_equals_its_official_code("f64");
}

#[test]
fn in_single_precision_losses_and_logits() {
    every_case_equals_its_official_code("f32");
}

/// The bounds tell a correct step from one that is nearly so.
#[test]
fn a_wrong_detail_is_seen() {
    for (case, detail) in [
        ("at", "optimizer.weight_decay=0.0004"),
        ("mart", "loss.adversarial_first=true"),
        ("trades", "loss.single_clean_pass=true"),
        ("cat_cw", "loss.detach_weight=true"),
        ("fat1", "attack.tau=2"),
        ("at_awp", "update.gamma=0.0101"),
        ("trades_awp", "loss.attacked_first=false"),
        ("hat", "attack.factor=1.9"),
        ("rslad", "loss.weight=0.83"),
        ("ard_mixed", "attack.mode=eval"),
        ("lbgat6", "loss.beta=5.99"),
        ("free", "update.times=7"),
        ("fgsm_pgi", "attack.decay=0.29"),
        ("grad_align", "loss.lambda=0.21"),
        ("apgd_linf", "attack.keep=broken"),
        ("apgd_l1", "attack.share=0.06"),
        ("max", "attack.mode=train"),
        ("msd", "attack.alpha_linf=0.004"),
        ("score", "attack.mode=eval"),
        ("score_bound", "loss.bound=0.31"),
        ("asam", "update.eta=0.02"),
        ("dkl", "loss.temperature=1"),
        ("gkl", "loss.gamma=0.21"),
        ("self_adaptive", "loss.momentum=0.89"),
    ] {
        let case = Case::new(case);
        let wrong = case.differences(&case.step("f64", &[detail]), "f64");
        assert!(!wrong.is_empty(), "{} does not notice {detail}", case.name);
    }
}

/// Each case is in the table of the README, with where its numbers come from.
#[test]
fn the_readme_says_where_each_case_comes_from() {
    let readme = fs::read_to_string(beside("README.md")).unwrap();
    for case in Case::all() {
        let name = format!("`{}`", case.name);
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains(&name));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {name}"));
        let source = format!("{} {}", case.text("repository"), &case.text("commit")[..7]);
        assert!(row.contains(&source), "{name}: {source} is not in\n{row}");
    }
}
