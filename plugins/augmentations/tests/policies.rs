//! The policies as a whole, for given draws: which operations they choose, how strong these are and
//! in which order, against what `make.py` found.

use foil::prelude::*;
use foil::registry::DataFacts;
use foil::tensors::{Named, read};
use foil_augmentations as _;
use std::cell::RefCell;
use std::path::Path;

/// What `make.py` found.
fn expected() -> Named {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies.safetensors")).unwrap().0
}

fn built(augment: &str) -> Box<dyn Augment> {
    let component: Component<dyn Augment> = serde_yaml::from_str(augment).unwrap();
    let facts = DataFacts { channels: 3, height: 17, width: 16, classes: 10, train: 100 };
    let problems = RefCell::default();
    let cx = Build::new(facts, 0, Kind::Float, tch::Device::Cpu, &problems);
    cx.component("augment", &component).unwrap_or_else(|| panic!("{:?}", problems.borrow()))
}

/// Runs `augment` on as many copies of the photo as `key` has results, with the draws that are kept
/// under it: `KEY.op.0` is the draw `NAME.op.0`.
#[track_caller]
fn check(augment: &str, name: &str, key: &str) {
    let all = expected();
    let n = all[key].size()[0];
    let mut noise = Noise::seeded(&[1], n, tch::Device::Cpu);
    let prefix = format!("{key}.");
    let draws = all.iter().filter_map(|(stored, values)| Some((stored.strip_prefix(&prefix)?, values)));
    for (draw, values) in draws {
        noise.give(&format!("{name}.{draw}"), values.shallow_clone());
    }
    let images = all["photo"].unsqueeze(0).expand([n, -1, -1, -1], false).contiguous();
    let found = built(augment).images(&images, &noise).unwrap();
    let wrong: Vec<i64> = (0..n).filter(|&i| found.get(i) != all[key].get(i)).collect();
    assert!(wrong.is_empty(), "{key}: images {wrong:?} of {n}");
    let same = (0..n).filter(|&i| all[key].get(i) == all["photo"]).count() as i64;
    assert!(same < n / 3, "{same} of {n} images are as they were");
}

#[test]
fn autoaugment_does_what_each_of_its_pairs_says() {
    check("autoaugment", "autoaugment", "autoaugment");
    let pairs = Vec::<i64>::try_from(&expected()["autoaugment.pair"].view(-1)).unwrap();
    assert!((0..25).all(|pair| pairs.contains(&pair)) && pairs.len() == 150);
}

#[test]
fn randaugment_does_what_torchvisions_table_says() {
    for (magnitude, levels) in [(9, 31), (14, 31), (3, 11)] {
        let yaml = format!("{{ type: randaugment, magnitude: {magnitude}, levels: {levels} }}");
        check(&yaml, "randaugment", &format!("randaugment {magnitude} {levels}"));
    }
}
