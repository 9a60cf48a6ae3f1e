//! The attacks of the evaluation suite against `tests/goldens/suite.py`, plain PyTorch with the
//! same random numbers; and that an evaluation, which shrinks the batch, finds what the whole batch
//! finds.

use foil::nn::{Noise, key_of};
use foil::prelude::*;
use foil::scheduler::Clock;
use foil::tensors::Named;
use foil::testing::{assert_close, from_yaml, images, network};
use std::collections::BTreeMap;
use std::path::Path;
use tch::Device;

/// Rounding errors of 1e-16 grow along 100 steps of sign, momentum and search; a wrong formula is
/// off by 1e-3.
const CLOSE: f64 = 1e-6;

fn goldens() -> (Named, BTreeMap<String, String>, Network) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/suite.safetensors");
    let (tensors, metadata) = foil::tensors::read(&path).unwrap();
    let model =
        tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix("model.")?.to_string(), t.shallow_clone())));
    let network = network(Kind::Double);
    network.params().load(&model.collect()).unwrap();
    let cases = serde_json::from_str(&metadata["cases"]).unwrap();
    (tensors, cases, network)
}

fn batch<'a>(tensors: &Named, clock: &'a Clock) -> Batch<'a> {
    let get = |name: &str| tensors[name].shallow_clone();
    let noise = Noise::new(&Tensor::from(key_of(&[11])), &tensors["index"]);
    Batch { x: get("x"), y: get("y"), index: get("index"), noise, clock, clean_logits: None }
}

fn right(network: &Network, x: &Tensor, y: &Tensor) -> Tensor {
    network.frozen(x, Mode::Eval, None).argmax(-1, false).eq_tensor(y)
}

#[test]
fn attacks_equal_plain_pytorch() {
    let (tensors, cases, network) = goldens();
    let clock = Clock::new(1, 1, Device::Cpu);
    let batch = batch(&tensors, &clock);
    assert!(cases.len() >= 12);
    for (name, config) in &cases {
        eprintln!("{name}: {config}");
        let mut attack: Box<dyn Attack> = from_yaml(config, Kind::Double);
        // A run of FAB-T is compared by itself.
        let run = name.strip_prefix("fab_").map(|rest| rest[..1].parse::<usize>().unwrap());
        let one = run.map_or(Some(attack.as_mut() as &mut dyn Attack), |_| None);
        let found = match (one, run) {
            (Some(attack), _) => attack.perturb(&Target::new(&network, &batch.noise), &batch),
            (None, Some(rank)) => {
                attack.stages().swap_remove(rank - 1).1.perturb(&Target::new(&network, &batch.noise), &batch)
            }
            (None, None) => unreachable!(),
        };
        let found = found.unwrap().x;
        match tensors.get(&format!("{name}.standing")) {
            None => assert_close(&found, &tensors[name], CLOSE),
            // Of images that stand the oracle returns nothing; foil the worst point it has seen.
            Some(standing) => {
                assert_eq!(&right(&network, &found, &batch.y), standing);
                let broken = standing.logical_not().nonzero().view(-1);
                let [found, expected] = [&found, &tensors[name]].map(|t| t.index_select(0, &broken));
                assert_close(&found, &expected, CLOSE);
                assert!((3..24).contains(&broken.size()[0]), "all or nothing breaks");
            }
        }
    }
}

/// What breaks does not depend on whether broken images leave, on the images beside them, or on the
/// size of the batch.
#[test]
fn a_shrinking_batch_finds_the_same() {
    let images = images(24, 5, Kind::Double);
    let network = network(Kind::Double);
    for config in [
        "{ type: apgd, eps: 0.05, steps: 25 }",
        "{ type: apgd_t, eps: 0.05, steps: 25 }",
        "{ type: apgd, norm: L1, eps: 1, steps: 40 }",
        "{ type: apgd_t, norm: L1, eps: 1, steps: 40 }",
        "{ type: fab_t, eps: 0.05, steps: 25 }",
        "{ type: fab_t, norm: L2, eps: 0.4, steps: 15, restarts: 2 }",
        "{ type: square, eps: 0.05, n_queries: 160 }",
        "{ type: square, norm: L2, eps: 0.5, n_queries: 110 }",
        "{ type: autoattack, eps: 0.05, steps: 12, n_queries: 60 }",
    ] {
        let mut attack: Box<dyn Attack> = from_yaml(config, Kind::Double);
        let batch = images.batch(3);
        let whole = attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap().x;
        let shrunk = attack.perturb(&Target::new(&network, &batch.noise).shrinking(), &batch).unwrap().x;
        let right = |x: &Tensor, y: &Tensor| right(&network, x, y);
        let expected = right(&whole, &batch.y);
        let standing = expected.sum(Kind::Int64).int64_value(&[]);
        assert!((1..18).contains(&standing), "{config}: {standing} stand");
        assert_eq!(right(&shrunk, &batch.y), expected, "{config}");
        let rows = Tensor::from_slice(&[20i64, 3, 7, 11, 0]);
        let part = images.rows(&rows, 3);
        let of_part = attack.perturb(&Target::new(&network, &part.noise), &part).unwrap().x;
        assert_close(&of_part, &whole.index_select(0, &rows), CLOSE);
    }
}

fn names(attack: &mut dyn Attack) -> Vec<String> {
    attack.stages().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_chain_names_its_stages() {
    let mut attack: Box<dyn Attack> = from_yaml("{ type: autoattack, eps: 0.1 }", Kind::Double);
    let stages = names(attack.as_mut());
    // The tests' images have four classes, so three wrong ones.
    let expected =
        ["apgd_ce", "apgd_t.1", "apgd_t.2", "apgd_t.3", "fab_t.1", "fab_t.2", "fab_t.3", "square"].map(String::from);
    assert_eq!(stages, expected);
    assert!(attack.stages().into_iter().all(|(_, stage)| stage.stages().is_empty()));
    let mut nested: Box<dyn Attack> = from_yaml(
        "{ type: worst_of, attacks: [{ type: fgsm, eps: 0.1 }, { type: fab_t, eps: 0.1, targets: 2 }, { type: fgsm, eps: 0.2 }] }",
        Kind::Double,
    );
    assert_eq!(names(nested.as_mut()), ["fgsm", "fab_t.1", "fab_t.2", "fgsm-2"]);
}
