//! Strips that are wrong, each with its message, and any bytes at all.

use super::*;
use crate::test_set::{RECORDS, record_files, some_records, strip, strips, tar};
use proptest::prelude::*;

fn train() -> Vec<u8> {
    let [(_, a), (_, b), _] = record_files();
    [a, b].concat()
}

fn fault(tar: &[u8]) -> String {
    let fault = read_split(&RECORDS, Split::Train, tar, &mut Assembly::new(&RECORDS)).unwrap_err();
    format!("{}; found {}, expected {}", fault.what, fault.found, fault.expected)
}

#[test]
fn a_tar_that_is_none_or_lacks_something_is_named() {
    assert!(fault(b"<!doctype html>").starts_with("it is not a tar archive"), "{}", fault(b"<!doctype html>"));
    assert_eq!(fault(&[]), "it is empty; found , expected labels.bin and NNN.webp in a tar");
    let whole = strips(&train());
    assert!(fault(&whole[..2048]).starts_with("it is truncated inside 000.webp"), "{}", fault(&whole[..2048]));
    let labels = vec![0; 503];
    assert!(fault(&tar(&[("labels.bin", &labels)])).starts_with("000.webp is not in it"));
    let found = fault(&tar(&[("labels.bin", &labels[1..])]));
    assert_eq!(found, "labels.bin has the wrong length; found 502 bytes, expected 503 bytes, 1 a record");
}

#[test]
fn a_strip_of_the_wrong_size_or_no_image_is_named() {
    let labels = vec![0; 503];
    let records = some_records(3, 0);
    let three: Vec<_> = records.chunks(13).collect();
    let found = fault(&tar(&[("labels.bin", &labels), ("000.webp", &strip(&three))]));
    assert_eq!(found, "000.webp: it has the wrong size; found 2 x 6, expected 2 x 1,000 (width x height, 500 images)");
    let found = fault(&tar(&[("labels.bin", &labels), ("000.webp", b"RIFF but not for long")]));
    assert!(found.starts_with("000.webp: it cannot be decoded"), "{found}");
}

#[test]
fn a_wrong_label_is_named() {
    let mut records = train();
    records[13 * 7] = 3;
    assert_eq!(fault(&strips(&records)), "wrong label in record 7 (counted from 0); found 3, expected 0 to 2");
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2048), at in 0.0f64..1.0, value: u8) {
        let read = |tar: &[u8]| read_split(&RECORDS, Split::Train, tar, &mut Assembly::new(&RECORDS));
        let _ = read(&bytes);
        let mut near = strips(&train());
        let at = (at * near.len() as f64) as usize;
        near[at] = value;
        let _ = read(&near);
    }
}
