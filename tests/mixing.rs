//! Runs that mix in images of another set: what their batches hold is tested beside `Mixture` and
//! `Feed`; here, that runs of the real program end with the same bits however they are run, and
//! that they keep to the images and labels that they began with.

mod ranks;
mod tiny;

use foil::data::{DataSource, Images, Reading};
use foil::registry::Component;
use foil_datasets::test_set::npy;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tiny::{Place, Run};

/// Twelve of twenty images of a batch are extra ones, augmented like the others.
const MIXED: &str = "
name: tiny
seed: 7
device: cpu
data: mnist_subset
images: { train_limit: 43, test_limit: 30 }
extra: { data: { type: arrays, path: extra.npy, labels_path: labels.npy }, share: 0.6 }
augment: [{ type: crop, pad: 2 }, flip]
model: small_cnn
attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform, mode: train }
loss: at
optimizer: { type: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005 }
train: { epochs: 3, batch_size: 20, eval_batch_size: 50, checkpoint_steps: 1 }
evaluate: [natural]
";

/// The test images of the subset.
fn test_images() -> Images {
    let set = Component::<dyn DataSource>::named("mnist_subset").unwrap().build_alone().unwrap();
    set.read(&Reading::default()).unwrap().test
}

/// Writes `images` as arrays of bytes: `extra.npy` and `labels.npy`.
fn write(place: &Place, images: &Images) {
    let n = images.len();
    let labels: Vec<u8> = images.labels.iter().map(|&label| label as u8).collect();
    fs::write(place.path("extra.npy"), npy("|u1", &format!("({n}, 28, 28)"), &images.pixels.all().unwrap())).unwrap();
    fs::write(place.path("labels.npy"), npy("|u1", &format!("({n},)"), &labels)).unwrap();
}

fn with_extra(yaml: &str) -> Place {
    let place = Place::with(yaml);
    write(&place, &test_images().part(0, 25).unwrap());
    place
}

#[test]
fn killed_and_resumed() {
    let place = with_extra(MIXED);
    let whole = place.train("whole", &[]);
    let mut running = place.start(&["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"]);
    assert!(running.wait_for("epoch 2/3"));
    assert!(running.kill());
    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    place.run("killed").assert_same(&whole);
    // As many steps as the 43 images alone make, and other weights than they alone give.
    assert_eq!(whole.metrics()[0]["step"], 3);
    let plain = place.train("plain", &["extra=null"]);
    assert_eq!(plain.metrics()[0]["step"], 3);
    assert_ne!(plain.tensors("last.safetensors").0, whole.tensors("last.safetensors").0);
    assert!(
        whole.text("log.txt").contains("mnist_subset with 60% of each batch from extra"),
        "{}",
        whole.text("log.txt")
    );
}

#[test]
fn an_average_is_estimated_over_mixed_batches_too() {
    let norm = "model: { type: wide_resnet, depth: 10, width: 1 }\naverage: { type: swa, start: 0 }";
    let place = with_extra(&MIXED.replace("model: small_cnn", norm).replace("epochs: 3", "epochs: 1"));
    let [mixed, plain] = [("mixed", &[][..]), ("plain", &["extra=null"][..])].map(|(run, more)| place.train(run, more));
    let stats = |run: &Run| run.tensors("state.safetensors").0["average.stats"].clone();
    assert_ne!(stats(&mixed), stats(&plain));
}

#[test]
fn several_ranks_do_as_one() {
    let place = with_extra(&MIXED.replace("epochs: 3", "epochs: 2"));
    let one = place.train("one", &[]);
    for size in [2, 3] {
        ranks::assert_close(&ranks::train(&place, size, &format!("ranks{size}"), &[]), &one, 2e-6);
    }
}

#[test]
fn a_run_keeps_to_its_extra_images() {
    let place = with_extra(MIXED);
    let run = place.train("run", &["train.epochs=1"]);
    let images = test_images().part(1, 25).unwrap();
    assert!(run.text("resolved.yaml").contains("content: "), "{}", run.text("resolved.yaml"));
    write(&place, &images);
    let error = place.foil(&["train", "--resume", "run", "--no-eval"]).error();
    assert!(error.contains("but `extra.content` is") && error.contains("the run is on other data"), "{error}");
    // A run that is evaluated does not need them.
    for name in ["extra.npy", "labels.npy"] {
        fs::remove_file(place.path(name)).unwrap();
    }
    place.foil(&["eval", "run"]).ok();
    let error = place.foil(&["train", "--resume", "run", "--no-eval"]).error();
    assert!(error.contains("`extra.data`") && error.contains("extra.npy"), "{error}");
}

