//! `foil check`: resolve, validate, print.

use super::Exit;
use crate::pipeline::{Pipeline, assemble, load};
use crate::record::stamp;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::{Device, Kind};

/// Check pipelines: resolve includes and overrides, report every problem at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil check configs/mnist/*.yaml
  foil check my.yaml attack.eps=8/255 --print")]
pub(super) struct Args {
    /// Pipeline files, and `key=value` overrides for all of them.
    #[arg(required = true)]
    inputs: Vec<String>,
    /// Print the resolved pipelines, defaults included.
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let (files, overrides) = split(&args.inputs);
    if files.is_empty() {
        return Err(Error::new("no file was named").help("foil check FILE… [key=value…]"));
    }
    let no_override = files.iter().find(|file| !file.exists() && file.extension().is_none());
    if let Some(word) = no_override {
        let message = format!("`{}` is neither a file nor an override", word.display());
        return Err(Error::new(message).help("write an override as key=value"));
    }
    let mut failed = 0;
    for file in &files {
        match check(file, &overrides) {
            Ok(pipeline) => {
                let yaml = pipeline.to_yaml()?;
                println!("ok  {}  {}", &stamp::config_hash(&yaml)[..12], file.display());
                if args.print {
                    println!("\n{yaml}");
                }
            }
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
    }
    if failed > 0 && files.len() > 1 {
        eprintln!("{failed} of {} files have problems", files.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Files and overrides, told apart by the `=` of an override.
pub(super) fn split(inputs: &[String]) -> (Vec<PathBuf>, Vec<String>) {
    let is_override = |input: &&String| input.contains('=') && !Path::new(input).exists();
    (
        inputs.iter().filter(|i| !is_override(i)).map(PathBuf::from).collect(),
        inputs.iter().filter(is_override).cloned().collect(),
    )
}

/// Loads a pipeline and builds its parts without their numbers.
pub(super) fn check(file: &Path, overrides: &[String]) -> Result<Pipeline> {
    let loaded = load(file, overrides)?;
    loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, true))?;
    Ok(loaded.pipeline)
}
