//! Data sets of one's own, from files to an evaluated run: a folder of pictures, arrays, corrupted
//! images.

mod tiny;

use serde_json::Value;
use std::fs;
use std::path::Path;
use tiny::{Ended, Place};

/// Two classes of pictures, 12 x 10: bright above or bright below, each with another shade of grey.
const YAML: &str = "
name: tiny
device: cpu
data: { type: folder, path: pictures, size: 8, channels: 1, fit: stretch }
normalize: data
model: { type: mlp, hidden: [16] }
attack: { type: pgd, eps: 0.05, alpha: 0.02, steps: 2, start: uniform }
loss: at
optimizer: { type: sgd, lr: 0.1 }
train: { epochs: 3, batch_size: 10, eval_batch_size: 50 }
attacks: { pgd2: { type: pgd, eps: 0.05, alpha: 0.02, steps: 2 } }
evaluate: [natural, pgd2]
";

fn png(path: &Path, width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let pixels: Vec<u8> = (0..width * height).map(|at| pixel(at % width, at / width)).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

fn pictures(place: &Place) {
    for (split, n) in [("train", 20), ("test", 6)] {
        for i in 0..n {
            let file = |class: &str| place.path(&format!("pictures/{split}/{class}/{i:02}.png"));
            let shade = 150 + i as u8 * 5;
            png(&file("above"), 12, 10, |_, y| if y < 5 { shade } else { 20 });
            png(&file("below"), 12, 10, |_, y| if y >= 5 { shade } else { 20 });
        }
    }
}

/// Runs `foil ARGS` with a cache folder of its own.
fn foil(place: &Place, args: &[&str]) -> Ended {
    let mut command = place.command(env!("CARGO_BIN_EXE_foil"), args);
    let output = command.env("XDG_CACHE_HOME", place.path("cache")).env("COLUMNS", "120").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_folder_of_pictures_is_trained_and_evaluated_on() {
    let place = Place::with(YAML);
    let error = foil(&place, &["check", "tiny.yaml"]).error();
    assert!(error.contains("`data` cannot be used: ") && error.contains("train/CLASS/"), "{error}");
    pictures(&place);
    foil(&place, &["check", "tiny.yaml"]).ok();
    foil(&place, &["train", "tiny.yaml", "--run-dir", "run"]).ok();
    let record: Value = serde_json::from_str(&fs::read_to_string(place.path("run/eval.json")).unwrap()).unwrap();
    assert_eq!((&record["dataset"], &record["n"]), (&"pictures".into(), &12.into()));
    assert_eq!(record["entries"][0]["accuracy"], 100.0, "{record}");

    // Classes have their names, also where the pictures are not.
    let names_classes = || {
        foil(&place, &["report", "run", "--images", "0", "--out", "page.html"]).ok();
        let page = fs::read_to_string(place.path("page.html")).unwrap();
        assert!(page.contains("<title>above</title>") && page.contains("<title>below</title>"));
        let table = foil(&place, &["table", "per-class", "run"]).ok().out;
        assert!(table.contains("above") && table.contains("below"), "{table}");
    };
    names_classes();

    // The run says what it was trained on, and holds the numbers that it normalises with.
    let resolved = fs::read_to_string(place.path("run/resolved.yaml")).unwrap();
    assert!(resolved.contains("content: ") && resolved.contains("mean:"), "{resolved}");
    fs::rename(place.path("pictures"), place.path("moved")).unwrap();
    assert!(foil(&place, &["eval", "run"]).error().contains("`data` cannot be used"));
    names_classes();
    foil(&place, &["eval", "run", "data.path=moved", "--out", "again.json"]).ok();

    // Another picture is another run.
    png(&place.path("moved/train/above/99.png"), 12, 10, |_, _| 7);
    let error = foil(&place, &["eval", "run", "data.path=moved"]).error();
    assert!(error.contains("the run is on other data"), "{error}");
}

#[test]
fn a_data_set_is_counted_and_shown() {
    let place = Place::with(YAML);
    pictures(&place);
    let shown = foil(&place, &["data", "show", "tiny.yaml", "--out", "sheet.png"]).ok().out;
    let row = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{shown}"));
    for (class, train, test) in [("above", "20", "6"), ("below", "20", "6"), ("all", "40", "12")] {
        let words: Vec<&str> = row(class).split_whitespace().collect();
        assert!(words.contains(&train) && words.contains(&test), "{shown}");
    }
    assert!(fs::read(place.path("sheet.png")).unwrap().starts_with(b"\x89PNG"));
    let kept = fs::read_dir(place.path("cache/foil/data/decoded")).unwrap().count();
    assert!(kept > 0, "nothing is kept for the next start");
    let digits = foil(&place, &["data", "show", "mnist_subset", "--out", "digits.png"]).ok().out;
    assert!(digits.contains("1,000") || digits.contains("1000"), "{digits}");
    let error = foil(&place, &["data", "show", "folder"]).error();
    assert!(error.contains("needs keys"), "{error}");
}

#[test]
fn every_bad_picture_is_named_at_once() {
    let place = Place::with(YAML);
    pictures(&place);
    fs::write(place.path("pictures/train/above/00.png"), "not a picture").unwrap();
    fs::write(place.path("pictures/test/below/bad.jpg"), "").unwrap();
    let error = foil(&place, &["train", "tiny.yaml", "--run-dir", "run"]).error();
    for part in ["2 places of the folder cannot be read", "above/00.png: ", "below/bad.jpg: ", "help: repair"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!place.path("run").exists(), "no run is begun");
}

/// Images of this shape in ten classes, in safetensors: every pixel is 20 times the label.
fn arrays(path: &Path, n: u64, [channels, height, width]: [u64; 3]) {
    let size = channels * height * width;
    let header = |name: &str, size: u64, from: u64, shape: &str| {
        format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[{from},{}]}}", from + size)
    };
    let (images, shape) = (n * size, format!("{n},{channels},{height},{width}"));
    let parts = [
        header("images", images, 0, &shape),
        header("labels", n, images, &n.to_string()),
        header("test_images", images, images + n, &shape),
        header("test_labels", n, 2 * images + n, &n.to_string()),
    ];
    let header = format!("{{{}}}", parts.join(","));
    let pixels: Vec<u8> = (0..n).flat_map(|i| vec![(i % 10) as u8 * 20; size as usize]).collect();
    let labels: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
    let split = [&pixels[..], &labels[..]].concat();
    let whole = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &split, &split].concat();
    fs::write(path, whole).unwrap();
}

