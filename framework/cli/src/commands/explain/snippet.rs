//! A plugin's example as a part of a pipeline, ready to be pasted.

use crate::commands::data;
use crate::report::plot;
use foil::attack::Attack;
use foil::guard;
use foil::loss::{Forward, ImageSet, Loss};
use foil::model::Model;
use foil::registry::manual::{Key, keys};
use foil::registry::{Build, Component, DataFacts, Entry, entries};
use foil::scheduler::{Progress, Scheduler};
use foil::{Error, Result};
use foil_runs::pipeline::root_schema;
use serde_yaml::{Mapping, Value};
use std::cell::RefCell;
use tch::{Device, Kind};

/// Where readers expect plugins without their own key in a pipeline: a scheduler in the learning
/// rate.
const HOSTS: [&str; 3] = ["optimizer", "attack", "loss"];

/// The example under its key in a pipeline, inside another plugin if needed, and with the attack
/// or loss that it requires.
///
/// # Errors
/// When the registered example is not YAML, or no key takes plugins of this kind.
pub(super) fn yaml(entry: &Entry) -> Result<String> {
    let mut parts = placed(entry)?;
    let partner = partner(entry);
    if let Some(partner) = partner {
        parts.extend(placed(partner)?);
    }
    let mut named = networks(entry);
    named.extend(partner.into_iter().flat_map(networks));
    if !named.is_empty() {
        parts.insert("networks".into(), Value::Mapping(named));
    }
    serde_yaml::to_string(&parts).map_err(Error::of)
}

fn placed(entry: &Entry) -> Result<Mapping> {
    let component = match example(entry)? {
        only_type if only_type.len() == 1 => entry.name().into(),
        map => Value::Mapping(map),
    };
    if let Some(path) = root_key(entry) {
        let listed = keys(&root_schema()).iter().any(|key| key.path == path && key.takes.starts_with("a list"));
        return Ok(map(&path, if listed { Value::Sequence(vec![component]) } else { component }));
    }
    let (host, key) =
        host(entry).ok_or_else(|| Error::new(format!("no plugin takes the {} `{}`", entry.kind(), entry.name())))?;
    let mut outer = example(host)?;
    outer.insert(key.path.as_str().into(), component);
    let root = root_key(host).ok_or_else(|| Error::new(format!("`{}` has no place in a pipeline", host.name())))?;
    Ok(map(&root, Value::Mapping(outer)))
}

/// `type` and the keys of the registered example.
fn example(entry: &Entry) -> Result<Mapping> {
    let keys: Value = serde_yaml::from_str(entry.example())
        .map_err(|error| Error::new(format!("the example of {} `{}`: {error}", entry.kind(), entry.name())))?;
    let mut map = Mapping::new();
    map.insert("type".into(), entry.name().into());
    map.extend(keys.as_mapping().cloned().unwrap_or_default());
    Ok(map)
}

/// The key of a pipeline that takes this plugin.
fn root_key(entry: &Entry) -> Option<String> {
    if data::built(entry).is_some_and(|set| !set.parts().is_empty()) {
        return Some("corruptions".into());
    }
    let fits = |key: &Key| key.components == [entry.kind()] && key.path == entry.kind();
    let key = keys(&root_schema()).into_iter().find(fits)?;
    (!is_mask(entry)).then_some(key.path)
}

/// The first plugin with a key that takes this one.
fn host(entry: &Entry) -> Option<(&'static Entry, Key)> {
    HOSTS.iter().flat_map(|kind| entries().into_iter().filter(move |host| host.kind() == *kind)).find_map(|host| {
        let takes = |key: &Key| key.components.iter().any(|kind| kind == entry.kind());
        Some((host, keys(&host.schema()).into_iter().find(takes)?))
    })
}

/// Whether it is a mask network, which belongs inside an attack.
fn is_mask(entry: &Entry) -> bool {
    let network = |cx: &Build, model: &Component<dyn Model>| cx.network("model", model, 1);
    entry.kind() == "model" && built(entry, network).is_some_and(|network| network.is_mask())
}

