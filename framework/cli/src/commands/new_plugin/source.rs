//! Where a plugin's crate takes foil from.

use super::Args;
use foil::{AtPath, Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `foil = …` says in the crate's manifest.
#[derive(Debug)]
pub(super) enum Source {
    /// A clone: its folder as it was found, and the one that it is a link to.
    Clone { found: PathBuf, real: PathBuf },
    /// A git repository, and a commit, branch or tag in it.
    Git { url: String, rev: Option<String> },
    /// A version in cargo's registry.
    Version(String),
}

impl Source {
    /// As the command line asks.
    ///
    /// # Errors
    /// When there is no clone and nothing else is named, or a manifest cannot hold a name.
    pub(super) fn of(args: &Args) -> Result<Self> {
        let source = match (&args.foil_git, &args.foil_version) {
            (Some(url), _) => {
                let head = || clone(None).ok().and_then(|(found, _)| commit(&found));
                Self::Git { url: url.clone(), rev: args.foil_rev.clone().or_else(head) }
            }
            (_, Some(version)) => Self::Version(version.clone()),
            _ => {
                let (found, real) = clone(args.foil.as_deref())?;
                Self::Clone { found, real }
            }
        };
        let words = match &source {
            Self::Git { url, rev } => vec![Some(url), rev.as_ref()],
            Self::Version(version) => vec![Some(version)],
            Self::Clone { .. } => Vec::new(),
        };
        match words.into_iter().flatten().find(|word| word.is_empty() || word.contains(['"', '\\', '\n'])) {
            Some(word) => Err(Error::new(format!("`{word}` names no foil"))
                .help("--foil DIR, --foil-git URL or --foil-version VERSION")),
            None => Ok(source),
        }
    }

    /// The clone as it was found.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Clone { found, .. } => Some(found.clone()),
            _ => None,
        }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Clone { .. })
    }
}

/// The clone that was given, contains the current folder, or built this program.
fn clone(named: Option<&Path>) -> Result<(PathBuf, PathBuf)> {
    let is_clone =
        |folder: &&Path| folder.join("framework/src/registry").is_dir() && folder.join("Cargo.toml").is_file();
    let both = |found: PathBuf| {
        let framework = found.join("framework").canonicalize().ok();
        let real = framework.as_deref().and_then(Path::parent).map_or_else(|| found.clone(), Path::to_path_buf);
        (found, real)
    };
    if let Some(named) = named {
        let folder = named.canonicalize().at("opening", named)?;
        return if is_clone(&folder.as_path()) {
            Ok(both(folder))
        } else {
            Err(Error::new(format!("{} is not a clone of foil", named.display()))
                .help("give the folder that contains framework/"))
        };
    }
    let around = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let found = around.iter().flatten().find_map(|place| place.ancestors().find(is_clone));
    found.and_then(|folder| folder.canonicalize().ok()).map(both).ok_or_else(|| {
        Error::new("foil's source was not found, and a plugin is built with it")
            .help("give a clone of foil: --foil DIR; or --foil-git URL")
    })
}

/// The commit that a clone is at.
fn commit(clone: &Path) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(clone).args(["rev-parse", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
