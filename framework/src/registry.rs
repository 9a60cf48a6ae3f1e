//! Names to constructors: how a config's `type: pgd` becomes an attack.
//!
//! A plugin's config struct is registered under a kind and a name with
//! [`register!`](crate::register). The plugins of everything linked into the program are collected
//! by `inventory`; a [`Component`] can then be read from a config, built, and written back.

mod build;
mod component;
mod file;
mod foreign;
pub mod manual;
mod reading;

pub use build::{Build, DataFacts};
pub use component::{Component, Config};
pub use file::{DataPath, FilePath};
pub(crate) use foreign::is_admitted;
pub use foreign::{admitting, lasting};
pub use reading::reading_in;

use crate::attack::Attack;
use crate::augment::Augment;
use crate::average::Average;
use crate::data::DataSource;
use crate::loss::Loss;
use crate::model::Model;
use crate::objective::Objective;
use crate::optim::Optimizer;
use crate::plugin::{Held, across, shared};
use crate::scheduler::Scheduler;
use crate::update::Update;
use crate::{Error, Result};
use component::Settings;
use foil_config::suggest;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

/// A trait that plugins implement, by its name in configs.
pub trait Kind: 'static {
    /// `attack`, `loss`, …
    const NAME: &'static str;
    /// One sentence on what it does.
    const ABOUT: &'static str;
    /// How its objects cross from one copy of the framework to another.
    #[doc(hidden)]
    type Across: ?Sized;
    #[doc(hidden)]
    fn across(object: Box<Self>) -> Box<Self::Across>;
    #[doc(hidden)]
    fn held(object: Held<Self>) -> Box<Self>;
    #[doc(hidden)]
    fn slot(slots: &mut Slots) -> &mut Option<Box<dyn Settings<Self>>>;
}

macro_rules! kinds {
    ($($trait:ident as $across:ident in $slot:ident, $name:literal, $about:literal;)*) => {
        $(impl Kind for dyn $trait {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $about;
            type Across = dyn across::$across;
            fn across(object: Box<Self>) -> Box<Self::Across> {
                Box::new(object)
            }
            fn held(object: Held<Self>) -> Box<Self> {
                Box::new(object)
            }
            fn slot(slots: &mut Slots) -> &mut Option<Box<dyn Settings<Self>>> {
                &mut slots.$slot
            }
        })*
        /// Settings of one kind, found again without asking for types: a type has another identity
        /// in each copy of the framework.
        #[doc(hidden)]
        #[derive(Default)]
        pub struct Slots {
            $($slot: Option<Box<dyn Settings<dyn $trait>>>,)*
        }
        /// Every kind of plugin with one sentence on what it does.
        pub const KINDS: &[(&str, &str)] = &[$(($name, $about)),*];
    };
}

kinds! {
    DataSource as DataSourceAcross in data, "data", "is the images of a run with their labels";
    Augment as AugmentAcross in augment, "augment", "changes training images before they are attacked";
    Attack as AttackAcross in attack, "attack", "perturbs a batch of images";
    Loss as LossAcross in loss, "loss", "is what a training step descends";
    Objective as ObjectiveAcross in objective, "objective", "is what an attack ascends";
    Model as ModelAcross in model, "model", "turns images into logits";
    Scheduler as SchedulerAcross in scheduler, "scheduler", "is a number as a function of progress";
    Optimizer as OptimizerAcross in optimizer, "optimizer", "updates the parameters from their gradient";
    Update as UpdateAcross in update, "update", "turns a step's loss into a change of the weights";
    Average as AverageAcross in average, "average", "follows the weights and is evaluated in their place";
}

/// One registered plugin.
#[derive(Clone)]
pub struct Plugin {
    kind: &'static str,
    name: &'static str,
    source: &'static str,
    library: Option<&'static str>,
    example: &'static str,
    schema: fn() -> Result<String>,
    schema_of: Option<SchemaOf>,
    parse: fn(&str, &Path) -> Result<Slots>,
}

/// The JSON Schema of a plugin whose keys depend on what is written under some of them. An error is
/// a problem whose path is one of the plugin's keys, or empty.
pub type SchemaOf = fn(&[foil_config::Written]) -> Result<serde_json::Value, foil_config::Problem>;

inventory::collect!(Plugin);

impl Plugin {
    /// Used by [`register!`](crate::register).
    #[doc(hidden)]
    pub const fn new<T: Kind + ?Sized, C: Config<T> + serde::de::DeserializeOwned + schemars::JsonSchema + 'static>(
        name: &'static str,
        source: &'static str,
        example: &'static str,
    ) -> Self {
        let (schema, parse) = (component::schema::<C>, component::parse::<T, C>);
        Self { kind: T::NAME, name, source, library: None, example, schema, schema_of: None, parse }
    }

    /// The same plugin, whose keys depend on what is written under some of them.
    #[must_use]
    pub const fn keyed(self, schema_of: SchemaOf) -> Self {
        Self { schema_of: Some(schema_of), ..self }
    }

    /// Whether its keys, and what it does, follow from a program in a file that a pipeline names.
    pub fn is_keyed(&self) -> bool {
        self.schema_of.is_some()
    }

    /// The same as a library's.
    pub(crate) fn of_library(&self, library: &'static str) -> Self {
        Self { library: Some(library), ..self.clone() }
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

    /// The library it was loaded from; none for a plugin that is part of the program.
    pub fn library(&self) -> Option<&'static str> {
        self.library
    }

    /// Where it comes from, in words: `the crate foil-trades`, `libmy_loss.so (the crate my_loss)`.
    pub fn origin(&self) -> String {
        let of_crate = format!("the crate {}", self.source);
        self.library.map_or(of_crate.clone(), |library| format!("{library} ({of_crate})"))
    }

    /// A config that works, as YAML without `type`.
    pub fn example(&self) -> &'static str {
        self.example
    }

    /// The JSON Schema of its config: keys with types, defaults, ranges, units and descriptions.
    pub fn schema(&self) -> serde_json::Value {
        self.try_schema().unwrap_or_default()
    }

    /// The same, given what is written under its keys; `None` if it does not depend on that.
    ///
    /// # Errors
    /// Why the keys cannot be known.
    pub fn schema_of(
        &self,
        written: &[foil_config::Written],
    ) -> Option<Result<serde_json::Value, foil_config::Problem>> {
        self.schema_of.map(|schema_of| schema_of(written))
    }

    /// The same, where the plugin is not trusted yet.
    ///
    /// # Errors
    /// What went wrong in making it.
    pub(crate) fn try_schema(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&(self.schema)()?).map_err(Error::of)
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

