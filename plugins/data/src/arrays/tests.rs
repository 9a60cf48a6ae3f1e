use super::*;
use crate::test_set::{npy, zipped};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A `.npz` file in a folder, packed or not.
fn npz(arrays: &[(&str, Vec<u8>)], packed: bool) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.npz");
    std::fs::write(&path, zipped(arrays, packed)).unwrap();
    (folder, path)
}

fn settings(path: &Path, more: &str) -> Box<dyn DataSource> {
    let yaml = format!("{{ type: arrays, path: {}{more} }}", path.display());
    foil::testing::from_yaml::<dyn DataSource>(&yaml, Kind::Float)
}

fn read(path: &Path, more: &str) -> Result<Dataset> {
    settings(path, more).read(&Reading::default())
}

fn said(path: &Path, more: &str) -> String {
    read(path, more).unwrap_err().to_string().replace(&format!("{}", path.display()), "FILE")
}

/// Two images of 2 x 2 in three colours, channels last: pixel p of image i has 100 i + 10 p +
/// channel.
fn colours() -> Vec<u8> {
    (0..2).flat_map(|i| (0..4).flat_map(move |p| (0..3).map(move |c| (100 * i + 10 * p + c) as u8))).collect()
}

#[test]
fn npz_files_are_read_packed_or_not() {
    let labels: Vec<u8> = [2i64, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
    let arrays = [("images", npy("|u1", "(2, 2, 2, 3)", &colours())), ("labels", npy("<i8", "(2,)", &labels))];
    for packed in [false, true] {
        let (_folder, path) = npz(&arrays, packed);
        let data = read(&path, "").unwrap();
        assert_eq!(data.train.shape(), [2, 3, 2, 2]);
        assert_eq!(
            data.train.image(1).unwrap(),
            [100u8, 110, 120, 130, 101, 111, 121, 131, 102, 112, 122, 132].as_slice()
        );
        assert_eq!((data.train.labels, data.facts.class_names.len(), data.test.len()), (vec![2, 0], 3, 0));
    }
}

#[test]
fn floats_and_channels_first_and_test_images_in_another_file() {
    let grey: Vec<u8> = [0f32, 0.5, 1.0, 0.2].iter().flat_map(|v| v.to_le_bytes()).collect();
    let folder = tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("x.npy", &npy("<f4", "(1, 1, 2, 2)", &grey));
    write("y.npy", &npy("|u1", "(1, 1)", &[1]));
    let path = folder.path().join("x.npy");
    let own = |name: &str| folder.path().join(name).display().to_string();
    let data = read(
        &path,
        &format!(
            ", labels_path: {y}, test_path: {x}, test_labels_path: {y}, classes: [off, on]",
            x = own("x.npy"),
            y = own("y.npy")
        ),
    )
    .unwrap();
    assert_eq!((&data.train, data.train.shape()), (&data.test, [1, 1, 2, 2]));
    // round(255 x)
    assert_eq!(data.train.pixels, [0, 128, 255, 51]);
    assert_eq!(data.facts.class_names, ["off", "on"]);
}

#[test]
fn safetensors_are_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let header = r#"{"images":{"dtype":"U8","shape":[2,2,2,3],"data_offsets":[0,24]},"labels":{"dtype":"I64","shape":[2],"data_offsets":[24,40]}}"#;
    let labels = [1u64, 0].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let whole = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &colours(), &labels].concat();
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read(&path, "").unwrap().train.labels, [1, 0]);
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    assert!(said(&path, "").contains("FILE, array `images`: it is cut short") || said(&path, "").contains("cut short"));
}

#[test]
fn images_may_have_no_labels() {
    let (_folder, path) = npz(&[("images", npy("|u1", "(2, 2, 2, 3)", &colours()))], false);
    let data = read(&path, ", labels: null, classes: [a, b]").unwrap();
    assert_eq!(data.train.labels, [0, 0]);
    assert!(data.facts.class_names.is_empty());
}

#[test]
fn each_thing_wrong_is_named_with_its_array() {
    let images = || ("images", npy("|u1", "(2, 2, 2, 3)", &colours()));
    type Parts = Vec<(&'static str, Vec<u8>)>;
    let cases: Vec<(Parts, &str)> = vec![
        (vec![images()], "FILE, array `labels`: there is no such array in the file\n  help: it has: images"),
        (vec![images(), ("labels", npy("|u1", "(3,)", &[0, 1, 2]))], "3 labels for 2 images"),
        (
            vec![images(), ("labels", npy("|u1", "(2, 3)", &[0; 6]))],
            "array `labels`: its shape is [2, 3], expected [n]",
        ),
        (
            vec![images(), ("labels", npy("<f4", "(2,)", &[0, 0, 0, 63, 0, 0, 0, 0]))],
            "label 0 is 0.5, expected a whole number",
        ),
        (
            vec![("images", npy("|u1", "(2, 3, 3, 3)", &[0; 54])), ("labels", npy("|u1", "(2,)", &[0, 1]))],
            "does not show where the channels are\n  help: write `layout: nhwc`",
        ),
        (
            vec![("images", npy("|u1", "(2, 2, 2, 3)", &colours()[..20])), ("labels", npy("|u1", "(2,)", &[0, 1]))],
            "array `images`: it is cut short: 1 of 2 images",
        ),
        (
            vec![("images", npy("<f4", "(1, 1, 1)", &2f32.to_le_bytes())), ("labels", npy("|u1", "(1,)", &[0]))],
            "image 0: 2 is not from 0 to 1",
        ),
    ];
    for (arrays, part) in cases {
        let (_folder, path) = npz(&arrays, false);
        assert!(said(&path, "").contains(part), "{} lacks {part}", said(&path, ""));
    }
    let (_folder, path) = npz(&[images(), ("labels", npy("|u1", "(2,)", &[0, 5]))], false);
    assert!(said(&path, ", classes: [a, b]").contains("label 1 is 5, expected 0 to 1"));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let huge = npy("|u1", "(300000, 32, 32, 1)", &vec![0; 300_000 * 1024]);
    let (_folder, path) = npz(&[("images", huge), ("labels", npy("|u1", "(1,)", &[0]))], true);
    assert!(said(&path, "").contains("which no array of pictures does"), "{}", said(&path, ""));
}
