//! `foil import` and `foil export`: files of PyTorch in, files for PyTorch out. The files are made
//! by `tests/checkpoints/make.py`; `tests/scripts/check_export.py` holds exports of every network
//! against PyTorch itself.

mod tiny;

use foil::nn::Mode;
use foil::tensors;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_datasets as _;
use foil_models as _;
use foil_optimizers as _;
use foil_runs::interop::Checkpoint;
use foil_runs::pipeline::{assemble, load};
use foil_schedulers as _;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use tch::{CModule, Device, Kind, Tensor};
use tiny::{AT, Place};

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints").join(name).display().to_string()
}

/// Logits of a run folder's model, as `foil eval` builds it.
fn logits(run: &Path, x: &Tensor) -> Tensor {
    let pipeline = load(&run.join("resolved.yaml"), &[]).unwrap().pipeline;
    let parts = assemble(&pipeline, Kind::Float, Device::Cpu, false).unwrap();
    let network = parts.step.model.network();
    network.params().load(&tensors::read(&run.join("best.safetensors")).unwrap().0).unwrap();
    network.frozen(x, Mode::Eval, None)
}

#[track_caller]
fn assert_close(ours: &Tensor, theirs: &Tensor) {
    let by = ((ours - theirs).abs().max() / theirs.abs().max()).double_value(&[]);
    assert!(by < 1e-5, "differs by {by:e}");
}

/// Imports `file`, checks its logits against PyTorch's `what`, and returns what was printed.
#[track_caller]
fn imported(place: &Place, file: &str, what: &str, args: &[&str]) -> String {
    let output = place.foil(&[&["import", &golden(file), "--out", what], args].concat()).ok().out;
    let (expected, _) = tensors::read(&PathBuf::from(golden("expected.safetensors"))).unwrap();
    assert_close(&logits(&place.path(what), &expected["x"]), &expected[what]);
    output
}

