//! Downloads from servers that die, send wrong data, or do not exist.

use super::server::{Answer, Server};
use super::*;
use crate::sums::sha256_of;
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

fn content() -> Vec<u8> {
    (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect()
}

fn order(urls: Vec<String>) -> Order {
    let content = content();
    Order { file: "file.bin".to_string(), bytes: content.len() as u64, sha256: sha256_of(&content), urls }
}

fn fetch(folder: &TempDir, urls: &[&str]) -> Result<(), DataError> {
    let agent = http::agent().proxy(None).build().into();
    let orders = [order(urls.iter().map(|url| url.to_string()).collect())];
    fetch::all(&agent, "mnist", &orders, folder.path(), &mut |_| {})
}

/// What is in the folder, and whether `file.bin` is the right one.
fn assert_whole(folder: &TempDir) {
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["file.bin"]);
    assert!(std::fs::read(folder.path().join("file.bin")).unwrap() == content(), "the content differs");
}

fn part(folder: &TempDir) -> PathBuf {
    folder.path().join("file.bin.part")
}

#[test]
fn a_file_is_fetched_once() {
    let folder = tempdir().unwrap();
    let server = Server::start(&content(), &[Answer::Good]);
    let url = server.url.clone();
    fetch(&folder, &[&url]).unwrap();
    assert_eq!(server.asked_from(), [None]);
    assert_whole(&folder);
    fetch(&folder, &[&url]).unwrap(); // the server is gone: the file on disk is enough
}

#[test]
fn a_server_that_dies_midway_is_resumed() {
    let folder = tempdir().unwrap();
    let server = Server::start(&content(), &[Answer::DiesAfter(70_000), Answer::DiesAfter(30_000), Answer::Good]);
    fetch(&folder, &[&server.url.clone()]).unwrap();
    assert_eq!(server.asked_from(), [None, Some(70_000), Some(100_000)]);
    assert_whole(&folder);
}

#[test]
fn what_an_earlier_run_left_is_resumed() {
    let folder = tempdir().unwrap();
    std::fs::write(part(&folder), &content()[..150_000]).unwrap();
    let server = Server::start(&content(), &[Answer::Good]);
    fetch(&folder, &[&server.url.clone()]).unwrap();
    assert_eq!(server.asked_from(), [Some(150_000)]);
    assert_whole(&folder);
}

#[test]
fn a_mirror_that_cannot_resume_sends_the_whole() {
    let folder = tempdir().unwrap();
    std::fs::write(part(&folder), vec![9; 150_000]).unwrap();
    let server = Server::start(&content(), &[Answer::IgnoresRange]);
    fetch(&folder, &[&server.url.clone()]).unwrap();
    assert_whole(&folder);
}

#[test]
fn a_wrong_left_over_is_dropped_and_the_mirror_asked_from_the_start() {
    let folder = tempdir().unwrap();
    std::fs::write(part(&folder), vec![9; 150_000]).unwrap();
    let server = Server::start(&content(), &[Answer::Good, Answer::Good]);
    fetch(&folder, &[&server.url.clone()]).unwrap();
    assert_eq!(server.asked_from(), [Some(150_000), None]);
    assert_whole(&folder);

    let folder = tempdir().unwrap();
    std::fs::write(part(&folder), vec![9; 300_000]).unwrap(); // longer than the file
    let server = Server::start(&content(), &[Answer::Good]);
    fetch(&folder, &[&server.url.clone()]).unwrap();
    assert_eq!(server.asked_from(), [None]);
    assert_whole(&folder);
}

#[test]
fn a_whole_left_over_needs_no_mirror() {
    let folder = tempdir().unwrap();
    std::fs::write(part(&folder), content()).unwrap();
    fetch(&folder, &["http://127.0.0.1:9/file.bin"]).unwrap();
    assert_whole(&folder);
}

#[test]
fn mirrors_are_tried_in_turn() {
    let folder = tempdir().unwrap();
    for bad in [Answer::NotFound, Answer::Damaged, Answer::Portal, Answer::Endless] {
        let (first, second) = (Server::start(&content(), &[bad]), Server::start(&content(), &[Answer::Good]));
        fetch(&folder, &[&first.url.clone(), &second.url.clone()]).unwrap();
        assert_eq!((first.asked_from(), second.asked_from()), (vec![None], vec![None]));
        assert_whole(&folder);
        std::fs::remove_file(folder.path().join("file.bin")).unwrap();
    }
}

#[test]
fn when_all_fail_each_reason_is_told_and_where_to_put_the_file() {
    let folder = tempdir().unwrap();
    let answers = [Answer::Damaged, Answer::Portal, Answer::NotFound, Answer::DiesAfter(0)];
    let servers = answers.map(|answer| Server::start(&content(), &[answer]));
    let urls = servers.each_ref().map(|server| server.url.as_str());
    let error = fetch(&folder, &urls).unwrap_err();
    let lines: Vec<_> = error.to_string().lines().map(str::to_string).collect();
    assert_eq!(lines[0], "`file.bin` of `mnist` could not be fetched");
    let reasons = [
        format!("its checksum is wrong, expected SHA-256 {}", sha256_of(&content())),
        "its file has 27 bytes, expected 200000".to_string(),
        "it answered 404 Not Found".to_string(),
    ];
    for ((line, url), reason) in lines[1..].iter().zip(&urls).zip(reasons) {
        assert_eq!(*line, format!("  --> {url}: {reason}"));
    }
    assert!(lines[4].starts_with(&format!("  --> {}: ", urls[3])), "{error}");
    let folder = folder.path();
    assert_eq!(
        lines[5],
        format!("  help: no network here? fetch file.bin elsewhere and put it in {}", folder.display())
    );
    assert!(!folder.join("file.bin").exists());
}

#[test]
fn no_server_at_all_is_told_at_once() {
    let folder = tempdir().unwrap();
    let error = fetch(&folder, &["http://127.0.0.1:9/file.bin"]).unwrap_err();
    assert!(matches!(&error, DataError::Download { attempts, .. } if attempts.len() == 1), "{error}");
}

#[test]
fn nothing_to_fetch_is_no_download() {
    let folder = tempdir().unwrap();
    download("mnist_subset", crate::MNIST_SUBSET.remotes, &folder.path().join("x"), &mut |_| {}).unwrap();
    assert!(folder.path().join("x").is_dir());
}

#[test]
fn a_mirror_of_ones_own_comes_first() {
    let remote = &crate::CIFAR10.remotes[0];
    let urls = Order::of(remote, Some("http://lab/data/")).urls;
    assert_eq!(
        urls,
        ["http://lab/data/cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]
    );
}
