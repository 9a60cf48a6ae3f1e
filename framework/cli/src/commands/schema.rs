//! `foil schema`: completion and checks while one types.

use super::Exit;
use foil::Error;
use foil_runs::pipeline::editor_schema;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the JSON Schema of pipelines, which lets an editor complete and check as you type.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil schema --out foil.schema.json
  foil schema | less

An editor with the YAML language server (VS Code's \"YAML\" extension, Neovim, Helix, Emacs) uses it in a file
that begins with this comment, the path being relative to the file:

  # yaml-language-server: $schema=foil.schema.json

The schema knows the plugins of this program; write it again when you add one. `foil check` finds what a schema cannot
express (a missing key that `extends` may bring, two parts that do not fit).")]
pub(super) struct Args {
    /// Write the schema to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let schema = super::json(&editor_schema())?;
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
