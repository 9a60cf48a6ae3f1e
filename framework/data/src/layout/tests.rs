//! Every layout of the tiny sets reads to the same data, and each way of being broken has its
//! message.

use super::*;
use crate::test_set::{DIGITS, RECORDS, digits, gzip, record_files, strips, tar, write};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempdir().unwrap();
    for (name, content) in files {
        write(&folder.path().join(name), content);
    }
    folder
}

fn load(info: &'static DatasetInfo, folder: &TempDir) -> Result<Dataset, DataError> {
    read(info, &detect(info, folder.path()).expect("something is there"))
}

/// The message of loading the digits with one file replaced, with the folder's own path taken out.
fn digits_with(name: &str, content: Vec<u8>) -> String {
    let folder = folder(&digits().map(|(n, old)| (n, if n == name { content.clone() } else { old })));
    load(&DIGITS, &folder).unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn idx_files_read_alike_plain_gzipped_and_nested() {
    let plain = load(&DIGITS, &folder(&digits())).unwrap();
    assert_eq!(plain.train.labels, [0, 1, 2]);
    assert_eq!(plain.test.pixels, [255, 254, 253, 252, 0, 0, 0, 1]);
    assert_eq!(plain.train.shape(), [3, 1, 2, 2]);
    assert_eq!(plain.sums.len(), 4);
    assert!(plain.notes[0].starts_with("train-images is well formed but not the published file (SHA-256 "));

    let zipped = digits().map(|(name, content)| (format!("raw/{name}.gz"), gzip(&content)));
    let zipped = load(&DIGITS, &folder(&zipped.each_ref().map(|(n, c)| (n.as_str(), c.clone())))).unwrap();
    assert_eq!((zipped.train, zipped.test, zipped.sums), (plain.train, plain.test, plain.sums));
}

#[test]
fn records_read_alike_from_files_archives_and_strips() {
    let files = record_files();
    let [a, b, c] = files.clone().map(|(_, content)| content);
    let plain = load(&RECORDS, &folder(&files)).unwrap();
    assert_eq!(plain.train.shape(), [503, 3, 2, 2]);
    assert_eq!(plain.test.image(1).unwrap(), &c[14..26]);

    let nested =
        load(&RECORDS, &folder(&files.clone().map(|(n, f)| (["records-bin/", n].concat().leak() as &str, f)))).unwrap();
    let shuffled = tar(&[("x/test.bin", &c), ("x/readme.html", b"<html>"), ("x/more.bin", &b), ("x/train.bin", &a)]);
    let archive = load(&RECORDS, &folder(&[("records.tar.gz", gzip(&shuffled))])).unwrap();
    let named = folder(&[("elsewhere.tar", shuffled)]);
    let named = read(&RECORDS, &detect(&RECORDS, &named.path().join("elsewhere.tar")).unwrap()).unwrap();
    let strips = [("train.tar", strips(&[a, b].concat())), ("test.tar", strips(&c))];
    let strips = load(&RECORDS, &folder(&strips)).unwrap();
    for other in [nested, archive, named, strips] {
        assert_eq!((&other.train, &other.test), (&plain.train, &plain.test), "{}", other.origin);
        assert_eq!(other.sums, plain.sums, "{}", other.origin);
    }
}

#[test]
fn a_complete_form_is_preferred_to_an_incomplete_one() {
    let files = record_files().map(|(_, content)| content);
    let archive = gzip(&tar(&[("train.bin", &files[0]), ("more.bin", &files[1]), ("test.bin", &files[2])]));
    let both = folder(&[("train.bin", files[0].clone()), ("records.tar.gz", archive)]);
    assert_eq!(load(&RECORDS, &both).unwrap().train.len(), 503);
}

#[test]
fn missing_files_are_all_named() {
    let some = folder(&record_files()[..1]);
    let error = load(&RECORDS, &some).unwrap_err().to_string();
    assert!(error.starts_with("`records` is not complete: `more.bin`, `test.bin` are missing\n  --> "), "{error}");

    let archive = folder(&[("records.tar.gz", gzip(&tar(&[("more.bin", &record_files()[1].1)])))]);
    let error = load(&RECORDS, &archive).unwrap_err().to_string();
    assert!(error.starts_with("`records` is not complete: `train.bin`, `test.bin` are missing\n"), "{error}");

    let strips = folder(&[("train.tar", Vec::new())]);
    let error = load(&RECORDS, &strips).unwrap_err().to_string();
    assert!(error.starts_with("`records` is not complete: `test.tar` is missing\n"), "{error}");
}

#[test]
fn a_bad_file_is_named_with_what_was_found_and_expected() {
    let [(_, images), (_, labels), ..] = digits();
    assert_eq!(
        digits_with("train-images", images[..20].to_vec()),
        "a file of `digits` cannot be used: it is truncated; found 20 bytes, expected 28 bytes\n  \
         --> train-images\n  help: replace it, or move it away if it belongs to another data set; `foil data get digits` fetches a fresh copy"
    );
    let swapped = digits_with("train-images", labels.clone());
    assert!(swapped.contains("wrong magic number; found 00 00 08 01, expected 00 00 08 03 (IDX, 3"), "{swapped}");
    let longer = digits_with("train-labels", [&labels[..], &[0]].concat());
    assert!(longer.contains("trailing bytes; found more than 11 bytes, expected 11 bytes"), "{longer}");
    let bomb = digits_with("train-labels", gzip(&vec![0; 1_000_000]));
    assert!(bomb.contains("wrong magic number; found 00 00 00 00"), "{bomb}");
    let label = digits_with("train-labels", [&labels[..10], &[3]].concat());
    assert!(label.contains("wrong label in record 2 (counted from 0); found 3, expected 0 to 2"), "{label}");
}

#[test]
fn a_bad_archive_is_named_with_the_file_in_it() {
    let [a, b, c] = record_files().map(|(_, content)| content);
    let message = |archive: Vec<u8>| {
        let folder = folder(&[("records.tar.gz", archive)]);
        load(&RECORDS, &folder).unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    let short = message(gzip(&tar(&[("train.bin", &a[1..]), ("more.bin", &b), ("test.bin", &c)])));
    assert!(short.contains("it is truncated; found 6,499 bytes, expected 6,500 bytes"), "{short}");
    assert!(short.contains("--> records.tar.gz/train.bin\n"), "{short}");

    let whole = gzip(&tar(&[("train.bin", &a), ("more.bin", &b), ("test.bin", &c)]));
    let cut = message(whole[..whole.len() / 2].to_vec());
    assert!(cut.contains("its gzip stream is cut short"), "{cut}");
    let page = message(b"<!doctype html>".repeat(100));
    assert!(page.contains("it is not a tar archive"), "{page}");
}

proptest! {
    #[test]
    fn any_bytes_in_a_file_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0.0f64..1.0) {
        let near = |whole: Vec<u8>| {
            let mut near = whole;
            let at = (at * near.len() as f64) as usize;
            near[at] ^= bytes.first().copied().unwrap_or(1);
            near
        };
        let [(_, train), (_, more), (_, test)] = record_files();
        let archive = near(gzip(&tar(&[("train.bin", &train), ("more.bin", &more), ("test.bin", &test)])));
        for content in [bytes.clone(), gzip(&bytes), archive] {
            let _ = load(&RECORDS, &folder(&[("records.tar.gz", content)]));
        }
        for content in [bytes.clone(), gzip(&bytes), near(gzip(&digits()[0].1))] {
            let _ = load(&DIGITS, &folder(&digits().map(|(name, old)| (name, if name == "train-images" { content.clone() } else { old }))));
        }
    }
}
