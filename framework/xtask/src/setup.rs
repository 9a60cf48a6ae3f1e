//! `cargo xtask setup`: makes `.libtorch/torch` a usable libtorch.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::libtorch::fetch;
use crate::libtorch::installed::{Installed, VERSION};
use crate::libtorch::pins::Set;
use crate::libtorch::python::Python;
use crate::libtorch::{gpu, link};
use crate::workspace::Workspace;

/// Options of `setup`.
#[derive(Debug, Default, Clone, Copy)]
struct Options {
    /// CUDA or not; by default, whether there is a GPU.
    set: Option<Set>,
    /// Start over, even if all is well.
    force: bool,
}

/// Everything outside the repository that set-up uses.
pub struct Surroundings {
    users_libtorch: Option<PathBuf>,
    /// `FOIL_CACHE`.
    pub cache: Option<PathBuf>,
    /// The Python that fetches.
    pub python: Python,
    gpu: bool,
}

impl Surroundings {
    pub fn look(workspace: &Workspace) -> Self {
        let cache = std::env::var_os("FOIL_CACHE").and_then(|path| std::path::absolute(path).ok());
        Surroundings {
            users_libtorch: workspace.users_libtorch(),
            cache: cache.map(|path| path.canonicalize().unwrap_or(path)),
            python: Python::from_environment(),
            gpu: gpu::present(),
        }
    }
}

/// `cargo xtask setup [--cuda | --cpu] [--force]`.
pub fn command(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let options = parse(arguments)?;
    let libtorch = set_up(&workspace.libtorch(), &Surroundings::look(workspace), options)?;
    println!("{libtorch}");
    Ok(())
}

/// Set-up for the other commands: silent where there is a usable libtorch already, with CUDA or
/// not.
pub fn ensure(workspace: &Workspace) -> Result<Installed> {
    let link = workspace.libtorch();
    if workspace.users_libtorch().is_none()
        && let Ok(installed) = Installed::check(&link)
    {
        return Ok(installed);
    }
    set_up(&link, &Surroundings::look(workspace), Options::default())
}

/// Makes `link` lead to a usable libtorch, from the first of these places that has one: `LIBTORCH`,
/// where `link` leads already, the active Python, PyPI.
fn set_up(link: &Path, around: &Surroundings, options: Options) -> Result<Installed> {
    if let Some(path) = &around.users_libtorch {
        let installed = Installed::check(path).map_err(|problem| {
            let help = format!("set LIBTORCH to an unpacked libtorch {VERSION}, or unset it and one is fetched");
            Failure::new(format!("LIBTORCH is {}, which {problem}", path.display()), help)
        })?;
        link::point(link, &installed.path)?;
        return Ok(installed);
    }

    let set = options.set.unwrap_or(if around.gpu { Set::Cuda } else { Set::Cpu });
    let suits = |installed: &Installed| set == Set::Cpu || installed.cuda;
    if !options.force
        && let Ok(installed) = Installed::check(link)
        && suits(&installed)
    {
        return Ok(installed);
    }

    link::require_free(link)?;
    if let Some(torch) = around.python.torch() {
        match Installed::check(&torch) {
            Ok(installed) if suits(&installed) => {
                link::point(link, &installed.path)?;
                return Ok(installed);
            }
            Ok(_) => eprintln!("note: {}, Python's torch, is not used, because it has no CUDA", torch.display()),
            Err(problem) => eprintln!("note: {}, Python's torch, is not used, because it {problem}", torch.display()),
        }
    }

    let beside = link.parent().unwrap_or(link);
    let torch =
        fetch::fetch(set, around.cache.as_deref().unwrap_or(beside), &around.python, options.force)?.join("torch");
    link::point(link, &torch)?;
    Installed::check(link).map_err(|problem| {
        Failure::new(format!("the fetched {} {problem}", torch.display()), "try `cargo xtask setup --force`")
    })
}

fn parse(arguments: &[OsString]) -> Result<Options> {
    let mut options = Options::default();
    for argument in arguments {
        match argument.to_str() {
            Some("--cuda") => options.set = Some(Set::Cuda),
            Some("--cpu") => options.set = Some(Set::Cpu),
            Some("--force") => options.force = true,
            _ => {
                return Err(Failure::new(
                    format!("`setup` does not know `{}`", argument.display()),
                    "it takes --cuda or --cpu (by default, --cuda where there is an NVIDIA GPU), and --force to start over",
                ));
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests;