/// Trained, evaluated under attack, shown on a page and counted: one step or two.
#[track_caller]
fn from_end_to_end(place: &Place, run: &str, model: &str, size: &str) {
    let model = format!("model={model}");
    foil(place, &["train", "tiny.yaml", &model, "--no-eval", "--run-dir", run]).ok();
    foil(place, &["eval", run, "--trust", "off"]).ok();
    let record: Value = serde_json::from_str(&fs::read_to_string(place.path(run).join("eval.json")).unwrap()).unwrap();
    let names: Vec<&str> = record["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), &record["n"]), (["natural", "pgd2", "square"].as_slice(), &4.into()), "{record}");
    foil(place, &["report", run, "--images", "3", "--out", "page.html"]).ok();
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    // The pictures: natural and attacked, and the numbers of the classes.
    assert!(page.matches("data:image/png;base64,").count() >= 6 && page.contains("<title>3</title>"), "{run}");
    let shown = foil(place, &["data", "show", "tiny.yaml"]).ok().out;
    assert!(shown.contains(&format!("images of {size}, from")), "{shown}");
}

/// Ten images and as many to test on: five are trained on, and four tested.
fn of_any_shape() -> Place {
    let yaml = YAML
        .replace(
            "{ type: folder, path: pictures, size: 8, channels: 1, fit: stretch }",
            "{ type: arrays, path: x.safetensors, layout: nchw }\nimages: { train_limit: 5, test_limit: 4 }\naugment: [{ type: crop, pad: 2 }, flip]",
        )
        .replace("epochs: 3, batch_size: 10", "epochs: 1, batch_size: 5")
        .replace("attacks: {", "attacks: { square: { type: square, eps: 0.05, n_queries: 3 },")
        .replace("evaluate: [natural, pgd2]", "evaluate: [natural, pgd2, square]");
    Place::with(&yaml)
}

#[test]
fn images_of_other_shapes_go_from_end_to_end() {
    let place = of_any_shape();
    for (shape, model) in [
        ([1, 28, 28], "mlp"),
        ([2, 30, 44], "{ type: small_cnn, width: 4 }"),
        ([3, 41, 27], "{ type: dm_wide_resnet, depth: 10, width: 1 }"),
        ([4, 64, 48], "{ type: wide_resnet, depth: 10, width: 1 }"),
    ] {
        arrays(&place.path("x.safetensors"), 10, shape);
        from_end_to_end(&place, &format!("run{}", shape[0]), model, &shape.map(|n| n.to_string()).join(" x "));
    }
    arrays(&place.path("x.safetensors"), 10, [3, 28, 28]);
    let error = foil(&place, &["check", "tiny.yaml", "model=imagenet_resnet"]).error();
    assert!(error.contains("takes images of at least 32 x 32; the data's are 3 x 28 x 28"), "{error}");
}

#[test]
fn images_of_up_to_224_pixels_go_from_end_to_end() {
    let (place, stem) = (of_any_shape(), "{ type: imagenet_resnet, depth: 18 }");
    for shape in [[1, 224, 224], [2, 96, 64], [3, 224, 160], [4, 64, 224]] {
        arrays(&place.path("x.safetensors"), 10, shape);
        from_end_to_end(&place, &format!("run{}", shape[0]), stem, &shape.map(|n| n.to_string()).join(" x "));
    }
    // The same from files, made as small as 224 x 160.
    for (class, split) in (0..10).flat_map(|class| [(class, "train"), (class, "test")]) {
        let file = place.path(&format!("pictures/{split}/{class}/0.png"));
        png(&file, 320, 300, |x, y| ((x + 20 * class) % 256) as u8 ^ (y % 256) as u8);
    }
    let yaml = fs::read_to_string(place.path("tiny.yaml")).unwrap();
    let folder = "{ type: folder, path: pictures, size: 224, width: 160 }";
    let yaml = yaml.replace("{ type: arrays, path: x.safetensors, layout: nchw }", folder);
    fs::write(place.path("tiny.yaml"), yaml).unwrap();
    from_end_to_end(&place, "files", stem, "3 x 224 x 160");
}

/// The header of a `.npy` file with bytes.
fn npy(shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = format!("{text:<117}\n");
    [b"\x93NUMPY\x01\x00", &(padded.len() as u16).to_le_bytes()[..], padded.as_bytes()].concat()
}

#[test]
fn a_run_is_evaluated_on_corrupted_images() {
    let base = YAML.replace(
        "{ type: folder, path: pictures, size: 8, channels: 1, fit: stretch }",
        "{ type: arrays, path: x.safetensors }\ncorruptions: { type: cifar10_c, path: c, corruptions: [fog, snow], severities: [1, 5] }",
    );
    let place = Place::with(&base);
    arrays(&place.path("x.safetensors"), 40, [3, 32, 32]);
    // Black images: whatever the model says of one, a tenth of the labels are that.
    fs::create_dir(place.path("c")).unwrap();
    for name in ["fog", "snow"] {
        let header = npy("(50000, 32, 32, 3)");
        fs::write(place.path(&format!("c/{name}.npy")), &header).unwrap();
        let file = fs::OpenOptions::new().write(true).open(place.path(&format!("c/{name}.npy"))).unwrap();
        file.set_len(header.len() as u64 + 50_000 * 3072).unwrap();
    }
    let labels: Vec<u8> = (0..50_000).map(|i| (i % 10) as u8).collect();
    fs::write(place.path("c/labels.npy"), [npy("(50000,)"), labels].concat()).unwrap();

    foil(&place, &["train", "tiny.yaml", "--run-dir", "run"]).ok();
    let evaluated =
        foil(&place, &["eval", "run", "evaluate=[natural, corruptions]", "--out", "c.json", "--trust", "off"]);
    let shown = evaluated.ok().out;
    assert!(shown.contains("fog") && shown.contains("cifar10_c: 10.00 % of 10000 images"), "{shown}");
    let record: Value = serde_json::from_str(&fs::read_to_string(place.path("c.json")).unwrap()).unwrap();
    assert_eq!(record["entries"].as_array().unwrap().len(), 1, "corruptions are no attack");
    let parts = record["corruptions"]["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 4);
    assert_eq!((&parts[3]["corruption"], &parts[3]["severity"]), (&"snow".into(), &5.into()));
    assert!(parts.iter().all(|part| part["accuracy"] == 10.0), "{record}");

    let none = foil(&place, &["check", "tiny.yaml", "corruptions=null", "evaluate=[corruptions]"]).error();
    assert!(
        none.contains("there are no corrupted images of `arrays`") && none.contains("corruptions: cifar100_c"),
        "{none}"
    );
    let other =
        ["eval", "run", "evaluate=[corruptions]", "corruptions=cifar100_c", "--trust", "off", "--out", "d.json"];
    let error = foil(&place, &other).error();
    assert!(error.contains("100 classes, those of the run"), "{error}");
}
