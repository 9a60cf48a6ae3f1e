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

/// The rows of a table of `table.md` below a title that starts with `title`: the two names, then what is in the cells.
fn rows(text: &str, title: &str) -> Vec<Vec<String>> {
    let (_, below) = text.split_once(&format!("**{title}")).unwrap_or_else(|| panic!("{title}: {text}"));
    let lines = below.lines().skip(4).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()).collect()
}

fn value(row: &[String], cell: usize) -> f64 {
    row[cell].parse().unwrap_or_else(|_| panic!("{row:?}"))
}

/// Eq. 7 draws the islands that Eq. 1 drowns; Theorem 1 fails for the oracle and for what is the oracle in half of the
/// square, Theorem 2 where only one class comes up to the boundary, and what is ours nowhere; all is drawn.
#[test]
fn theory_is_measured_and_drawn() {
    let place = place("theory");
    succeeded(&command("theory", &["--epochs", "12", "--out", place.to_str().unwrap()]));
    let table = fs::read_to_string(place.join("table.md")).unwrap();
    let [first, second, terms, ours] = ["Theorem 1", "Theorem 2", "Eq. 4", "Ours"].map(|title| rows(&table, title));
    for rows in [&first, &second, &terms, &ours] {
        assert_eq!(rows.len(), 17, "{table}");
    }
    let natural = |problem: &str, network: &str| {
        let row = first.iter().find(|row| row[0] == problem && row[1].starts_with(network));
        value(row.unwrap_or_else(|| panic!("{problem} {network}: {table}")), 2)
    };
    assert!(natural("islands", "Eq. 7") + 0.1 < natural("islands", "Eq. 1"), "{table}");
    for row in &first {
        let fails = row[1].contains("oracle") && row[0] != "apart";
        assert_eq!(row[5], if fails { "NO" } else { "yes" }, "{row:?}");
        assert_eq!(value(row, 3) <= value(row, 4), !fails, "{row:?}");
    }
    for row in &second {
        let fails = row[0] == "shore" && row[1].starts_with("Eq.");
        assert_eq!(row[7], if fails { "NO" } else { "yes" }, "{row:?}");
        assert_eq!(value(row, 2) <= value(row, 6), !fails, "{row:?}");
        assert!((value(row, 4) + value(row, 5) - value(row, 6)).abs() < 0.002, "{row:?}");
    }
    for row in &terms {
        assert!((value(row, 3) + value(row, 4) - value(row, 2)).abs() < 0.002, "{row:?}");
    }
    assert!(ours.iter().all(|row| row[6] == "yes"), "{table}");

    for problem in ["waves", "islands", "apart", "shore"] {
        assert!(figure(&place, &format!("theory_{problem}")).contains("trained by Eq. 17"));
    }
    assert!(figure(&place, "theory_figure1").contains("the maximum is over (a) only"));
    // Blue and grey hatching in each of four panels, and both intersections.
    let seven = figure(&place, "theory_figure7");
    for colour in ["#0a66a8", "#5c5c66"] {
        let hatched = seven.matches(&format!("stroke=\"{colour}\" stroke-width=\"1.1\" stroke-linecap")).count();
        assert_eq!(hatched, 4, "{colour}");
    }
    assert_eq!(seven.matches("the boundaries do not intersect").count(), 2 + 2, "in the panels and in the title");
    assert_eq!(seven.matches("the boundaries intersect ").count(), 2 + 2);
    let index = |n: u8| format!(">{n}</tspan>");
    let eight = figure(&place, "theory_figure8");
    assert!((0..3).all(|n| eight.contains(&index(n))) && eight.contains("ε' = 0.0"), "three places");
    let nine = figure(&place, "theory_figure9");
    assert!(nine.contains("learned by Eq. 17") && nine.contains("learned by Eq. 7"));
}

#[test]
fn theory_of_one_problem_is_its_rows_and_its_figure() {
    let place = place("theory_shore");
    succeeded(&command("theory", &["--problem", "shore", "--epochs", "1", "--out", place.to_str().unwrap()]));
    let table = fs::read_to_string(place.join("table.md")).unwrap();
    assert_eq!(rows(&table, "Theorem 1").iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["shore"; 4]);
    figure(&place, "theory_shore");
    assert!(!place.join("theory_figure7.png").exists() && !place.join("theory_waves.png").exists());
    let output = command("theory", &["--problem", "seas"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("waves") && said.contains("shore"), "{said}");
}
