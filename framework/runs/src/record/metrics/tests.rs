//! The log under kills, resumes and unusual numbers.

use std::fs;
use std::path::Path;

use super::*;

fn row(epoch: u64, values: &[(&str, f64)]) -> Row {
    Row { epoch, step: epoch * 391, values: values.iter().map(|&(name, value)| (name.to_string(), value)).collect() }
}

fn files(folder: &Path) -> (String, String) {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    (read("metrics.jsonl"), read("metrics.csv"))
}

#[test]
fn columns_appear_as_they_are_first_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = MetricsLog::open(folder.path()).unwrap();
    log.append(row(1, &[("loss", 2.25)])).unwrap();
    log.append(row(2, &[("natural", 83.1), ("loss", f64::NAN)])).unwrap();
    let (json, csv) = files(folder.path());
    assert_eq!(
        json,
        "{\"epoch\":1,\"step\":391,\"loss\":2.25}\n{\"epoch\":2,\"step\":782,\"natural\":83.1,\"loss\":\"NaN\"}\n"
    );
    assert_eq!(csv, "epoch,step,loss,natural\n1,391,2.25,\n2,782,NaN,83.1\n");
}

#[test]
fn a_resumed_log_has_the_same_bytes() {
    let rows: Vec<Row> = (1..=4).map(|epoch| row(epoch, &[("loss", 1.0 / epoch as f64), ("lr", 1e-7)])).collect();
    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut log = MetricsLog::open(whole.path()).unwrap();
    rows.iter().for_each(|row| log.append(row.clone()).unwrap());

    let mut log = MetricsLog::open(resumed.path()).unwrap();
    rows[..3].iter().for_each(|row| log.append(row.clone()).unwrap());
    let mut log = MetricsLog::open(resumed.path()).unwrap();
    log.truncate_after(2).unwrap();
    assert_eq!(log.rows().len(), 2);
    rows[2..].iter().for_each(|row| log.append(row.clone()).unwrap());

    assert_eq!(files(whole.path()), files(resumed.path()));
}

#[test]
fn a_half_written_line_is_dropped_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = MetricsLog::open(folder.path()).unwrap();
    log.append(row(1, &[("loss", 2.0)])).unwrap();
    let whole = files(folder.path());
    // Cut off inside a number, inside a letter of two bytes, and where the disk gave zeros for what
    // was never written.
    for rest in [&b"{\"epoch\":2,\"step\":78"[..], b"{\"epoch\":2,\"step\":782,\"\xc3", &[0; 64]] {
        let mut bytes = whole.0.clone().into_bytes();
        bytes.extend_from_slice(rest);
        fs::write(folder.path().join("metrics.jsonl"), bytes).unwrap();
        assert_eq!(load(folder.path().join("metrics.jsonl")).unwrap(), [row(1, &[("loss", 2.0)])]);
        MetricsLog::open(folder.path()).unwrap();
        assert_eq!(files(folder.path()), whole);
    }
}

#[test]
fn a_whole_last_row_without_its_line_break_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("metrics.jsonl"), "{\"epoch\":1,\"step\":391}").unwrap();
    MetricsLog::open(folder.path()).unwrap().append(row(2, &[])).unwrap();
    assert_eq!(files(folder.path()).0, "{\"epoch\":1,\"step\":391}\n{\"epoch\":2,\"step\":782}\n");
}

#[test]
fn damage_elsewhere_is_an_error_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, "{\"epoch\":1,\"step\":1}\nhello\n{\"epoch\":3,\"step\":3}\n").unwrap();
    let error = MetricsLog::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("metrics.jsonl:2: not a row of metrics"), "{error}");
    assert!(load(folder.path().join("none.jsonl")).unwrap_err().to_string().contains("none.jsonl"));
}

#[test]
fn a_gap_is_told() {
    let rows = |epochs: &[u64]| epochs.iter().map(|&epoch| row(epoch, &[])).collect::<Vec<_>>();
    assert_eq!(gap(&rows(&[1, 2, 3]), 3), None);
    assert_eq!(gap(&rows(&[1, 2, 3]), 2), None);
    assert_eq!(gap(&[], 0), None);
    assert_eq!(gap(&rows(&[1]), 3).unwrap(), "ends with epoch 1, but 3 are done");
    assert_eq!(gap(&rows(&[1, 3]), 3).unwrap(), "has no row of epoch 2, but 3 are done");
    assert_eq!(gap(&[], 2).unwrap(), "is empty, but 2 epochs are done");
}

/// The digest is of the epochs that are done: a row that follows them is another one's.
#[test]
fn other_figures_than_were_written_are_told() {
    let whole = [row(1, &[("loss", 2.25)]), row(2, &[("loss", f64::NAN)]), row(3, &[("loss", 1.0)])];
    let seen = digest(&whole, 2).unwrap();
    assert_eq!(fault(&whole, 2, &seen), None);
    assert_eq!(fault(&whole[..2], 2, &seen), None);
    assert_eq!(fault(&whole[..1], 2, &seen).unwrap(), "ends with epoch 1, but 2 are done");
    for changed in [row(2, &[("loss", 1.5)]), row(2, &[("lass", f64::NAN)]), row(2, &[])] {
        let rows = [whole[0].clone(), changed, whole[2].clone()];
        assert_eq!(fault(&rows, 2, &seen).unwrap(), "is damaged: its figures are not those that were written");
        assert_eq!(fault(&rows, 2, ""), None, "no state says what they were");
    }
}

#[test]
fn rows_that_would_confuse_a_reader_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = MetricsLog::open(folder.path()).unwrap();
    log.append(row(2, &[])).unwrap();
    assert!(log.append(row(2, &[])).unwrap_err().to_string().contains("epoch 2 cannot follow epoch 2"));
    assert!(log.append(row(3, &[("step", 1.0)])).unwrap_err().to_string().contains("`step`"));
    assert_eq!(log.rows().len(), 1);
}
