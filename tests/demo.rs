//! `foil demo` as a newcomer sees it, and the networks that come with it.

mod tiny;

use std::fs;
use std::path::{Path, PathBuf};
use tiny::Place;

fn weights(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/weights").join(name)
}

/// The rows of the table in docs/results/demo.md: name, digest, and the percentages of digits.
fn stated() -> Vec<(String, String, Vec<f64>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results/demo.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`').to_string();
        let digest = cells.next().unwrap().trim_matches('`').to_string();
        (name, digest, cells.filter_map(|cell| cell.trim().parse().ok()).collect())
    })
    .collect()
}

#[test]
fn the_weights_are_those_that_are_stated_and_reach_what_is_stated() {
    let stated = stated();
    assert_eq!(stated.len(), 4, "{stated:?}");
    let mut bytes = 0;
    for (name, digest, accuracies) in &stated {
        let file = weights(&format!("{name}.safetensors"));
        assert_eq!(foil::tensors::digest(&file).unwrap(), *digest, "{name}");
        bytes += fs::metadata(&file).unwrap().len();
        let [natural, pgd20, ..] = accuracies[..] else {
            assert_eq!(name, "cat_cw_mask");
            continue;
        };
        let place = Place::with("");
        let config = weights(&format!("{name}.yaml"));
        let [file, config] = [&file, &config].map(|path| path.to_str().unwrap());
        place.foil(&["import", file, "--config", config, "--out", "run"]).ok();
        place.foil(&["eval", "run", "evaluate=[natural, pgd20]", "--trust", "off"]).ok();
        let entries = place.run("run").json("eval.json")["entries"].clone();
        // Another processor may round otherwise, and move a digit that lies on the boundary.
        for (n, expected) in [natural, pgd20].into_iter().enumerate() {
            let found = entries[n]["accuracy"].as_f64().unwrap();
            assert!((found - expected).abs() <= 1.0, "{name}: {found} and not {expected}");
        }
    }
    assert!(bytes < 300 * 1024, "{bytes} bytes of weights");
}

#[test]
fn a_newcomer_sees_networks_fooled_and_resisting() {
    let place = Place::with("");
    let small = ["images.train_limit=200", "images.test_limit=20", "evaluate=[natural,pgd20]"];
    let demo = || place.foil(&[&["demo"][..], &small].concat()).ok();
    let said = demo();
    for part in [
        "undefended",
        "AT, 20 epochs",
        "TRADES, 20 epochs",
        "AT, 1 epoch",
        "CAT_cw, 20 epochs",
        "Worst case",
        "Trust checks: ",
        "percentages of 20 test digits",
        "open it in a browser: file:///",
        "runs/demo/report.html",
        "foil new-plugin loss my_loss",
    ] {
        assert!(said.out.contains(part), "`{part}` is not in\n{}", said.out);
    }
    assert!(!said.out.contains("Avg"), "{}", said.out);
    let page = fs::read_to_string(place.path("runs/demo/report.html")).unwrap();
    assert!(page.contains("CAT_cw, 20 epochs"));
    let table = fs::read_to_string(place.path("runs/demo/table.md")).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 7, "{table}");
    // A row of digits, one for each network, and CAT's mask if it shows something.
    let png = png::Decoder::new(std::io::BufReader::new(fs::File::open(place.path("runs/demo/digits.png")).unwrap()));
    let info = png.read_info().unwrap().info().clone();
    assert!(info.width > 1000 && info.height > 700, "{} x {}", info.width, info.height);
    // A second call trains nothing again.
    let before = fs::metadata(place.path("runs/demo/at_one_epoch/best.safetensors")).unwrap().modified().unwrap();
    demo();
    assert_eq!(
        fs::metadata(place.path("runs/demo/at_one_epoch/best.safetensors")).unwrap().modified().unwrap(),
        before
    );
}
