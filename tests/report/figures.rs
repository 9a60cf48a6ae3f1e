//! Charts as files: `foil report --figures`, `foil figure` and `foil theory`.

use crate::runs::{Made, table_2};
use crate::tiny::CAT;
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

/// A run of CAT on CIFAR-10 under `place`.
fn cat(place: &Path, objective: &str, beta1: &str, ends: [f64; 2]) {
    let attack = format!(
        "{{ type: calibrated, beta1: {beta1}, mask: mask_resnet18, optimizer: {{ type: sgd, lr: 0.1 }}, \
         inner: {{ type: pgd, objective: {objective}, eps: 8/255, alpha: 2/255 }} }}"
    );
    made(place, &format!("{objective}-{beta1}"), &attack, "{ type: cat, beta: 5 }", ends);
}

/// A run of any method.
fn made(place: &Path, name: &str, attack: &str, loss: &str, ends: [f64; 2]) {
    let (attack, loss) = (attack.to_string().leak(), loss.to_string().leak());
    Made { attack, loss, ends, epochs: 3, ..table_2()[1].clone() }.write(&place.join(name));
}

/// The panels' titles, from left to right.
fn titles(svg: &str) -> Vec<String> {
    let bold = svg.split("font-weight=\"600\">").skip(1);
    bold.map(|rest| rest.split('<').next().unwrap().to_string()).collect()
}

/// What stands at the curves' ends, panel by panel.
fn labels(svg: &str) -> Vec<Vec<String>> {
    let ends = svg.split("<g class=\"ends\">").skip(1).map(|rest| rest.split("</g>").next().unwrap());
    ends.map(|panel| {
        let words = panel.split("</text>").filter_map(|text| Some(text.rsplit_once('>')?.1.to_string()));
        words.filter(|word| !word.is_empty()).collect()
    })
    .collect()
}

/// What stands beneath the panels' axes, from left to right.
fn axes(svg: &str) -> Vec<String> {
    let frames = svg.split("<g class=\"frame\">").skip(1).filter_map(|rest| rest.split("<svg class=\"plot\"").next());
    frames.map(|frame| frame.rsplit("</text>").nth(1).unwrap().rsplit_once('>').unwrap().1.to_string()).collect()
}

fn drawn(number: &str, place: &Path) -> String {
    let folder = place.to_str().unwrap();
    succeeded(&command("figure", &[number, folder, "--out", folder]));
    figure(place, &format!("figure{number}"))
}

