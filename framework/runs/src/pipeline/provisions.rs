//! Whether loss and attack find the images and networks that they ask for.

use super::{BatchNorm, Pipeline};
use foil::attack::Attack;
use foil::loss::{Forward, ImageSet, Loss, Moment};
use foil::registry::Build;
use foil::update::Update;
use std::collections::BTreeMap;

/// Reports what is asked for and not there, with what is.
pub(super) fn check(
    cx: &Build,
    pipeline: &Pipeline,
    loss: &dyn Loss,
    attack: &dyn Attack,
    update: Option<&dyn Update>,
) {
    let (loss_name, attack_name) = (pipeline.loss.name(), pipeline.attack.name());
    let makes = attack.images();
    let networks: Vec<&str> = pipeline.networks.keys().map(String::as_str).collect();
    for pass in loss.passes() {
        if let ImageSet::Named(set) = pass.images()
            && !makes.contains(&set)
        {
            let message = format!("is `{loss_name}`, which asks for images `{set}`, but the attack `{attack_name}`");
            let sets = [&makes[..], &["clean", "adversarial"]].concat();
            let other = format!("`foil explain loss {loss_name}` shows an attack that goes with it");
            cx.problem("loss", format!("{message} makes {}", listed(&makes)), meant(set, &sets).unwrap_or(other));
        }
        if let Some(name) = pass.network().filter(|name| !networks.contains(name)) {
            unknown(cx, "loss", loss_name, name, &networks);
        }
        if pass == Forward::CleanFirst && update.is_some_and(Update::moves) {
            let message = format!("is `{loss_name}`, whose logits from before the attack do not see the moved weights");
            cx.problem("loss", message, "choose another loss, or leave `update` out");
        }
    }
    input_gradients(cx, pipeline, loss);
    features(cx, pipeline, loss);
    for name in attack.networks().iter().filter(|name| !networks.contains(&name.as_str())) {
        unknown(cx, "attack", attack_name, name, &networks);
    }
}

/// Whether it is a pass of the model over one set of images, between attack and update, that the
/// loss lists.
fn is_plain(pass: Forward, loss: &dyn Loss) -> bool {
    let of_model = pass.moment() == Moment::BeforeUpdate && pass.network().is_none();
    of_model && pass != Forward::Together && loss.passes().contains(&pass)
}

/// Reports passes of which a loss cannot read features.
fn features(cx: &Build, pipeline: &Pipeline, loss: &dyn Loss) {
    if let Some((pass, name)) = loss.features().into_iter().find(|(pass, _)| !is_plain(*pass, loss)) {
        let message = format!("is `{}`, which reads the feature `{name}` of the pass {pass:?}", pipeline.loss.name());
        cx.problem("loss", message, "`features` lists passes of the model that `passes` lists, not `Together`");
    }
}

/// Reports passes by whose images a loss cannot differentiate.
fn input_gradients(cx: &Build, pipeline: &Pipeline, loss: &dyn Loss) {
    let (name, by_images) = (pipeline.loss.name(), loss.input_gradients());
    if let Some(pass) = by_images.iter().find(|pass| !is_plain(**pass, loss)) {
        let message = format!("is `{name}`, which differentiates by the images of the pass {pass:?}, but cannot");
        cx.problem("loss", message, "`input_gradients` lists passes of the model that `passes` lists, not `Together`");
    }
    if !by_images.is_empty() && pipeline.train.batch_norm == BatchNorm::Sync {
        let message = format!("is sync, but the loss `{name}` differentiates gradients again, which it cannot");
        cx.at("train").problem("batch_norm", message, "write `batch_norm: local`, or choose another loss");
    }
}

/// Reports attacks that cannot evaluate, since they look at other networks.
pub(super) fn evaluation(cx: &Build, attacks: &BTreeMap<String, Box<dyn Attack>>) {
    for (name, attack) in attacks {
        if let Some(network) = attack.networks().first() {
            let message = format!("looks at the network `{network}`, so it cannot evaluate a model");
            cx.at("attacks").problem(name, message, "choose an objective of the model alone");
        }
    }
}

fn unknown(cx: &Build, key: &str, part: &str, network: &str, known: &[&str]) {
    let message = format!("is `{part}`, which asks for the network `{network}`, but `networks` has");
    let other = format!("write `networks: {{ {network}: {{ model: …, init: … }} }}`");
    cx.problem(key, format!("{message} {}", listed(known)), meant(network, known).unwrap_or(other));
}

/// What to do about a name that is near one that is known.
pub(super) fn meant(name: &str, known: &[&str]) -> Option<String> {
    foil_config::did_you_mean(name, known).map(|near| format!("did you mean `{near}`?"))
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".into(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}
