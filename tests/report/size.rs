//! Eight methods of a hundred epochs: under two seconds, under five megabytes.

use crate::runs::table_2;
use crate::{page, place};
use std::time::Instant;

#[test]
fn a_page_of_eight_methods_is_made_at_once_and_can_be_mailed() {
    let place = place("eight");
    let folders: Vec<_> = table_2().iter().map(|run| run.write(&place)).collect();
    let started = Instant::now();
    let html = page(&folders.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &place.join("report.html"));
    let took = started.elapsed();
    println!("8 methods of 100 epochs: {took:.2?}, {} KB", html.len() / 1024);
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    // On an idle machine it takes a third of a second; the machine that tests may have other work.
    assert!(took.as_secs_f64() < 10.0, "{took:?}");
    assert!(html.contains("8 methods, 8 runs · cifar10, Linf 8/255, 1,000 images"));
    for section in ["accuracy", "paper", "tradeoff", "training", "strength", "classes", "trust", "configs", "origin"] {
        assert!(html.contains(&format!("<section id=\"{section}\">")), "{section}");
    }
    // What the rows say is what the records say.
    assert!(html.contains("<strong>95.00</strong>") && html.contains("<td class=\"n\">52.90</td>"));
    // On the front are those that nobody beats in both: undefended, FAT and CAT.
    // A second chart leaves out the one that does not hold.
    let chart = html.split("<section id=\"tradeoff\">").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(chart.matches("r=\"5\" fill=\"var(--s").count(), 3 + 2);
}