#[test]
fn a_training_scripts_checkpoint() {
    let place = Place::with("");
    let output = imported(&place, "trades.pt", "trades", &[]);
    for line in [
        "names begin with `module.`, which is removed",
        "left out: 10 tensors under `module.sub_block1.`, which no forward pass reads",
        "the file says nothing about normalisation",
        "imported into trades; evaluate it: foil eval trades",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let resolved = place.run("trades").text("resolved.yaml");
    for line in ["type: wide_resnet", "depth: 10", "width: 1", "type: cifar10", "normalize: none"] {
        assert!(resolved.contains(line), "{resolved}");
    }
    let (weights, card) = place.run("trades").tensors("best.safetensors");
    assert_eq!(weights["bn1.num_batches_tracked"].2, 7i64.to_le_bytes());
    let sha256 = foil::hash::file_hash(Path::new(&golden("trades.pt"))).unwrap();
    assert!(card["foil.method"].starts_with("imported from ") && card["foil.method"].contains(&sha256), "{card:?}");
    // The folder is not a run that can be resumed.
    let error = place.foil(&["train", "--resume", "trades"]).error();
    assert!(error.contains("trades was imported"), "{error}");
}

#[test]
fn an_old_file_of_a_normalisation_and_a_network() {
    let place = Place::with("");
    let output = imported(&place, "normalised.pth", "normalised", &[]);
    assert!(output.contains("mean [0.4914, 0.4822, 0.4465], deviation [0.2023, 0.1994, 0.201]"), "{output}");
    let (_, card) = place.run("normalised").tensors("best.safetensors");
    assert_eq!(card["foil.std"], "[0.2023,0.1994,0.201]");
    // Without these two, only the names tell that something is missing.
    let args = ["import", &golden("normalised.pth"), "--out", "other", "--ignore", "0."];
    let error = place.foil(&args).error();
    assert!(error.contains("second of a Sequential (its names begin with `1.`)"), "{error}");
    place.foil(&[&args[..], &["--normalize", "none"]].concat()).ok();
    let error = place.foil(&[&args[..], &["--normalize", "{ mean: [0.5], std: [1] }"]].concat()).error();
    assert!(error.contains("`normalize.mean` has 1 numbers, but the images have 3 channels"), "{error}");
}

/// Weights in a list and under a number, beside arrays, a path and a random state, none of which is
/// run.
#[test]
fn weights_in_lists_and_what_stands_beside_them() {
    let place = Place::with("");
    imported(&place, "listed.pth", "trades", &[]);
    let output = place.foil(&["import", &golden("listed.pth"), "--list"]).ok().out;
    for line in ["0.5: 46 tensors, ", "1.curve: a numpy array", "1.out: a path", "1.random: 5 entries", "1.lr: 0.1"] {
        assert!(output.lines().any(|output| output.starts_with(line)), "{line}: {output}");
    }
}

/// Several networks in one set of weights, and tensors that no forward pass reads.
#[test]
fn the_set_that_fits_is_taken_and_others_can_be_named() {
    let place = Place::with("");
    imported(&place, "trades.pt", "trades", &[]);
    let (own, _) = tensors::read(&place.path("trades/best.safetensors")).unwrap();
    let write = |file: &str, starts: &[&str], more: &[&str]| {
        let named = |start: &str| own.iter().map(|(n, t)| (format!("{start}{n}"), t * 1.0)).collect::<Vec<_>>();
        let mut all: Vec<(String, Tensor)> = starts.iter().flat_map(|start| named(start)).collect();
        all.extend(more.iter().map(|name| (name.to_string(), Tensor::from(1.0f32))));
        tensors::write(&place.path(file), &all, Default::default()).unwrap();
    };
    let import = |file: &str, args: &[&str]| {
        let _ = fs::remove_dir_all(place.path("out"));
        place.foil(&[&["import", file, "--out", "out"], args].concat())
    };
    write("both", &["student.", "teacher."], &[]);
    let error = import("both", &[]).error();
    assert!(error.contains("several of its sets of weights fit a model: student, teacher"), "{error}");
    assert!(import("both", &["--key", "teacher"]).ok().out.contains("imported into out"));
    write("one", &["student."], &["teacher.fc.weight", "teacher.fc.bias"]);
    import("one", &[]).ok();
    // torch.optim.swa_utils counts the models that it averaged.
    write("swa", &["module."], &["n_averaged"]);
    import("swa", &[]).ok();
    write("popup", &["module."], &["module.conv1.popup_scores", "module.fc.popup_scores"]);
    let error = import("popup", &[]).error();
    assert!(error.contains("`module.conv1.popup_scores` [] is unknown to the model"), "{error}");
    for pattern in ["popup_scores", "*.popup_scores", "module.*scores"] {
        import("popup", &["--ignore", pattern]).ok();
    }
}

/// What the trainers of Rebuffi et al. and Wang et al. save, with RobustBench's names: the averaged
/// network beside the trained one. Exported again it is the same state_dict.
#[test]
fn a_checkpoint_of_deepminds_networks() {
    let place = Place::with("");
    let output = imported(&place, "dm.pt", "dm", &[]);
    for line in [
        "`model_state_dict` is used; --key selects another: unaveraged_model_state_dict",
        "mean [0.4914, 0.4822, 0.4465], deviation [0.2471, 0.2435, 0.2616]",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let resolved = place.run("dm").text("resolved.yaml");
    for line in ["type: dm_wide_resnet", "depth: 10", "width: 1"] {
        assert!(resolved.contains(line), "{resolved}");
    }
    place.foil(&["export", "dm", "--format", "safetensors", "--out", "out.safetensors"]).ok();
    let (ours, _) = tensors::read(&place.path("out.safetensors")).unwrap();
    // The names of the file, with the normalisation in front.
    for (name, shape) in [
        ("module.0.mean", vec![3, 1, 1]),
        ("module.1.init_conv.weight", vec![16, 3, 3, 3]),
        ("module.1.layer.0.block.0.batchnorm_1.running_var", vec![16]),
        ("module.1.layer.1.block.0.shortcut.weight", vec![32, 16, 1, 1]),
        ("module.1.layer.2.block.0.conv_1.weight", vec![64, 64, 3, 3]),
        ("module.1.logits.weight", vec![10, 64]),
    ] {
        assert_eq!(ours.get(name).map(Tensor::size), Some(shape), "{name}");
    }
    place.foil(&["import", "out.safetensors", "--out", "again"]).ok();
    let [first, again] = ["dm", "again"].map(|run| place.run(run).tensors("best.safetensors").0);
    assert!(first == again);
    // RobustBench's class normalises whether its file says so or not.
    let bare =
        ours.iter().filter_map(|(name, t)| Some((name.strip_prefix("module.1.")?.to_string(), t.shallow_clone())));
    tensors::write(&place.path("bare.safetensors"), &bare.collect::<Vec<_>>(), HashMap::new()).unwrap();
    let output = place.foil(&["import", "bare.safetensors", "--out", "bare"]).ok().out;
    assert!(output.contains("the published network normalises: { mean: [0.4914, 0.4822, 0.4465]"), "{output}");
    let [with, without] = ["dm", "bare"].map(|run| place.run(run).tensors("best.safetensors").1["foil.std"].clone());
    assert_eq!(with, without);
}

/// MMA's names, and the standardisation of each image that its code puts in front, with n - 1 below
/// the line.
#[test]
fn a_checkpoint_of_mma() {
    let place = Place::with("");
    let output = imported(&place, "mma.pt", "mma", &[]);
    for line in [
        "names begin with `1.`, which is removed",
        "as in `1.convgroup1.layer.0.bn1.bias` for foil's `block1.layer.0.bn1.bias`",
        "normalises with `normalize: per_image`",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let resolved = place.run("mma").text("resolved.yaml");
    for line in ["type: wide_resnet", "depth: 10", "width: 1", "normalize: per_image"] {
        assert!(resolved.contains(line), "{resolved}");
    }
    let other = place.foil(&["import", &golden("mma.pt"), "--out", "raw", "--normalize", "none"]).ok().out;
    assert!(
        !other.contains("per_image") && place.run("raw").text("resolved.yaml").contains("normalize: none"),
        "{other}"
    );
}

#[test]
fn what_a_file_holds() {
    let place = Place::with("");
    let output = place.foil(&["import", &golden("trades.pt"), "--list"]).ok().out;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "state_dict: 58 tensors, 83,075 numbers  (taken by default)");
    assert!(lines.contains(&"  module.conv1.weight                              bfloat16  [16, 3, 3, 3]"), "{output}");
    for line in ["epoch: 76", "best_acc: a numpy scalar", "args.beta: 6", "scheduler.last_epoch: 76"] {
        assert!(lines.contains(&line), "{output}");
    }
}

#[test]
fn files_that_are_refused() {
    let place = Place::with("");
    for (file, parts) in [
        ("whole_module.pt", &["it calls `torch.nn.modules.linear.Linear`", "torch.save(model.state_dict()"][..]),
        ("surprise.pt", &["it calls `posix.system`", "near `hook`"]),
        ("program.pt", &["does not run on images of cifar10, cifar100, mnist"]),
        ("make.py", &["is neither a PyTorch checkpoint nor a safetensors file"]),
        ("expected.safetensors", &["no model in foil has these names and shapes"]),
        ("nothing.pt", &["reading ", "No such file"]),
    ] {
        let error = place.foil(&["import", &golden(file), "--out", "run"]).error();
        for part in parts {
            assert!(error.contains(part), "{file}: {error}");
        }
        assert!(!place.path("run").exists() && !place.path("surprised").exists());
    }
}

#[test]
fn weights_of_another_model_are_told_apart() {
    let place = Place::with("");
    let wide = ["import", &golden("trades.pt"), "--model", "{ type: wide_resnet, depth: 16, width: 1 }"];
    let error = place.foil(&wide).error();
    assert!(error.contains("these weights are closest to `{ type: wide_resnet, depth: 16, width: 1"), "{error}");
    assert!(error.contains("`block1.layer.1.bn1.bias` [16] is missing"), "{error}");
    let error = place.foil(&["import", &golden("trades.pt"), "--data", "cifar100"]).error();
    assert!(error.contains("`module.fc.bias` is [10], the model's is [100]"), "{error}");
    let error = place.foil(&["import", &golden("trades.pt"), "--key", "state"]).error();
    assert!(error.contains("no tensors under `state`") && error.contains("state_dict"), "{error}");
    let error = place.foil(&["import", &golden("trades.pt"), "--model", "wide_resnett"]).error();
    assert!(error.contains("no model is called `wide_resnett`"), "{error}");
}

#[test]
fn a_trained_run_goes_out_and_comes_back() {
    let place = Place::with(AT);
    place.train("run", &["train.epochs=1", "normalize={ mean: [0.13], std: [0.31] }", "attack.eps=0.2"]);
    let x = Tensor::rand([3, 1, 28, 28], (Kind::Float, Device::Cpu));
    let own = logits(&place.path("run"), &x);
    for (format, file) in [("pt", "run/best.pth"), ("safetensors", "out.safetensors")] {
        let output = place.foil(&["export", "run", "--format", format, "--out", file]).ok().out;
        assert!(output.contains("model.load_state_dict("), "{output}");
        let output = place.foil(&["import", file, "--out", format]).ok().out;
        assert!(
            output.contains("its model card says: model small_cnn, data mnist_subset, normalize {mean:[0.13],"),
            "{output}"
        );
        assert_eq!(logits(&place.path(format), &x), own);
        let resolved = place.run(format).text("resolved.yaml");
        for part in ["type: mnist_subset", "- 0.13", "- 0.31", "eps: 0.2\n    alpha: 0.02"] {
            assert!(resolved.contains(part), "{part}: {resolved}");
        }
        // The request takes precedence over the card.
        let asked = format!("{format}-asked");
        place.foil(&["import", file, "--out", &asked, "--normalize", "none", "--data", "mnist"]).ok();
        let resolved = place.run(&asked).text("resolved.yaml");
        assert!(resolved.contains("type: mnist\n") && resolved.contains("normalize: none"), "{resolved}");
        fs::remove_dir_all(place.path(&asked)).unwrap();
    }
    // So does a normalisation other than a mean and deviation, and a norm.
    let per_image =
        ["train.epochs=1", "normalize=per_image", "attack={ type: pgd, norm: L2, eps: 1.5, alpha: 0.5, steps: 1 }"];
    place.train("per_image", &per_image);
    place.foil(&["import", "per_image/best.safetensors", "--out", "again"]).ok();
    assert_eq!(logits(&place.path("again"), &x), logits(&place.path("per_image"), &x));
    let resolved = place.run("again").text("resolved.yaml");
    assert!(resolved.contains("norm: L2") && resolved.contains("eps: 1.5") && !resolved.contains("fgsm"), "{resolved}");
    let error = place.foil(&["import", "run/best.pth", "--key", "net"]).error();
    assert!(error.contains("the top level has 12 tensors: leave --key out"), "{error}");
    // The card goes along.
    let mut file = Checkpoint::open(&place.path("run/best.pth")).unwrap();
    let dict = file.choose(None).unwrap().clone();
    let mut card = place.run("run").tensors("best.safetensors").1;
    card.retain(|name, _| name != "foil.weights" && name != "foil.texts");
    assert_eq!(dict.texts, card);
    assert_eq!(file.tensor(&dict.tensors[0]).unwrap().size(), [32, 1, 3, 3]);

    place.foil(&["export", "run", "--format", "torchscript", "--out", "net.pt"]).ok();
    let program = CModule::load(place.path("net.pt")).unwrap();
    assert_close(&program.forward_ts(&[&x]).unwrap(), &own);
    assert_close(&program.forward_ts(&[x.narrow(0, 0, 1)]).unwrap(), &own.narrow(0, 0, 1));

    // The program is evaluated as it is; without parameters it cannot be trained.
    let output = place.foil(&["import", "net.pt", "--out", "program"]).ok().out;
    assert!(output.contains("a TorchScript program, taken as it is, on images of mnist_subset"), "{output}");
    let evaluated = |run: &str| {
        place.foil(&["eval", run, "evaluate=[natural, pgd2]", SUITE, "images.test_limit=50", "--trust", "off"]).ok();
        let entries = place.run(run).json("eval.json")["entries"].clone();
        [0, 1].map(|n| entries[n]["accuracy"].as_f64().unwrap())
    };
    const SUITE: &str = "attacks={ pgd2: { type: pgd, eps: 0.1, alpha: 0.05, steps: 2, start: none } }";
    assert_eq!(evaluated("program"), evaluated("run"));
    fs::write(place.path("program.yaml"), AT.replace("small_cnn", "{ type: torchscript, file: net.pt }")).unwrap();
    for command in [&["check", "program.yaml"][..], &["train", "program.yaml", "--run-dir", "trained"]] {
        let error = place.foil(command).error();
        assert!(error.contains("`model` has no parameters to train") && error.contains("foil import"), "{error}");
    }
    assert!(!place.path("trained").exists());
    let error = place.foil(&["import", "net.pt", "--out", "other", "--data", "cifar10"]).error();
    assert!(error.contains("net.pt does not run on images of cifar10"), "{error}");

    let error = place.foil(&["export", "run/best.safetensors", "--format", "safetensors"]).error();
    assert!(error.contains("is the checkpoint itself"), "{error}");
    let wrong = place.foil(&["export", "run", "--format", "onnx"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("torch.onnx.export"), "{}", wrong.err);
}

/// What was imported goes out under the names that it came with, with the normalisation that it
/// had, and comes in again.
#[test]
fn an_imported_run_goes_out_as_it_came() {
    let place = Place::with("");
    for (file, what, prefix) in [("trades.pt", "trades", "module."), ("normalised.pth", "normalised", "1.")] {
        imported(&place, file, what, &[]);
        let mut came = Checkpoint::open(Path::new(&golden(file))).unwrap();
        let came_with = came.choose(None).unwrap().clone();
        for format in ["pt", "safetensors"] {
            let out = format!("{what}.{format}");
            let output = place.foil(&["export", what, "--format", format, "--out", &out]).ok().out;
            assert!(output.contains("the names that the checkpoint came with"), "{output}");
            let mut file = Checkpoint::open(&place.path(&out)).unwrap();
            let dict = file.choose(None).unwrap().clone();
            assert!(!dict.tensors.is_empty() && !dict.texts.contains_key("foil.names"));
            for entry in &dict.tensors {
                let same = came_with.tensors.iter().find(|came| came.name == entry.name);
                let same = same.unwrap_or_else(|| panic!("`{}` is not a name that {what} came with", entry.name));
                assert_eq!(same.shape, entry.shape, "{}", entry.name);
                // foil holds single precision, whatever the file has.
                let equal = came.tensor(same).unwrap().to_kind(entry.kind) == file.tensor(entry).unwrap();
                assert!(equal, "{}", entry.name);
            }
            // What is lacking is what no forward pass reads.
            let has = |name: &str| dict.tensors.iter().any(|entry| entry.name == name);
            let lost: Vec<&str> =
                came_with.tensors.iter().map(|came| came.name.as_str()).filter(|name| !has(name)).collect();
            assert!(lost.iter().all(|name| name.contains("sub_block1") || name.ends_with("_tracked")), "{lost:?}");
            let again = format!("{what}-{format}");
            place.foil(&["import", &out, "--out", &again]).ok();
            let x = Tensor::rand([2, 3, 32, 32], (Kind::Float, Device::Cpu));
            assert_eq!(logits(&place.path(&again), &x), logits(&place.path(what), &x));
        }
        place.foil(&["export", what, "--foil-names", "--out", "own.pth"]).ok();
        let own = Checkpoint::open(&place.path("own.pth")).unwrap();
        let names: Vec<String> = own.choose(None).unwrap().tensors.iter().map(|entry| entry.name.clone()).collect();
        assert!(
            names.iter().all(|name| !name.starts_with(prefix)) && names.iter().any(|name| name == "bn1.weight"),
            "{names:?}"
        );
    }
}

/// Every file cut short or changed at any place is refused with words, or read; nothing panics.
#[test]
fn damaged_files() {
    let place = Place::with("");
    let path = place.path("damaged");
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut refused = 0;
    for file in ["surprise.pt", "trades.pt", "normalised.pth"] {
        let whole = fs::read(golden(file)).unwrap();
        // Most bytes are numbers; names and structure are at the ends.
        let ends = |n: usize, length: usize| if n < 9_000 { n } else { length - 1 - (n - 9_000) };
        for _ in 0..100 {
            let mut bytes = whole.clone();
            if next(4) == 0 {
                bytes.truncate(next(whole.len()));
            } else {
                for _ in 0..=next(3) {
                    let at = ends(next(18_000.min(whole.len())), whole.len()).min(whole.len() - 1);
                    bytes[at] = if next(2) == 0 { next(256) as u8 } else { [0x52, 0x7d, 0x28, 0xff, 0x75][next(5)] };
                }
            }
            fs::write(&path, &bytes).unwrap();
            match Checkpoint::open(&path) {
                Err(error) => {
                    refused += 1;
                    assert!(!error.message().is_empty());
                }
                Ok(mut file) => {
                    for dict in file.dicts.clone() {
                        dict.tensors.iter().for_each(|entry| drop(file.tensor(entry)));
                    }
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
