//! The real data: the built-in subset always, the whole sets where this machine has them (set
//! FOIL_DATA to a folder with `mnist`, `cifar10`, `cifar100` in it). A set that is not found is
//! skipped, and the output says so.

use foil_data::{DataError, Dataset, catalog};
use std::io::Write;
use std::time::Instant;

/// The data set, or a visible skip.
fn here(name: &str) -> Option<Dataset> {
    let start = Instant::now();
    let entry = catalog().iter().find(|entry| entry.name == name).expect("it is in the catalog");
    match entry.load(None) {
        Ok(data) => {
            println!("{name}: read from {} in {:.2?}", data.origin, start.elapsed());
            Some(data)
        }
        Err(error @ DataError::NotFound { .. }) => {
            // Not `eprintln!`, which the test runner swallows.
            let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn assert_statistics(data: &Dataset) {
    let (facts, (means, stds)) = (&data.facts, data.train.moments().unwrap());
    for ((mean, std), (expected_mean, expected_std)) in means.iter().zip(&stds).zip(facts.mean.iter().zip(&facts.std)) {
        assert!((mean - expected_mean).abs() < 1e-5, "{}: mean {mean}, expected {expected_mean}", facts.name);
        assert!((std - expected_std).abs() < 1e-5, "{}: std {std}, expected {expected_std}", facts.name);
    }
}

#[test]
fn the_built_in_subset_is_the_published_pixels_in_equal_classes() {
    let data = here("mnist_subset").expect("it is built in");
    assert_eq!(data.notes, [""; 0], "its SHA-256 is the one in the catalog");
    assert_eq!(data.train.shape(), [10_000, 1, 28, 28]);
    assert_eq!(data.test.shape(), [2_000, 1, 28, 28]);
    assert_eq!(data.train.per_class(10), [1_000; 10]);
    assert_eq!(data.test.per_class(10), [200; 10]);
    assert_eq!(data.train.labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "the first labels of MNIST");
}

#[test]
fn mnist_is_the_published_one() {
    let Some(data) = here("mnist") else { return };
    assert_eq!(data.notes, [""; 0]);
    // Counts per class as in the data's own description.
    assert_eq!(data.train.per_class(10), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(data.test.per_class(10), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    assert_statistics(&data);
}

#[test]
fn the_subset_is_a_part_of_mnist() {
    let (Some(whole), Some(part)) = (here("mnist"), here("mnist_subset")) else { return };
    for (whole, part, per_class) in [(whole.train, part.train, 1_000), (whole.test, part.test, 200)] {
        let mut seen = [0; 10];
        let first: Vec<_> = (0..whole.len())
            .filter(|&i| {
                seen[usize::from(whole.labels[i])] += 1;
                seen[usize::from(whole.labels[i])] <= per_class
            })
            .collect();
        assert_eq!(first.len(), part.len());
        assert!(
            first
                .iter()
                .enumerate()
                .all(|(j, &i)| whole.image(i).unwrap() == part.image(j).unwrap() && whole.labels[i] == part.labels[j])
        );
    }
}

#[test]
fn cifar10_has_equal_classes_and_known_statistics() {
    let Some(data) = here("cifar10") else { return };
    for note in &data.notes {
        println!("note: {note}");
        assert!(!note.contains("not the published file"), "{note}");
    }
    assert_eq!((data.train.per_class(10), data.test.per_class(10)), (vec![5_000; 10], vec![1_000; 10]));
    assert_statistics(&data);
}

#[test]
fn cifar100_is_the_published_one() {
    let Some(data) = here("cifar100") else { return };
    assert_eq!(data.notes, [""; 0]);
    assert_eq!((data.train.per_class(100), data.test.per_class(100)), (vec![500; 100], vec![100; 100]));
    assert_statistics(&data);
}

#[test]
fn every_name_in_the_catalog_loads_or_says_how_to_get_it() {
    for entry in catalog() {
        if let Err(error) = entry.load(Some("no/such/folder".as_ref())) {
            let error = error.to_string();
            assert!(error.contains("--> no/such/folder\n"), "{error}");
            assert!(error.contains(&format!("help: `foil data get {}` fetches it (", entry.name)), "{error}");
        }
    }
}
