//! `foil schema`: completion and checks while one types.

use super::Exit;
use super::in_python::classes;
use foil::{Error, Result};
use foil_config::OfFile;
use foil_runs::pipeline::editor_schema;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the JSON Schema of pipelines, which lets an editor complete and check as you type.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil schema --out foil.schema.json
  foil schema my_loss.py --out foil.schema.json          with the keys of a plugin in Python
  foil schema | less

An editor with the YAML language server (VS Code's \"YAML\" extension, Neovim, Helix, Emacs) uses it in a file
that begins with this comment, the path being relative to the file:

  # yaml-language-server: $schema=foil.schema.json

The schema knows the plugins of this program; write it again when you add one. `foil check` finds what a schema cannot
express (a missing key that `extends` may bring, two parts that do not fit).")]
pub(super) struct Args {
    /// Python files whose classes a pipeline may name under `type: python`: the schema has their
    /// keys too. Of several classes of one kind, FILE:CLASS names one.
    #[arg(value_name = "FILE.py")]
    files: Vec<String>,
    /// Write the schema to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let of_files = args.files.iter().map(|file| of_file(file)).collect::<Result<Vec<_>>>()?.concat();
    let schema = super::json(&editor_schema(&of_files))?;
    match &args.out {
        None => println!("{schema}"),
        Some(file) => {
            foil::atomic::write(file, schema + "\n").map_err(Error::of)?;
            eprintln!(
                "wrote {}; begin a pipeline with: # yaml-language-server: $schema={}",
                file.display(),
                file.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The plugins in a Python file.
fn of_file(argument: &str) -> Result<Vec<OfFile>> {
    let (file, class) = argument.rsplit_once(':').map_or((argument, None), |(file, class)| (file, Some(class)));
    let named = |(plugin, schema): (&foil::registry::Plugin, serde_json::Value)| OfFile {
        kind: plugin.kind().into(),
        plugin: plugin.name().into(),
        file: file.into(),
        schema,
    };
    Ok(classes(file, class)?.into_iter().map(named).collect())
}