/// The program with a cache folder of its own, so that nothing is kept from another test.
fn foil(place: &Place, args: &[&str]) -> tiny::Ended {
    let mut command = place.command(env!("CARGO_BIN_EXE_foil"), args);
    let output = command.env("XDG_CACHE_HOME", place.path("cache")).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    tiny::Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn labels_of(path: &Path) -> Vec<i64> {
    Vec::try_from(&foil::tensors::read(path).unwrap().0["labels"].to_kind(tch::Kind::Int64)).unwrap()
}

#[test]
fn unlabelled_images_get_the_labels_of_a_run() {
    let place = with_extra(MIXED);
    // A network that is right now and then: as often as its evaluation says of the same images.
    let natural =
        "attack=none train.epochs=4 extra=null images.train_limit=400 images.test_limit=200 evaluate=[natural]";
    let natural: Vec<&str> = natural.split(' ').collect();
    foil(&place, &[&["train", "tiny.yaml", "--run-dir", "runs/natural"], &natural[..]].concat()).ok();
    let accuracy = place.run("runs/natural").json("eval.json")["entries"][0]["accuracy"].as_f64().unwrap();
    let images = test_images().part(0, 200).unwrap();
    write(&place, &images);
    let extra = "extra={ data: { type: arrays, path: extra.npy, labels: null }, share: 0.6, labels: runs/natural }";
    let train = |run: &str, more: &[&str]| {
        foil(&place, &[&["train", "tiny.yaml", "--no-eval", "--run-dir", run, extra], more].concat()).ok();
        place.run(run)
    };
    let run = train("run", &[]);
    let labels = labels_of(&run.file("extra_labels.safetensors"));
    let right = labels.iter().zip(&images.labels).filter(|(found, label)| **found == i64::from(**label)).count();
    assert_eq!((labels.len(), right as f64 / 2.0), (200, accuracy));
    assert!(right > 60, "{right} of 200 labels are right");

    // The checkpoint and the labels are the run's own; a second run computes none.
    let resolved = run.text("resolved.yaml");
    assert!(resolved.contains("labels: extra.safetensors") && resolved.contains("labels_content: "), "{resolved}");
    let kept = fs::read_dir(place.path("cache/foil/data/labels")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(labels_of(&kept), labels);
    fs::remove_dir_all(place.path("runs/natural")).unwrap();
    let resume = |run: &str| foil(&place, &["train", "--resume", run, "--no-eval"]);
    resume("run").ok();

    // Others are refused, and lost ones are found again.
    let own = run.file("extra_labels.safetensors");
    let other = tch::Tensor::from_slice(&labels.iter().map(|label| (9 - label) as i32).collect::<Vec<_>>());
    foil::tensors::write(&own, &[("labels".to_string(), other)], Default::default()).unwrap();
    let error = resume("run").error();
    assert!(error.contains("the labels of the extra images are not those that the run began with"), "{error}");
    fs::remove_file(&own).unwrap();
    fs::remove_dir_all(place.path("cache")).unwrap();
    resume("run").ok();
    assert_eq!(labels_of(&own), labels);
}

/// Everything that augments single images, and both that mix them, with extra images besides.
const AUGMENTED: &str = "augment: [{ type: crop, pad: 2 }, { type: cutout, size: 6 }, random_erasing, { type: crop, pad: 1 }, { type: mixup, \
     alpha: 0.4 }, { type: cutmix, probability: 0.5, copies: 3 }]";

#[test]
fn images_and_labels_are_mixed_alike_however_a_run_goes() {
    let yaml = MIXED.replace("augment: [{ type: crop, pad: 2 }, flip]", AUGMENTED).replace("epochs: 3", "epochs: 2");
    let place = with_extra(&yaml);
    let whole = place.train("whole", &[]);
    let mut running = place.start(&["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"]);
    assert!(running.wait_for("epoch 2/2"));
    assert!(running.kill());
    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    place.run("killed").assert_same(&whole);
    for size in [2, 3] {
        ranks::assert_close(&ranks::train(&place, size, &format!("ranks{size}"), &[]), &whole, 2e-6);
    }
    let plain = place.train("plain", &["augment=null"]);
    assert_ne!(plain.tensors("last.safetensors").0, whole.tensors("last.safetensors").0);
}

/// Runs `foil ARGS` to its end: the most memory it had at once, in bytes.
fn peak(place: &Place, cache: &Path, args: &[&str]) -> u64 {
    let mut command = place.command(env!("CARGO_BIN_EXE_foil"), args);
    let log = fs::File::create(place.path("err.txt")).unwrap();
    let mut child = command.env("XDG_CACHE_HOME", cache).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{}", fs::read_to_string(place.path("err.txt")).unwrap());
            return most * 1024;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// 400,000 images of 28 x 28, 314 MB: a run on them has far less in memory, and the bits of one
/// that has them all there, which it does where the cache folder cannot be used.
#[test]
#[cfg(target_os = "linux")] // by its list of processes
fn many_images_are_not_in_memory() {
    let place = Place::with(&MIXED.replace("epochs: 3", "epochs: 1"));
    let n = 400_000;
    let bytes = 784 * n as u64;
    let mut file = std::io::BufWriter::new(fs::File::create(place.path("extra.npy")).unwrap());
    file.write_all(&npy("|u1", &format!("({n}, 28, 28)"), &[])).unwrap();
    for image in 0..n {
        let row: Vec<u8> = (0..784).map(|at| ((image * 31 + at * 7) % 251) as u8).collect();
        file.write_all(&row).unwrap();
    }
    file.into_inner().unwrap().set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    let labels: Vec<u8> = (0..n).map(|image| (image % 10) as u8).collect();
    fs::write(place.path("labels.npy"), npy("|u1", &format!("({n},)"), &labels)).unwrap();
    fs::write(place.path("no_folder"), "").unwrap();

    let (cache, none) = (place.path("cache"), place.path("no_folder"));
    let train = |cache: &Path, run: &str, more: &[&str]| {
        peak(&place, cache, &[&["train", "tiny.yaml", "--no-eval", "--run-dir", run], more].concat())
    };
    let least = train(&cache, "none", &["extra=null"]);
    let [first, second] = ["first", "second"].map(|run| train(&cache, run, &[]).saturating_sub(least));
    let all = train(&none, "all", &[]).saturating_sub(least);
    println!("of {bytes} bytes in memory: {first} at the first start, {second} at the second, {all} without a cache");
    assert!(first < bytes / 5 && second < bytes / 5, "{first} and {second} of {bytes} bytes");
    assert!(all > bytes * 9 / 10, "{all} of {bytes} bytes");
    for run in ["first", "second"] {
        place.run(run).assert_same(&place.run("all"));
    }
}
