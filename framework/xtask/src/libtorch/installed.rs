//! A libtorch that is on this machine: whether it can be used, and which it is.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::pins::Set;

/// The version that `tch =0.24.0` pairs with.
pub const VERSION: &str = "2.11.0";

/// A folder with `lib/` and `include/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// As given, links not followed.
    pub path: PathBuf,
    /// Whether it can reach an NVIDIA GPU.
    pub cuda: bool,
}

impl Installed {
    /// Checks the folder; the error continues a sentence after "it": "has no lib/libtorch_cpu.so".
    pub fn check(path: &Path) -> Result<Self, String> {
        for needed in ["lib/libtorch_cpu.so", "lib/libtorch.so", "lib/libc10.so", "include/torch"] {
            if !path.join(needed).exists() {
                return Err(format!("has no {needed}"));
            }
        }
        // A libtorch without a version is trusted.
        if let Some(version) = version(path)
            && version != VERSION
        {
            return Err(format!("is version {version}, and foil needs {VERSION}"));
        }
        if Set::fetched_into(path).is_some_and(|stamp| !Set::stamps().contains(&stamp)) {
            return Err("was fetched by another version of foil".to_owned());
        }
        Ok(Installed { path: path.to_path_buf(), cuda: path.join("lib/libtorch_cuda.so").exists() })
    }
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let real = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let kind = if self.cuda { "with CUDA" } else { "CPU only" };
        write!(f, "libtorch {VERSION}, {kind}: {}", real.display())
    }
}

/// The version of a libtorch, from one of these files, depending on its source.
fn version(path: &Path) -> Option<String> {
    let read = |file: &str| fs::read_to_string(path.join(file)).ok();
    let found =
        read("build-version") // the archive from pytorch.org: `2.11.0+cpu`
            .or_else(|| quoted_after(&read("version.py")?, "__version__ = ")) // the wheel: `__version__ = '2.11.0+cu130'`
            .or_else(|| {
                quoted_after(&read("include/torch/csrc/api/include/torch/version.h")?, "#define TORCH_VERSION ")
            })?;
    Some(without_build(&found).to_owned())
}

/// `2.11.0+cu130` is `2.11.0`, built for CUDA 13.0.
fn without_build(version: &str) -> &str {
    version.split('+').next().unwrap_or(version).trim()
}

/// The quoted text after `key`, at the start of a line.
fn quoted_after(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(rest.trim().trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What [`Installed::check`] looks for, with no content.
    pub fn make(path: &Path, cuda: bool) -> PathBuf {
        fs::create_dir_all(path.join("include/torch")).unwrap();
        fs::create_dir_all(path.join("lib")).unwrap();
        for file in ["libtorch_cpu.so", "libtorch.so", "libc10.so"] {
            fs::write(path.join("lib").join(file), "").unwrap();
        }
        if cuda {
            fs::write(path.join("lib/libtorch_cuda.so"), "").unwrap();
        }
        path.to_path_buf()
    }

    #[test]
    fn the_version_is_found_wherever_it_stands() {
        let files = [
            ("build-version", "2.10.0+cpu\n"),
            ("version.py", "from typing import Optional\n__version__ = '2.10.0+cu130'\ndebug = False\n"),
            (
                "include/torch/csrc/api/include/torch/version.h",
                "/// …\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION \"2.10.0\"\n",
            ),
        ];
        for (file, text) in files {
            let scratch = tempfile::tempdir().unwrap();
            let torch = make(scratch.path(), false);
            assert_eq!(version(&torch), None);
            fs::create_dir_all(torch.join(file).parent().unwrap()).unwrap();
            fs::write(torch.join(file), text).unwrap();
            assert_eq!(version(&torch).as_deref(), Some("2.10.0"), "{file}");
            let problem = Installed::check(&torch).unwrap_err();
            assert_eq!(problem, "is version 2.10.0, and foil needs 2.11.0");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let torch = make(scratch.path(), true);
        assert!(Installed::check(&torch).unwrap().cuda);
        fs::remove_file(torch.join("lib/libtorch.so")).unwrap();
        assert_eq!(Installed::check(&torch).unwrap_err(), "has no lib/libtorch.so");
    }
}