/// Whether a number is 0: for `#[serde(skip_serializing_if = "…")]` of keys that are off by
/// default, so that a pipeline without them is written, and hashed, as before there were such keys.
pub fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// A kind in a sentence, with its article: `an attack`, `a loss`, `a data set`.
pub fn article(kind: &str) -> String {
    foil_config::article(kind)
}

/// The plugins of a process, by kind and name. There is one table, the program's; libraries are
/// handed it when they are loaded.
pub(crate) type Table = BTreeMap<(&'static str, &'static str), &'static Plugin>;

/// What is linked into this copy of the framework: for a library its own plugins, and the
/// framework's a second time.
pub(crate) fn linked() -> impl Iterator<Item = &'static Plugin> {
    inventory::iter::<Plugin>.into_iter()
}

/// All plugins, by kind and name.
pub fn plugins() -> Vec<&'static Plugin> {
    shared().table.read().map(|t| t.values().copied().collect()).unwrap_or_default()
}

/// Adds what a library brings: all of it or nothing.
///
/// # Errors
/// When one of its plugins has the name of another, saying where both come from; or cannot say its
/// keys.
pub(crate) fn add(plugins: Vec<Plugin>) -> Result<()> {
    let mut added: Table = BTreeMap::new();
    let mut table = shared().table.write().unwrap_or_else(PoisonError::into_inner);
    for plugin in plugins {
        let key = (plugin.kind, plugin.name);
        if let Some(other) = table.get(&key).or_else(|| added.get(&key)) {
            let message = format!("two plugins are called `{}` ({})", plugin.name, plugin.kind);
            return Err(Error::new(format!("{message}: {}, and {}", place(other), place(&plugin)))
                .help("rename one of them in its `register!` line, or do not load both"));
        }
        added.insert(key, Box::leak(Box::new(plugin)));
    }
    table.extend(added.clone());
    drop(table);
    // Only now, because a plugin's defaults may name others of the same library.
    let checked = added.values().try_for_each(|plugin| {
        let what = || format!("its {} `{}` cannot say which keys it has", plugin.kind, plugin.name);
        plugin.try_schema().map(drop).map_err(|error| error.context(what()))
    });
    checked.inspect_err(|_| {
        let mut table = shared().table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|key, _| !added.contains_key(key));
    })
}

/// As [`Plugin::origin`], saying of what is part of the program that it is.
fn place(plugin: &Plugin) -> String {
    if plugin.library.is_none() { format!("built-in {}", plugin.source) } else { plugin.origin() }
}

/// The plugin called `name` among those of `kind`.
///
/// # Errors
/// Lists the known names, and says which one was perhaps meant.
pub fn find(kind: &str, name: &str) -> Result<&'static Plugin> {
    let all = plugins();
    if let Some(plugin) = all.iter().find(|e| e.kind == kind && e.name == name) {
        return Ok(plugin);
    }
    let known: Vec<&str> = all.iter().filter(|e| e.kind == kind).map(|e| e.name).collect();
    Err(Error::new(format!("no {} is called `{name}`", foil_config::noun(kind))).help(suggest(name, &known, "known")))
}

/// What a key of a plugin names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// A file that belongs to a run: a [`FilePath`].
    File,
    /// Where a data set lies: a [`DataPath`].
    Data,
    /// Nothing outside the config.
    Nothing,
}

/// What the key of this name names of some plugin called `name` that has one.
pub fn key_of_plugin(name: &str, key: &str) -> Option<Names> {
    plugins().into_iter().filter(|plugin| plugin.name == name).find_map(|plugin| {
        let schema = plugin.schema();
        let key = schema.get("properties")?.get(key)?.to_string();
        // Inside an `anyOf` where the key is optional.
        Some(match (key.contains("\"x-file\":"), key.contains("\"x-data\":")) {
            (true, _) => Names::File,
            (_, true) => Names::Data,
            _ => Names::Nothing,
        })
    })
}

/// Registers a config struct: `register!(dyn Loss, "trades", Trades, "beta: 6")`.
///
/// The arguments are the trait, the name in configs, the config (a `#[settings]` struct that
/// implements [`Config`](crate::registry::Config)), and an example that `foil explain` shows and a
/// test parses.
#[macro_export]
macro_rules! register {
    (dyn $trait:path, $name:literal, $config:ty, $example:literal) => {
        $crate::__private::inventory::submit! {
            $crate::registry::Plugin::new::<dyn $trait, $config>($name, env!("CARGO_PKG_NAME"), $example)
        }
    };
}