fn refused(number: &str, place: &Path) -> String {
    let output = command("figure", &[number, place.to_str().unwrap(), "--out", place.to_str().unwrap()]);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// PGD-100 is PGD-20 less 0.8 in these runs: 52.1 at 8 and 51.1 at 9.
#[test]
fn figure_3_has_methods_over_radii() {
    let place = place("figure3");
    for (radius, robust) in [("8", 52.9), ("9", 51.9), ("12", 54.0)] {
        let pgd = format!("{{ type: pgd, eps: {radius}/255, alpha: 2/255 }}");
        made(&place, &format!("at-{radius}"), &pgd, "at", [83.0, robust]);
        let kl = format!("{{ type: pgd, objective: kl, eps: {radius}/255, alpha: 2/255 }}");
        made(&place, &format!("trades-{radius}"), &kl, "{ type: trades }", [82.0, robust]);
        let fat = format!("{{ type: early_stopped_pgd, objective: kl, eps: {radius}/255, alpha: 0.007, tau: 1 }}");
        made(&place, &format!("fat-{radius}"), &fat, "{ type: trades }", [85.0, robust]);
    }
    cat(&place, "ce", "0.1", [85.8, 54.1]);
    cat(&place, "cw", "0.1", [85.3, 54.9]);
    let svg = drawn("3", &place);
    assert_eq!(titles(&svg), ["(a) PGD-100 without random start, ε 8/255, %", "(b) natural + PGD-100, %"]);
    assert_eq!(axes(&svg), ["ε of training, in 1/255"; 2]);
    for mut panel in labels(&svg) {
        panel.sort();
        assert_eq!(panel, ["AT", "CAT_cent", "CAT_cw", "FAT_TRADES", "TRADES"]);
    }
    // (a) and (b) of the same runs.
    for point in ["AT: 52.10 at 8", "AT: 51.10 at 9", "AT: 135.10 at 8", "CAT_cw: 54.10 at 8", "CAT_cw: 139.40 at 8"] {
        assert!(svg.contains(&format!("<title>{point}</title>")), "{point}: {svg}");
    }
}

/// The sum at the last epoch is that of the log.
#[test]
fn figure_4_has_the_ablations_over_epochs() {
    let place = place("figure4");
    let pgd = "{ type: pgd, eps: 8/255, alpha: 2/255 }";
    made(&place, "a1", pgd, "{ type: cat, beta: 5, weighted: false }", [84.0, 52.0]);
    made(&place, "a2", pgd, "{ type: cat, beta: 5 }", [83.0, 53.0]);
    cat(&place, "ce", "0.05", [84.1, 55.6]);
    cat(&place, "ce", "0.1", [85.8, 54.1]);
    let svg = drawn("4", &place);
    assert_eq!(titles(&svg), ["(a) natural accuracy, %", "(b) natural + PGD-10, %"]);
    assert_eq!(axes(&svg), ["epoch"; 2]);
    for mut panel in labels(&svg) {
        panel.sort();
        assert_eq!(panel, ["A1", "A2", "CAT_cent β1 0.05", "CAT_cent β1 0.1"]);
    }
    let log = fs::read_to_string(place.join("a1/AT-0/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let sum = last["natural"].as_f64().unwrap() + last["pgd10"].as_f64().unwrap();
    assert!(svg.contains(&format!("A1 ends at {sum:.4}")), "{sum}: {svg}");
}

#[test]
fn figure_5_has_a_panel_for_each_beta1() {
    let place = place("figure5");
    for objective in ["ce", "cw", "kl"] {
        cat(&place, objective, "0.1", [85.8, 54.1]);
        cat(&place, objective, "0.05", [84.1, 55.6]);
    }
    let svg = drawn("5", &place);
    assert_eq!(titles(&svg), ["(a) PGD-10, β1 = 0.05, %", "(b) PGD-10, β1 = 0.1, %"]);
    assert_eq!(axes(&svg), ["epoch"; 2]);
    for mut panel in labels(&svg) {
        panel.sort();
        assert_eq!(panel, ["CE", "CW∞", "KL"]);
    }
}

/// 80 and 50 are the paper's; PGD-20 is from the image itself.
#[test]
fn figure_6_has_both_accuracies_and_their_sum() {
    let place = place("figure6");
    for (objective, beta1, ends) in [
        ("ce", "0.05", [84.1, 55.6]),
        ("ce", "0.1", [85.8, 54.1]),
        ("ce", "0.3", [88.0, 51.1]),
        ("cw", "0.05", [84.2, 55.2]),
        ("cw", "0.1", [85.3, 54.9]),
        ("cw", "0.3", [88.1, 51.5]),
    ] {
        cat(&place, objective, beta1, ends);
    }
    let svg = drawn("6", &place);
    assert_eq!(
        titles(&svg),
        ["CAT_cent", "CAT_cw"].map(|name| format!(
            "({}) {name}, points; PGD-20 without random start",
            if name == "CAT_cw" { "b" } else { "a" }
        ))
    );
    assert_eq!(axes(&svg), ["β1"; 2]);
    for mut panel in labels(&svg) {
        panel.sort();
        assert_eq!(panel, ["PGD-20 − 50", "natural − 80", "sum"]);
    }
    assert_eq!(svg.matches(" at 0.").count(), 18, "three curves of three points in two panels");
    for point in ["natural − 80: 8.00 at 0.3", "PGD-20 − 50: 1.10 at 0.3", "sum: 9.10 at 0.3", "sum: 9.70 at 0.05"]
    {
        assert!(svg.contains(&format!("<title>{point}</title>")), "{point}: {svg}");
    }
}

/// On other data the offsets follow from what is shown.
#[test]
fn figure_6_on_digits_has_offsets_of_its_own() {
    let place = place("figure6_digits");
    let attack = "{ type: calibrated, beta1: 0.1, mask: mask_cnn, inner: { type: pgd, eps: 0.3, alpha: 0.1 } }";
    for (ends, seed) in [([97.5, 71.0], 1), ([93.5, 74.0], 2)] {
        let run = Made { attack, ends, seed, data: "mnist", epochs: 2, loss: "cat", ..table_2()[1].clone() };
        run.write(&place);
    }
    let svg = drawn("6", &place);
    // Means of two seeds: 95.5 and 72.5.
    for point in ["natural − 90: 5.50 at 0.1", "PGD-20 − 70: 2.50 at 0.1", "sum: 8.00 at 0.1"] {
        assert!(svg.contains(&format!("<title>{point}</title>")), "{point}: {svg}");
    }
}

#[test]
fn what_a_figure_cannot_show_is_an_error() {
    let none = place("figure_none");
    table_2()[1].train(&none);
    for number in ["3", "5", "6"] {
        let error = refused(number, &none);
        assert!(error.contains(&format!("nothing that Figure {number} shows")) && error.contains("help: "), "{error}");
    }
    let mixed = place("figure_mixed");
    table_2()[1].write(&mixed);
    Made { data: "mnist", ..table_2()[1].clone() }.write(&mixed.join("mnist"));
    assert!(refused("3", &mixed).contains("different data sets: cifar10 and mnist"));
    let radii = place("figure_radii");
    table_2()[1].write(&radii);
    Made { eps: "4/255", ..table_2()[1].clone() }.write(&radii.join("small"));
    let error = refused("3", &radii);
    assert!(error.contains("evaluated under PGD-100 at 4/255 and at 8/255"), "{error}");
}

/// Trained by the command itself, on a few images.
#[test]
fn figure_2_has_the_papers_four_rows() {
    let place = place("figure2");
    let pipeline = place.join("tiny.yaml");
    fs::write(&pipeline, CAT).unwrap();
    let [pipeline, folder] = [&pipeline, &place].map(|path| path.to_str().unwrap());
    succeeded(&command("figure", &["2", pipeline, "train.epochs=1", "--dir", folder]));
    let svg = figure(&place, "figure2");
    assert_eq!(titles(&svg), ["CAT_cw, PGD-2 at ε 0.3; masks from 0, dark, to 1, bright"]);
    let rows = svg.match_indices("font-size=\"11.5\">").filter(|(at, _)| svg[..*at].ends_with("fill=\"#1c1e23\" "));
    let rows: Vec<&str> = rows.map(|(at, mark)| svg[at + mark.len()..].split('<').next().unwrap()).collect();
    assert_eq!(rows, ["natural", "adversarial", "mask", "calibrated adversarial"]);
    assert_eq!(svg.matches("<image ").count(), 40);
}

/// The rows of a table of `table.md` below a title that starts with `title`: the two names, then
/// what is in the cells.
fn rows(text: &str, title: &str) -> Vec<Vec<String>> {
    let (_, below) = text.split_once(&format!("**{title}")).unwrap_or_else(|| panic!("{title}: {text}"));
    let lines = below.lines().skip(4).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()).collect()
}

fn value(row: &[String], cell: usize) -> f64 {
    row[cell].parse().unwrap_or_else(|_| panic!("{row:?}"))
}

/// Eq. 7 draws the islands that Eq. 1 drowns; Theorem 1 fails for the oracle and for what is the
/// oracle in half of the square, Theorem 2 where only one class comes up to the boundary, and what
/// is ours nowhere; all is drawn.
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
