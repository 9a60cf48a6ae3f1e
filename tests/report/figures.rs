//! Charts as files: `foil report --figures`, `foil figure` and `foil theory`.

use crate::runs::{Made, table_2};
use crate::{command, foil, place};
use std::fs;
use std::path::Path;
use std::process::Output;

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The text of a figure as SVG, which has a PNG beside it.
fn figure(folder: &Path, name: &str) -> String {
    let png = fs::read(folder.join(format!("{name}.png"))).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n") && png.len() > 4000, "{name}.png has {} bytes", png.len());
    let svg = fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && !svg.contains("var(--"), "{svg}");
    svg
}

#[test]
fn each_chart_is_a_file_too() {
    let place = place("files");
    table_2()[..2].iter().for_each(|run| drop(run.write(&place)));
    let (out, figures) = (place.join("page.html"), place.join("figures"));
    let [place, out, folder] = [&place, &out, &figures].map(|path| path.to_str().unwrap());
    let said = succeeded(&foil(&[place, "--out", out, "--figures", folder]));
    assert!(said.contains("figures, each as SVG and PNG"), "{said}");
    for name in
        ["tradeoff", "training_natural", "training_pgd10", "accuracy_by_eps", "classes_natural", "classes_pgd20"]
    {
        figure(&figures, name);
    }
}

/// Three values of beta1 by two objectives: two curves of three points in each of two charts.
#[test]
fn figure_6_has_a_point_for_each_run() {
    let place = place("figure6");
    let cat = [
        (
            "ce",
            "0.05",
            "{ type: calibrated, beta1: 0.05, mask: mask_resnet18, inner: { type: pgd, objective: ce, eps: 8/255, alpha: 2/255 }, optimizer: { type: sgd, lr: 0.1 } }",
            [84.1, 55.6],
        ),
        (
            "ce",
            "0.1",
            "{ type: calibrated, beta1: 0.1, mask: mask_resnet18, inner: { type: pgd, objective: ce, eps: 8/255, alpha: 2/255 }, optimizer: { type: sgd, lr: 0.1 } }",
            [85.8, 54.1],
        ),
        (
            "ce",
            "0.3",
            "{ type: calibrated, beta1: 0.3, mask: mask_resnet18, inner: { type: pgd, objective: ce, eps: 8/255, alpha: 2/255 }, optimizer: { type: sgd, lr: 0.1 } }",
            [88.0, 51.1],
        ),
        (
            "cw",
            "0.05",
            "{ type: calibrated, beta1: 0.05, mask: mask_resnet18, inner: { type: pgd, objective: cw, eps: 8/255, alpha: 2/255 }, optimizer: { type: sgd, lr: 0.1 } }",
            [84.2, 55.2],
        ),
        (
            "cw",
            "0.1",
            "{ type: calibrated, beta1: 0.1, mask: mask_resnet18, inner: { type: pgd, objective: cw, eps: 8/255, alpha: 2/255 }, optimizer: { type: sgd, lr: 0.1 } }",
            [85.3, 54.9],
        ),
        (
            "cw",
            "0.3",
            "{ type: calibrated, beta1: 0.3, mask: mask_resnet18, inner: { type: pgd, objective: cw, eps: 8/255, alpha: 2/255 }, optimizer: { type: sgd, lr: 0.1 } }",
            [88.1, 51.5],
        ),
    ];
    for (objective, beta1, attack, ends) in cat {
        let run = Made { attack, ends, epochs: 3, loss: "{ type: cat, beta: 5 }", ..table_2()[7].clone() };
        run.write(&place.join(format!("{objective}-{beta1}")));
    }
    let folder = place.to_str().unwrap();
    for number in ["6", "5"] {
        succeeded(&command("figure", &[number, folder, "--out", folder]));
    }
    let svg = figure(&place, "figure6");
    assert!(svg.contains("Natural accuracy, %") && svg.contains("Accuracy under autoattack, %"), "{svg}");
    assert_eq!(svg.matches("<title>CE: ").count() + svg.matches("<title>CW: ").count(), 12);
    assert!(svg.contains("CE: 84.10 at 0.05") && svg.contains("CW: 88.10 at 0.3"), "{svg}");
    figure(&place, "figure5");

    // What has no such number is no figure.
    let other = self::place("figure6_none");
    table_2()[1].write(&other);
    let output = command("figure", &["6", other.to_str().unwrap(), "--out", folder]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("nothing that Figure 6 shows") && error.contains("help: "), "{error}");
}

/// Both theorems hold in every row, and the network that asks the oracle draws its islands, while Eq. 7's drowns them.
#[test]
fn theory_is_measured_and_drawn() {
    let place = place("theory");
    let folder = place.to_str().unwrap();
    succeeded(&command("theory", &["--problem", "islands", "--epochs", "5", "--out", folder]));
    figure(&place, "theory_islands");
    let table = fs::read_to_string(place.join("table.md")).unwrap();
    let rows: Vec<Vec<f64>> = table
        .lines()
        .filter(|line| line.starts_with("| islands"))
        .map(|line| line.split('|').filter_map(|cell| cell.trim().trim_matches('*').parse().ok()).collect())
        .collect();
    let [oracle, eq7, eq17] = &rows[..] else { panic!("{table}") };
    for row in &rows {
        let [natural, worst, robust, calibrated, within, bound] = row[..] else { panic!("{table}") };
        assert!(natural <= robust && robust <= calibrated && robust <= worst && within <= calibrated, "{table}");
        assert!(calibrated <= 100.0 * bound + 1e-9, "{table}");
    }
    assert!(oracle[0] == 0.0 && oracle[3] == 0.0 && oracle[1] > 50.0, "{table}");
    assert!(eq17[0] < 5.0 && eq7[0] > 15.0, "{table}");
}
