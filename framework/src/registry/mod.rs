//! Names to constructors: how a config's `type: pgd` becomes an attack.
//!
//! A plugin's config struct is registered under a kind and a name with [`register!`](crate::register). The entries of
//! everything linked into the program are collected by `inventory`; a [`Component`] can then be read from a config, built, and
//! written back.

mod component;
mod file;
pub mod manual;

pub use component::{Build, Component, Config, DataFacts};
pub use file::FilePath;

use crate::scheduler::Scheduler;
use foil_config::{Problem, suggest};
use std::collections::BTreeMap;
use std::sync::{OnceLock, RwLock};

/// A trait that plugins implement, by its name in configs.
pub trait Kind: 'static {
    /// `attack`, `loss`, …
    const NAME: &'static str;
    /// One sentence on what it does.
    const ABOUT: &'static str;
}

macro_rules! kinds {
    ($($trait:path, $name:literal, $about:literal;)*) => {
        $(impl Kind for dyn $trait {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $about;
        })*
        /// Every kind of plugin with one sentence on what it does.
        pub const KINDS: &[(&str, &str)] = &[$(($name, $about)),*];
    };
}

kinds! {
    crate::attack::Attack, "attack", "perturbs a batch of images";
    crate::loss::Loss, "loss", "is what a training step descends";
    crate::objective::Objective, "objective", "is what an attack ascends";
    crate::model::Model, "model", "turns images into logits";
    crate::scheduler::Scheduler, "scheduler", "is a number as a function of progress";
    crate::optim::Optimizer, "optimizer", "updates the parameters from their gradient";
}

/// One registered plugin.
pub struct Entry {
    kind: &'static str,
    name: &'static str,
    source: &'static str,
    example: &'static str,
    schema: fn() -> schemars::Schema,
    parse: component::Parse,
}

inventory::collect!(Entry);

impl Entry {
    /// Used by [`register!`](crate::register).
    #[doc(hidden)]
    pub const fn new<T: Kind + ?Sized, C: Config<T> + serde::de::DeserializeOwned + schemars::JsonSchema + 'static>(
        name: &'static str,
        source: &'static str,
        example: &'static str,
    ) -> Self {
        Self { kind: T::NAME, name, source, example, schema: component::schema::<C>, parse: component::parse::<T, C> }
    }

    /// `attack`, `loss`, …
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What configs call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The crate it comes from.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// A config that works, as YAML without `type`.
    pub fn example(&self) -> &'static str {
        self.example
    }

    /// The JSON Schema of its config: keys with types, defaults, ranges, units and descriptions.
    pub fn schema(&self) -> serde_json::Value {
        (self.schema)().to_value()
    }

    /// The first paragraph of its description, as one line.
    pub fn summary(&self) -> String {
        let description = self.description();
        let first: Vec<&str> = description.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        first.join(" ")
    }

    /// What it is, with paper and equation: its config's doc comment.
    pub fn description(&self) -> String {
        let schema = self.schema();
        let text = |key: &str| schema.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_string();
        text("description")
    }
}

/// The word's article: `an` attack, `a` loss.
pub(crate) fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

type Table = BTreeMap<(&'static str, &'static str), &'static Entry>;

fn table() -> &'static RwLock<Table> {
    static TABLE: OnceLock<RwLock<Table>> = OnceLock::new();
    TABLE.get_or_init(|| RwLock::new(inventory::iter::<Entry>.into_iter().map(|e| ((e.kind, e.name), e)).collect()))
}

/// All entries, by kind and name.
pub fn entries() -> Vec<&'static Entry> {
    table().read().map(|t| t.values().copied().collect()).unwrap_or_default()
}

/// The entry called `name` among those of `kind`.
///
/// # Errors
/// Lists the known names, and says which one was perhaps meant.
pub fn find(kind: &str, name: &str) -> crate::Result<&'static Entry> {
    let all = entries();
    if let Some(entry) = all.iter().find(|e| e.kind == kind && e.name == name) {
        return Ok(entry);
    }
    let known: Vec<&str> = all.iter().filter(|e| e.kind == kind).map(|e| e.name).collect();
    Err(crate::Error::new(format!("no {kind} is called `{name}`")).help(suggest(name, &known, "known")))
}

/// Whether some plugin called `name` has a key of this name, and whether a file is its value.
pub(crate) fn key_of_plugin(name: &str, key: &str) -> Option<bool> {
    entries().into_iter().filter(|entry| entry.name == name).find_map(|entry| {
        let schema = entry.schema();
        Some(schema.get("properties")?.get(key)?.get("x-file").is_some())
    })
}

/// The registry as the config checker sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registry;

impl foil_config::Catalog for Registry {
    fn names(&self, kind: &str) -> Vec<String> {
        entries().iter().filter(|e| e.kind == kind).map(|e| e.name.to_string()).collect()
    }
    fn schema(&self, kind: &str, name: &str) -> Option<serde_json::Value> {
        find(kind, name).ok().map(Entry::schema)
    }
    /// Only schedulers can be built before anything is known of the data; the others are checked by
    /// [`assemble`](crate::pipeline::assemble).
    fn check(&self, kind: &str, path: &str, component: &serde_yaml::Value) -> Vec<Problem> {
        if kind != <dyn Scheduler>::NAME {
            return Vec::new();
        }
        // One that meets its schema and cannot be read nevertheless is reported when the pipeline is read.
        let read = serde_yaml::from_value::<Component<dyn Scheduler>>(component.clone());
        read.ok().and_then(|scheduler| scheduler.build_at(path).err()).unwrap_or_default()
    }
}

/// Registers a config struct: `register!(dyn Loss, "trades", Trades, "beta: 6")`.
///
/// The arguments are the trait, the name in configs, the config (a `#[settings]` struct that implements
/// [`Config`](crate::registry::Config)), and an example that `foil explain` shows and a test parses.
#[macro_export]
macro_rules! register {
    (dyn $trait:path, $name:literal, $config:ty, $example:literal) => {
        $crate::__private::inventory::submit! {
            $crate::registry::Entry::new::<dyn $trait, $config>($name, env!("CARGO_PKG_NAME"), $example)
        }
    };
}