/// The networks besides the model that a loss or an attack asks for.
fn networks(entry: &Entry) -> Mapping {
    let of_loss = || built(entry, |cx, loss: &Component<dyn Loss>| cx.component("loss", loss));
    let of_attack = || built(entry, |cx, attack: &Component<dyn Attack>| cx.component("attack", attack));
    let names: Vec<String> = match entry.kind() {
        "loss" => of_loss().map_or_else(Vec::new, |loss| {
            loss.passes().into_iter().filter_map(Forward::network).map(String::from).collect()
        }),
        "attack" => of_attack().map_or_else(Vec::new, |attack| attack.networks()),
        _ => Vec::new(),
    };
    let example = |name: String| {
        let keys = [("model", "small_cnn".to_string()), ("init", format!("{name}.safetensors"))];
        let keys: Mapping = keys.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        (name.into(), Value::Mapping(keys))
    };
    names.into_iter().map(example).collect()
}

/// The attack whose side tensors or images a loss needs; or the loss that computes clean logits for an
/// attack that needs them, and uses what that attack provides.
fn partner(entry: &Entry) -> Option<&'static Entry> {
    let loss = |entry: &Entry| built(entry, |cx, loss: &Component<dyn Loss>| cx.component("loss", loss));
    let attack = |entry: &Entry| built(entry, |cx, attack: &Component<dyn Attack>| cx.component("attack", attack));
    let fit = |loss: &dyn Loss, attack: &dyn Attack| {
        let images = loss.passes().into_iter().filter_map(|pass| match pass.images() {
            ImageSet::Named(name) => Some(name),
            _ => None,
        });
        let (needs, provided) =
            ([loss.needs(), images.collect()].concat(), [attack.provides(), attack.images()].concat());
        !needs.is_empty()
            && needs.iter().all(|need| provided.contains(need))
            && (!attack.needs_clean_logits() || loss.passes().contains(&Forward::CleanFirst))
    };
    let mut others = entries().into_iter();
    match entry.kind() {
        "loss" => loss(entry).and_then(|loss| {
            others.find(|other| other.kind() == "attack" && attack(other).is_some_and(|attack| fit(&*loss, &*attack)))
        }),
        "attack" => attack(entry).filter(|attack| attack.needs_clean_logits()).and_then(|attack| {
            others.find(|other| other.kind() == "loss" && loss(other).is_some_and(|loss| fit(&*loss, &*attack)))
        }),
        _ => None,
    }
}

/// The plugin's example, built for digits; `None` if it cannot be built.
fn built<T: foil::registry::Kind + ?Sized, B>(
    entry: &Entry,
    build: impl Fn(&Build, &Component<T>) -> Option<B>,
) -> Option<B> {
    let digits = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 1 };
    let problems = RefCell::default();
    let cx = Build::new(digits, 0, Kind::Float, Device::Cpu, &problems).dry(true);
    guard(|| Ok(build(&cx, &read(entry)?))).ok().flatten()
}

/// A plot of a scheduler's example over the epochs; `None` for other plugins.
pub(super) fn curve(entry: &Entry) -> Option<String> {
    if entry.kind() != "scheduler" {
        return None;
    }
    let epochs = epochs(entry);
    let values = guard(|| {
        let scheduler = read::<dyn Scheduler>(entry)?.build_alone()?;
        let start_of = |epoch: u64| Progress { epoch, step: 0, steps_per_epoch: 100, epochs };
        Ok((0..epochs).map(|epoch| scheduler.value(&start_of(epoch))).collect::<Vec<f64>>())
    })
    .ok()?;
    Some(format!("The example over a run of {epochs} epochs:\n\n{}", plot::curve(&values, 60, 8)))
}

/// A run long enough to show everything: a third longer than the largest time in the example, or
/// 100 epochs.
fn epochs(entry: &Entry) -> u64 {
    let in_epochs = keys(&entry.schema()).into_iter().filter(|key| key.unit.as_deref() == Some("epochs"));
    let example = example(entry).unwrap_or_default();
    let largest = in_epochs.filter_map(|key| largest(example.get(key.path.as_str())?)).fold(0.0, f64::max);
    if largest > 0.0 { (largest * 4.0 / 30.0).ceil().min(1000.0) as u64 * 10 } else { 100 }
}

fn largest(value: &Value) -> Option<f64> {
    match value {
        Value::Sequence(items) => items.iter().filter_map(largest).reduce(f64::max),
        other => other.as_f64(),
    }
}

fn read<T: foil::registry::Kind + ?Sized>(entry: &Entry) -> Result<Component<T>> {
    serde_yaml::from_value(Value::Mapping(example(entry)?)).map_err(Error::of)
}

fn map(key: &str, value: Value) -> Mapping {
    [(Value::from(key), value)].into_iter().collect()
}
