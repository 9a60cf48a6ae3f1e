//! Links between the pages lead somewhere: each relative link names a file that exists, and a
//! heading in it that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The lines of a page outside its code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page).filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of the links of a page: what stands in the brackets of `](…)`.
fn links(page: &str) -> Vec<String> {
    let prose: String = prose(page).flat_map(|line| [line, "\n"]).collect();
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_string())).collect()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git").args(["ls-files", "*.md"]).current_dir(root).output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(|name| root.join(name)).filter(|page| page.exists()).collect()
}

/// What is wrong with the links of `text`, the page at `path`.
fn broken(path: &Path, text: &str) -> Vec<String> {
    let inside = |link: &&String| !link.contains("://") && !link.starts_with("mailto:");
    let wrong = |link: &String| {
        let (file, heading) =
            link.split_once('#').map_or((link.as_str(), None), |(file, heading)| (file, Some(heading)));
        let target = if file.is_empty() { path.to_path_buf() } else { path.parent().unwrap().join(file) };
        let found = match heading {
            Some(heading) if target.extension().is_some_and(|kind| kind == "md") => {
                fs::read_to_string(&target).is_ok_and(|page| anchors(&page).contains(heading))
            }
            _ => target.exists(),
        };
        (!found).then(|| format!("{}: {link}", path.display()))
    };
    links(text).iter().filter(inside).filter_map(wrong).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    assert!(pages.len() > 40, "{pages:?}");
    let wrong: Vec<String> = pages.iter().flat_map(|page| broken(page, &fs::read_to_string(page).unwrap())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_link_to_nothing_is_found() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/README.md");
    let text = "[a](gpu.md) [b](gpu.md#capture) [c](gone.md) [d](gpu.md#what-is-captured)\n```\n[e](code.md)\n```\n";
    let wrong = broken(&page, text);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].ends_with("gpu.md#capture") && wrong[1].ends_with("gone.md"), "{wrong:?}");
}
