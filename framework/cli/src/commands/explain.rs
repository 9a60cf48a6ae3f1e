//! `foil explain`: a plugin's manual, made from its doc comments.

mod page;
mod python;
mod reference;
mod snippet;

use super::Exit;
use foil::registry::{KINDS, Plugin, find, manual, plugins};
use foil::{Error, Result};
use foil_config::did_you_mean;
use foil_runs::pipeline::root_schema;
use std::path::PathBuf;
use std::process::ExitCode;

/// Explain what a plugin is, and what each of its keys means.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil explain pgd
  foil explain pgd --example             a part of a pipeline that uses it, to start from
  foil explain loss cat                  the kind first, where two kinds share a name
  foil explain attack                    what an attack is, and which there are
  foil explain pipeline                  the keys of a pipeline file
  foil explain train.epochs              one of them
  foil explain my_loss.py                a plugin in Python: its docstring and its fields
  foil explain loss.beta                 a key of a loss, in each loss that has it
  foil explain --markdown manual         all of it as Markdown, a page for each kind")]
pub(super) struct Args {
    /// A plugin, a kind of plugin, `pipeline` or a key of a pipeline; or a kind and a plugin.
    #[arg(required_unless_present = "markdown", num_args = 1..=2, value_names = ["KIND", "NAME"], value_parser = split)]
    words: Vec<Words>,
    /// Print the example only.
    #[arg(long)]
    example: bool,
    /// Write the manual of every plugin into this folder, as Markdown.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["words", "example"])]
    markdown: Option<PathBuf>,
}

/// An argument, which may be `KIND:NAME`.
type Words = Vec<String>;

fn split(argument: &str) -> Result<Words> {
    Ok(argument.split(':').map(str::to_string).collect())
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some(folder) = &args.markdown {
        for page in reference::write(folder)? {
            println!("{}", page.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let words: Vec<&str> = args.words.iter().flatten().map(String::as_str).collect();
    if let [file, class @ ..] = words.as_slice()
        && file.ends_with(".py")
        && !args.example
    {
        print!("{}", python::page(file, class.first().copied())?);
        return Ok(ExitCode::SUCCESS);
    }
    let subject = match words.as_slice() {
        [name] => Subject::named(name)?,
        [kind, name] if KINDS.iter().any(|(known, _)| known == kind) => Subject::Plugin(find(kind, name)?),
        [kind, _] => return Err(unknown(kind, &kinds(), "kind", "kinds")),
        _ => return Err(Error::new("too many names").help("foil explain NAME, or foil explain KIND NAME")),
    };
    match (&subject, args.example) {
        (_, false) => print!("{}", page::of(&subject)),
        (Subject::Plugin(plugin), true) => print!("{}", snippet::yaml(plugin)?),
        (_, true) => return Err(Error::new("only a plugin has an example").help("foil explain NAME --example")),
    }
    Ok(ExitCode::SUCCESS)
}

/// What can be explained.
enum Subject {
    /// One plugin.
    Plugin(&'static Plugin),
    /// A kind of plugin with what it does.
    Kind(&'static str, &'static str),
    /// A whole pipeline file.
    Pipeline,
    /// A key of a pipeline, and those below it.
    Keys(Vec<manual::Key>),
    /// A key of plugins, in each that has it.
    PluginKeys(Vec<(&'static Plugin, manual::Key)>),
}

impl Subject {
    fn named(name: &str) -> Result<Self> {
        let called: Vec<&Plugin> = plugins().into_iter().filter(|plugin| plugin.name() == name).collect();
        match called.as_slice() {
            [] => {}
            [one] => return Ok(Self::Plugin(one)),
            several => {
                let ways: Vec<String> = several.iter().map(|e| format!("`foil explain {} {name}`", e.kind())).collect();
                let kinds: Vec<&str> = several.iter().map(|plugin| plugin.kind()).collect();
                let message = format!("`{name}` is the name of several plugins: {}", kinds.join(", "));
                return Err(Error::new(message).help(ways.join(" or ")));
            }
        }
        if let Some((kind, about)) = KINDS.iter().find(|(kind, _)| *kind == name) {
            return Ok(Self::Kind(kind, about));
        }
        if name == "pipeline" {
            return Ok(Self::Pipeline);
        }
        let below = format!("{name}.");
        let keys: Vec<manual::Key> = manual::keys(&root_schema());
        let here: Vec<manual::Key> =
            keys.iter().filter(|key| key.path == name || key.path.starts_with(&below)).cloned().collect();
        if !here.is_empty() {
            return Ok(Self::Keys(here));
        }
        let of_plugins = plugin_keys(name, &keys);
        if !of_plugins.is_empty() {
            return Ok(Self::PluginKeys(of_plugins));
        }
        let all = plugins();
        let mut known: Vec<&str> = all.iter().map(|plugin| plugin.name()).chain(kinds()).collect();
        known.extend(keys.iter().map(|key| key.path.as_str()).chain(["pipeline"]));
        let having = having(name);
        match having.is_empty() {
            true => Err(unknown(name, &known, "plugin, kind or key of a pipeline", "")),
            false => Err(Error::new(format!("`{name}` is a key of {}", having.join(", ")))
                .help(format!("`foil explain {}` describes it", having[0]))),
        }
    }
}

/// `loss.beta`, `attacks.pgd20.steps` or `attack.inner.steps`: the key in each plugin of the kinds
/// that the first word takes, or that their keys take in turn.
fn plugin_keys(path: &str, pipeline: &[manual::Key]) -> Vec<(&'static Plugin, manual::Key)> {
    let Some((first, rest)) = path.split_once('.') else { return Vec::new() };
    let mut kinds: Vec<String> =
        KINDS.iter().filter(|(kind, _)| *kind == first).map(|(kind, _)| kind.to_string()).collect();
    kinds.extend(pipeline.iter().filter(|key| key.path == first).flat_map(|key| key.components.clone()));
    let having = |kinds: &[String], key: &str| -> Vec<(&'static Plugin, manual::Key)> {
        let of_kind = plugins().into_iter().filter(|plugin| kinds.iter().any(|kind| kind == plugin.kind()));
        let found = of_kind.flat_map(|plugin| manual::keys(&plugin.schema()).into_iter().map(move |key| (plugin, key)));
        found.filter(|(_, one)| one.path == key).collect()
    };
    // Whole, then without what may be a name (`attacks.NAME.steps`) or a key that takes a plugin.
    let mut rest = rest;
    loop {
        let found = having(&kinds, rest);
        match rest.split_once('.') {
            None => return found,
            _ if !found.is_empty() => return found,
            Some((key, after)) => {
                kinds.extend(having(&kinds, key).into_iter().flat_map(|(_, key)| key.components));
                rest = after;
            }
        }
    }
}

/// Plugins with a key of this name.
fn having(key: &str) -> Vec<String> {
    let has = |plugin: &&Plugin| manual::keys(&plugin.schema()).iter().any(|one| one.path == key);
    plugins().into_iter().filter(has).map(|plugin| format!("{} {}", plugin.kind(), plugin.name())).collect()
}

fn kinds() -> Vec<&'static str> {
    KINDS.iter().map(|(kind, _)| *kind).collect()
}

/// `list` names the known words; if it is empty, there are too many to list.
fn unknown(word: &str, known: &[&str], what: &str, list: &str) -> Error {
    let meant = did_you_mean(word, known).map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
    let all =
        if list.is_empty() { "`foil list` shows all names".into() } else { format!("{list}: {}", known.join(", ")) };
    Error::new(format!("no {what} is called `{word}`")).help(meant + &all)
}
