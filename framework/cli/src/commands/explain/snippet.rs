//! A plugin's example as a part of a pipeline, ready to be pasted.

use crate::commands::data;
use crate::report::plot;
use foil::attack::Attack;
use foil::guard;
use foil::loss::{Forward, ImageSet, Loss};
use foil::model::Model;
use foil::registry::manual::{Key, keys};
use foil::registry::{Build, Component, DataFacts, Plugin, plugins};
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
pub(super) fn yaml(plugin: &Plugin) -> Result<String> {
    let mut parts = placed(plugin)?;
    let partner = partner(plugin);
    if let Some(partner) = partner {
        parts.extend(placed(partner)?);
    }
    let mut named = networks(plugin);
    named.extend(partner.into_iter().flat_map(networks));
    if !named.is_empty() {
        parts.insert("networks".into(), Value::Mapping(named));
    }
    serde_yaml::to_string(&parts).map_err(Error::of)
}

fn placed(plugin: &Plugin) -> Result<Mapping> {
    let component = match example(plugin)? {
        only_type if only_type.len() == 1 => plugin.name().into(),
        map => Value::Mapping(map),
    };
    if let Some(path) = root_key(plugin) {
        let listed = keys(&root_schema()).iter().any(|key| key.path == path && key.takes.starts_with("a list"));
        return Ok(map(&path, if listed { Value::Sequence(vec![component]) } else { component }));
    }
    let (host, key) =
        host(plugin).ok_or_else(|| Error::new(format!("no plugin takes the {} `{}`", plugin.kind(), plugin.name())))?;
    let mut outer = example(host)?;
    outer.insert(key.path.as_str().into(), component);
    let root = root_key(host).ok_or_else(|| Error::new(format!("`{}` has no place in a pipeline", host.name())))?;
    Ok(map(&root, Value::Mapping(outer)))
}

/// `type` and the keys of the registered example.
fn example(plugin: &Plugin) -> Result<Mapping> {
    let keys: Value = serde_yaml::from_str(plugin.example())
        .map_err(|error| Error::new(format!("the example of {} `{}`: {error}", plugin.kind(), plugin.name())))?;
    let mut map = Mapping::new();
    map.insert("type".into(), plugin.name().into());
    map.extend(keys.as_mapping().cloned().unwrap_or_default());
    Ok(map)
}

/// The key of a pipeline that takes this plugin.
fn root_key(plugin: &Plugin) -> Option<String> {
    if data::built(plugin).is_some_and(|set| !set.parts().is_empty()) {
        return Some("corruptions".into());
    }
    let fits = |key: &Key| key.components == [plugin.kind()] && key.path == plugin.kind();
    let key = keys(&root_schema()).into_iter().find(fits)?;
    (!is_mask(plugin)).then_some(key.path)
}

/// The first plugin with a key that takes this one.
fn host(plugin: &Plugin) -> Option<(&'static Plugin, Key)> {
    HOSTS.iter().flat_map(|kind| plugins().into_iter().filter(move |host| host.kind() == *kind)).find_map(|host| {
        let takes = |key: &Key| key.components.iter().any(|kind| kind == plugin.kind());
        Some((host, keys(&host.schema()).into_iter().find(takes)?))
    })
}

/// Whether it is a mask network, which belongs inside an attack.
fn is_mask(plugin: &Plugin) -> bool {
    let network = |cx: &Build, model: &Component<dyn Model>| cx.network("model", model, 1);
    plugin.kind() == "model" && built(plugin, network).is_some_and(|network| network.is_mask())
}

/// The networks besides the model that a loss or an attack asks for.
fn networks(plugin: &Plugin) -> Mapping {
    let of_loss = || built(plugin, |cx, loss: &Component<dyn Loss>| cx.component("loss", loss));
    let of_attack = || built(plugin, |cx, attack: &Component<dyn Attack>| cx.component("attack", attack));
    let names: Vec<String> = match plugin.kind() {
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

/// The attack whose side tensors or images a loss needs; or the loss that computes clean logits for
/// an attack that needs them, and uses what that attack provides.
fn partner(plugin: &Plugin) -> Option<&'static Plugin> {
    let loss = |plugin: &Plugin| built(plugin, |cx, loss: &Component<dyn Loss>| cx.component("loss", loss));
    let attack = |plugin: &Plugin| built(plugin, |cx, attack: &Component<dyn Attack>| cx.component("attack", attack));
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
    let mut others = plugins().into_iter();
    match plugin.kind() {
        "loss" => loss(plugin).and_then(|loss| {
            others.find(|other| other.kind() == "attack" && attack(other).is_some_and(|attack| fit(&*loss, &*attack)))
        }),
        "attack" => attack(plugin).filter(|attack| attack.needs_clean_logits()).and_then(|attack| {
            others.find(|other| other.kind() == "loss" && loss(other).is_some_and(|loss| fit(&*loss, &*attack)))
        }),
        _ => None,
    }
}

/// The plugin's example, built for digits; `None` if it cannot be built.
fn built<T: foil::registry::Kind + ?Sized, B>(
    plugin: &Plugin,
    build: impl Fn(&Build, &Component<T>) -> Option<B>,
) -> Option<B> {
    let digits = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 1 };
    let problems = RefCell::default();
    let cx = Build::new(digits, 0, Kind::Float, Device::Cpu, &problems).dry(true);
    guard(|| Ok(build(&cx, &read(plugin)?))).ok().flatten()
}

/// A plot of a scheduler's example over the epochs; `None` for other plugins.
pub(super) fn curve(plugin: &Plugin) -> Option<String> {
    if plugin.kind() != "scheduler" {
        return None;
    }
    let epochs = epochs(plugin);
    let values = guard(|| {
        let scheduler = read::<dyn Scheduler>(plugin)?.build_alone()?;
        let start_of = |epoch: u64| Progress { epoch, step: 0, steps_per_epoch: 100, epochs };
        Ok((0..epochs).map(|epoch| scheduler.value(&start_of(epoch))).collect::<Vec<f64>>())
    })
    .ok()?;
    Some(format!("The example over a run of {epochs} epochs:\n\n{}", plot::curve(&values, 60, 8)))
}

/// A run long enough to show everything: a third longer than the largest time in the example, or
/// 100 epochs.
fn epochs(plugin: &Plugin) -> u64 {
    let in_epochs = keys(&plugin.schema()).into_iter().filter(|key| key.unit.as_deref() == Some("epochs"));
    let example = example(plugin).unwrap_or_default();
    let largest = in_epochs.filter_map(|key| largest(example.get(key.path.as_str())?)).fold(0.0, f64::max);
    if largest > 0.0 { (largest * 4.0 / 30.0).ceil().min(1000.0) as u64 * 10 } else { 100 }
}

fn largest(value: &Value) -> Option<f64> {
    match value {
        Value::Sequence(items) => items.iter().filter_map(largest).reduce(f64::max),
        other => other.as_f64(),
    }
}

fn read<T: foil::registry::Kind + ?Sized>(plugin: &Plugin) -> Result<Component<T>> {
    serde_yaml::from_value(Value::Mapping(example(plugin)?)).map_err(Error::of)
}

fn map(key: &str, value: Value) -> Mapping {
    [(Value::from(key), value)].into_iter().collect()
}
