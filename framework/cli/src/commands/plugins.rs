//! `foil plugins`: libraries that are loaded at run time.

use super::Exit;
use foil::plugin::{self, BUILT, Lock, Pin, ROWS, loaded, look};
use foil::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show which plugin libraries are loaded or how a library was built, or pin libraries in a
/// plugins.lock.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil plugins --plugins target/release/libmy_loss.so     what is loaded, and how this program was built
  foil plugins show target/release/libmy_loss.so          inspect a library without running its code
  foil plugins lock my.yaml                               pin what my.yaml lists, in plugins.lock beside it
  foil plugins lock --plugins target/release/libmy_loss.so    pin what the command line names, in ./plugins.lock")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Inspect libraries without running their code.
    Show {
        /// Libraries, or folders of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write plugins.lock: from then on only exactly these files are loaded.
    Lock {
        /// The pipeline or run folder whose libraries are pinned; the lock is written beside it.
        /// Without it, the libraries of `--plugins` are pinned in the current folder.
        pipeline: Option<PathBuf>,
    },
}

/// Whether the command inspects libraries instead of loading them.
pub(super) fn only_looks(args: &Args) -> bool {
    args.action.is_some()
}

pub(super) fn run(args: &Args, named: &[PathBuf]) -> Exit {
    match &args.action {
        None => list(),
        Some(Action::Show { paths }) => show(paths)?,
        Some(Action::Lock { pipeline: None }) => {
            lock(named, Path::new("."))?;
        }
        Some(Action::Lock { pipeline: Some(path) }) => {
            let file = if path.is_dir() { path.join("resolved.yaml") } else { path.clone() };
            let folder = file.parent().unwrap_or(Path::new("."));
            let listed = foil_config::libraries(&file)?;
            lock(&listed.into_iter().map(|library| library.path).collect::<Vec<_>>(), folder)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list() {
    let libraries = loaded();
    if libraries.is_empty() {
        println!("no library is loaded; name one with --plugins, or under `plugins:` in a pipeline");
    }
    for library in &libraries {
        println!("{}: {} {}", library.path.display(), library.package, library.version);
        println!("  sha256    {}", library.sha256);
        for (kind, name) in &library.plugins {
            println!("  {kind:<10}{name}");
        }
    }
    println!("\nthis program (and each library)");
    for (name, value) in ROWS.iter().zip(BUILT) {
        println!("  {name:<10}{value}");
    }
}

fn show(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        for library in look(path)? {
            println!("{}", library.describe());
        }
    }
    Ok(())
}

/// Pins `libraries` in `folder`, without running their code.
fn lock(libraries: &[PathBuf], folder: &Path) -> Result<()> {
    if libraries.is_empty() {
        return Err(Error::new("no library given")
            .help("list some under `plugins:` in the pipeline, or name them with --plugins"));
    }
    let mut pins: Vec<(String, Pin)> = Vec::new();
    for library in libraries {
        pins.extend(look(library)?.iter().map(plugin::Library::pin));
    }
    let path = Lock::of(pins.clone()).write(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    for (file, pin) in pins {
        println!("{}  {file} ({})", &pin.sha256[..12], pin.plugin);
    }
    println!("wrote {}", path.display());
    Ok(())
}
