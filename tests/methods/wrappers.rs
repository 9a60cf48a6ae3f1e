//! Attacks around others: whatever the inner attack declares, keeps and learns, the outer one does
//! too.

use foil::prelude::*;
use foil::testing::{FACTS, attack_from_yaml, images, network};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// An attack that answers every question unlike the trait's default.
///
/// It leaves the images as they are. Each wrapper is built around it, and then asked the same
/// questions.
#[settings]
pub struct Unusual {
    /// Whether it keeps and learns anything.
    #[set(default = true)]
    pub learns: bool,
}

struct UnusualAttack {
    config: Unusual,
    network: Learner,
}

impl Config<dyn Attack> for Unusual {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let sgd: Component<dyn Optimizer> = serde_yaml::from_str("{ type: sgd, lr: 0.1 }").map_err(Error::of)?;
        let network = cx.network("mask", &Component::named("tiny_mask")?, cx.data.channels);
        let (Some(network), Some(sgd)) = (network, cx.component("optimizer", &sgd)) else {
            return Err(Error::new("its network cannot be built"));
        };
        Ok(Box::new(UnusualAttack { config: self.clone(), network: Learner::new(network, sgd) }))
    }
}

impl Attack for UnusualAttack {
    fn perturb(&mut self, _: &Target, batch: &Batch) -> Result<Adversarial> {
        Ok(Adversarial::new(batch.x.shallow_clone())
            .with("unusual.side", batch.y.shallow_clone())
            .with_images("unusual.images", batch.x.shallow_clone()))
    }

    fn mode(&self) -> Mode {
        Mode::Train
    }

    fn provides(&self) -> Vec<&'static str> {
        vec!["unusual.side"]
    }

    fn needs_clean_logits(&self) -> bool {
        true
    }

    fn images(&self) -> Vec<&'static str> {
        vec!["unusual.images"]
    }

    fn networks(&self) -> Vec<String> {
        vec!["unusual".into()]
    }

    fn capturable(&self) -> bool {
        false
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn threats(&self) -> Vec<Threat> {
        vec![UNUSUAL]
    }

    fn learning(&self) -> Option<&dyn Learning> {
        self.config.learns.then_some(self as _)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        self.config.learns.then_some(self as _)
    }
}

impl Learning for UnusualAttack {
    fn after_update(&mut self, _: &Target, _: &Batch, _: &Adversarial) -> Result<Vec<(&'static str, Tensor)>> {
        Ok(vec![("unusual_learned", Tensor::from(1.0))])
    }

    fn takes_gradient(&self) -> bool {
        true
    }

    fn after_gradient(&mut self, _: &Target, _: &Batch, found: &Adversarial, gradient: &Tensor) -> Result<Tensor> {
        Ok(&found.x + gradient)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("unusual".into(), Tensor::zeros([FACTS.train], (Kind::Float, tch::Device::Cpu)))]
    }

    fn per_image(&self) -> Vec<String> {
        vec!["unusual".into()]
    }

    fn remark(&self, means: &BTreeMap<String, f64>) -> Option<String> {
        means.get("unusual_learned").map(|mean| format!("unusual {mean}"))
    }

    fn learner(&self) -> Option<&Learner> {
        Some(&self.network)
    }
}

const UNUSUAL: Threat = Threat { norm: Norm::L2, eps: 0.7 };

register!(dyn Attack, "unusual", Unusual, "{}");

/// Methods that are about the wrapper's own result, or give access to what is checked.
const OWN: [&str; 8] =
    ["perturb", "ends_with_train_pass", "complete", "stages", "inner", "inner_mut", "learning", "learning_mut"];

/// What a wrapper does not forward, on purpose.
const KEPT: [(&str, &str); 14] = [
    // They ask which images are right, and how far from the others each one's label is.
    ("correct_only", "soft_labels"),
    ("worst_of", "soft_labels"),
    // It returns side tensors of its own.
    ("calibrated", "provides"),
    ("calibrated", "images"),
    // It trains on other images than the inner attack's; `foil check` refuses such an inner attack.
    ("calibrated", "takes_gradient"),
    ("calibrated", "after_gradient"),
    // They mix the images of several attacks, or take turns between them: side tensors belong to
    // other images.
    ("worst_of", "provides"),
    ("worst_of", "images"),
    ("max_of", "provides"),
    ("max_of", "images"),
    ("one_of", "provides"),
    ("one_of", "images"),
    ("each_of", "provides"),
    ("each_of", "images"),
];

/// The example of a wrapper with every attack in it replaced; `None` for other attacks.
fn around(plugin: &foil::registry::Plugin, inner: &Value) -> Option<Value> {
    let schema = plugin.schema();
    let mut config: Value = serde_yaml::from_str(plugin.example()).unwrap();
    let mut wraps = false;
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if property["x-component"] == "attack" {
            (config[key], wraps) = (inner.clone(), true);
        } else if property["items"]["x-component"] == "attack" {
            (config[key], wraps) = (vec![inner.clone(); 2].into(), true);
        }
    }
    if config.get("mask").is_some() {
        config["mask"] = "tiny_mask".into();
    }
    config["type"] = plugin.name().into();
    wraps.then_some(config)
}

