//! The paper's tables on the page: what `foil table` prints, where a run stands in them.

use crate::runs::{Made, table_2};
use crate::{command, page, place};

/// The section of the page, if it has one.
fn section(html: &str) -> Option<&str> {
    html.split("<section id=\"paper\">").nth(1)?.split("</section>").next()
}

/// The cells of each line of a method's group.
fn group(section: &str, caption: &str, method: &str) -> Vec<Vec<String>> {
    let table = section.split("<table>").find(|table| table.contains(&format!("<caption>{caption}"))).unwrap();
    let group = table.split("<tbody>").find(|group| group.contains(&format!("<span>{method}</span>"))).unwrap();
    let words = |line: &str| {
        let cells = line.replace("</span>", "").replace("</td>", "</th>");
        let cells: Vec<&str> = cells.split("</th>").collect();
        cells[..cells.len() - 1].iter().filter_map(|cell| Some(cell.rsplit('>').next()?.to_string())).collect()
    };
    group.split("<tr>").skip(1).map(|line| words(line.split("</tr>").next().unwrap())).collect()
}

#[test]
fn ours_the_papers_and_the_difference() {
    let place = place("paper");
    table_2().iter().for_each(|run| drop(run.write(&place)));
    let html = page(&[&place], &place.join("report.html"));
    let section = section(&html).expect("a run of Table 2 is there");
    // Invented: 83.0, and 52.9 for PGD-20, to which FGSM has 5.2 more, PGD-100 0.8 and CW 2.6 less.
    let lines = group(section, "CAT paper, Table 2", "AT");
    assert_eq!(lines[0], ["ours", "83.0", "58.1", "52.9", "52.1", "50.3", "59.3"]);
    assert_eq!(lines[1], ["paper", "83.0", "57.3", "52.9", "51.9", "50.9", "59.2"]);
    assert_eq!(lines[2], ["difference", "0.0", "+0.8", "0.0", "+0.2", "-0.6", "+0.1"]);
    let (_, folded) = section.split_once("Rows of the paper without a run of ours").unwrap();
    assert!(folded.contains("<span>CAT_cw (beta1 0.3)</span>"), "{folded}");
    assert!(section.contains("evaluated on 1000 of 10000 test images: ALP, AT, CAT_cent, MART, TRADES"), "{section}");
    assert!(section.contains("trained for 100 epochs: ALP, AT"), "{section}");
    // CAT_cent with beta 5 and beta1 0.05 is a row of Table 8 too, and Table 9 is about losses
    // alone. Table 4 asks for Square by itself.
    let captions: Vec<&str> = section.split("<caption>CAT paper, Table ").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!(captions, ["2", "8", "9"]);
    // The same command prints the same.
    let csv = command("table", &["2", place.to_str().unwrap(), "--format", "csv"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(csv.contains(",difference,0.0,+0.8,0.0,+0.2,-0.6,+0.1\n"), "{csv}");
}

#[test]
fn rows_without_a_run_of_ours_are_folded_away() {
    let place = place("folded");
    let at = table_2().into_iter().find(|made| made.name == "AT").unwrap().write(&place);
    let html = page(&[&at], &place.join("report.html"));
    let (open, folded) = section(&html).unwrap().split_once("Rows of the paper without a run of ours").unwrap();
    assert!(open.contains("<span>AT</span>") && !open.contains("<span>TRADES</span>"), "{open}");
    assert!(folded.contains("<span>TRADES</span>") && !folded.contains("<span>AT</span>"), "{folded}");
}

#[test]
fn without_a_row_there_is_no_section() {
    let place = place("no_paper");
    table_2()[0].write(&place);
    let trained = Made { name: "AT_trained", ..table_2()[1].clone() };
    trained.train(&place);
    let html = page(&[&place], &place.join("report.html"));
    assert!(section(&html).is_none() && !html.contains("#paper"));
}

// 100 epochs, so that the later ones of the log are not drawn.
#[test]
fn a_published_log_is_drawn_beside_its_recipe() {
    let runs = table_2();
    let about = |name: &str| {
        let place = place(&format!("published_log_{name}"));
        runs.iter().find(|run| run.name == name).expect("a method").write(&place);
        page(&[&place], &place.join("report.html"))
    };
    let html = about("AT");
    assert!(html.contains("Dashed: robust_overfitting's own log"), "not said");
    for point in ["37.95 at 1", "41.36 at 11", "46.35 at 100"] {
        assert!(html.contains(&format!("published log: {point}<")), "{point} is not drawn");
    }
    assert!(!html.contains("published log: 51.57"), "a chart of 100 epochs continues");
    assert!(!about("TRADES").contains("published log"));
}