/// For each method, whether the attack answers as the inner one does.
fn answers(attack: &mut dyn Attack) -> Vec<(&'static str, bool)> {
    let mut answers = vec![
        ("mode", attack.mode() == Mode::Train),
        ("provides", attack.provides().contains(&"unusual.side")),
        ("images", attack.images().contains(&"unusual.images")),
        ("networks", attack.networks() == ["unusual"]),
        ("needs_clean_logits", attack.needs_clean_logits()),
        ("capturable", !attack.capturable()),
        ("soft_labels", attack.soft_labels()),
        ("threats", attack.threats() == [UNUSUAL]),
    ];
    let (network, images) = (network(Kind::Double), images(4, 1, Kind::Double));
    let batch = images.batch(1);
    let target = Target::new(&network, &batch.noise);
    let found = attack.perturb(&target, &batch).unwrap();
    let made = attack.images().into_iter().all(|name| found.images.contains_key(name));
    assert!(made, "it names images that it does not make");
    if let Some(learning) = attack.learning() {
        let (state, per_image) = (learning.state(), learning.per_image());
        let means = [("mask_mean", 0.5), ("unusual_learned", 1.0)].map(|(name, mean)| (name.to_string(), mean));
        answers.extend([
            ("state", state.iter().any(|(name, _)| name.ends_with("unusual"))),
            ("per_image", per_image.len() == 1 && state.iter().any(|(name, _)| *name == per_image[0])),
            ("remark", learning.remark(&means.into()).as_deref() == Some("unusual 1")),
            ("learner", learning.learner().is_some()),
            ("takes_gradient", learning.takes_gradient()),
        ]);
    }
    if let Some(learning) = attack.learning_mut() {
        let learned = learning.after_update(&target, &batch, &found).unwrap();
        answers.push(("after_update", learned.iter().any(|(name, _)| *name == "unusual_learned")));
        let gradient = found.x.ones_like();
        let moved = learning.after_gradient(&target, &batch, &found, &gradient).unwrap();
        answers.push(("after_gradient", moved == &found.x + gradient));
    }
    answers
}

/// The methods of the traits by their source text, so that a new one is not forgotten here.
fn methods() -> Vec<&'static str> {
    let sources = [
        ("pub trait Attack", include_str!("../../framework/src/attack.rs")),
        ("pub trait Learning", include_str!("../../framework/src/attack/learning.rs")),
    ];
    let body = |(name, text): (&str, &'static str)| text.split_once(name).unwrap().1.split("\n}").next().unwrap();
    let lines = sources.into_iter().flat_map(|source| body(source).lines());
    let names = lines.filter_map(|line| line.strip_prefix("    fn ")?.split('(').next());
    names.filter(|name| !OWN.contains(name)).collect()
}

#[test]
fn a_wrapper_forwards_everything() {
    let [learns, plain] = [true, false].map(|learns| serde_json::json!({ "type": "unusual", "learns": learns }));
    let mut seen = Vec::new();
    for plugin in foil::registry::plugins().into_iter().filter(|plugin| plugin.kind() == "attack") {
        let Some(config) = around(plugin, &learns) else { continue };
        let kept = |method: &str| KEPT.contains(&(plugin.name(), method));
        let component: Component<dyn Attack> = serde_json::from_value(config.clone()).unwrap();
        let problems = RefCell::default();
        let built =
            Build::new(FACTS, 0, Kind::Double, tch::Device::Cpu, &problems).component::<dyn Attack>("", &component);
        // A chain would have to keep the state of several attacks apart, so it takes none.
        let refused = problems.into_inner();
        let mut attack = if refused.is_empty() {
            built.unwrap()
        } else {
            assert!(refused[0].message.contains("learns or keeps something"), "{}: {refused:?}", plugin.name());
            attack_from_yaml(&around(plugin, &plain).unwrap().to_string(), Kind::Double)
        };
        // What a chain keeps is its own.
        let mut answers = answers(attack.as_mut());
        let of_learning =
            ["state", "per_image", "remark", "learner", "after_update", "takes_gradient", "after_gradient"];
        answers.retain(|(method, _)| refused.is_empty() || !of_learning.contains(method));
        for (method, forwarded) in &answers {
            assert_eq!(*forwarded, !kept(method), "`{}` does not forward `{method}`", plugin.name());
        }
        let mut asked: Vec<&str> = answers.iter().map(|(method, _)| *method).collect();
        let mut all = methods();
        if !refused.is_empty() {
            all.retain(|method| !of_learning.contains(method));
        }
        asked.sort_unstable();
        all.sort_unstable();
        assert_eq!(asked, all, "{}: this test asks for every method", plugin.name());
        seen.push(plugin.name());
    }
    assert_eq!(seen, ["as_trained", "beyond", "calibrated", "correct_only", "each_of", "max_of", "one_of", "worst_of"]);
}

/// The engine counts its own pass twice for one that an attack leaves out, so the attack must leave
/// out exactly one, over its result, and change nothing else.
#[test]
fn an_attack_leaves_out_the_train_pass_it_ends_with() {
    let config = |keep: &str, mode: &str| {
        format!("{{ type: pgd, eps: 0.1, alpha: 0.05, steps: 2, keep: {keep}, mode: {mode} }}")
    };
    for (keep, mode, ends) in [("worst", "train", true), ("last", "train", false), ("worst", "eval", false)] {
        let mut attack = attack_from_yaml(&config(keep, mode), Kind::Double);
        assert_eq!(attack.ends_with_train_pass(), ends, "{keep} {mode}");
        let images = images(8, 2, Kind::Double);
        let batch = images.batch(1);
        let mut run = |skips: bool| {
            let network = network(Kind::Double);
            let target = Target::new(&network, &batch.noise);
            let target = if skips { target.skipping_last_pass() } else { target };
            let x = attack.perturb(&target, &batch).unwrap().x;
            if skips && ends {
                let _ = target.logits(&x, Mode::Train);
            }
            let running = network.params().state_dict().into_iter().filter(|(name, _)| name.starts_with("bn."));
            (x, running.map(|(name, t)| (name, t.copy())).collect::<BTreeMap<_, _>>())
        };
        assert_eq!(run(true), run(false), "{keep} {mode}");
    }
}
