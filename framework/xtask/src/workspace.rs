//! Where things are, and how to start cargo and foil so that both find libtorch.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};

/// The repository and its build folder.
pub struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds both from how cargo started this program.
    pub fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let above_manifest = manifest.as_deref().and_then(|folder| folder.ancestors().nth(2)).map(Path::to_path_buf);
        let above_here = || env::current_dir().ok()?.ancestors().find(|folder| is_root(folder)).map(Path::to_path_buf);
        let root = above_manifest.filter(|folder| is_root(folder)).or_else(above_here).ok_or_else(|| {
            Failure::new("this is not foil's repository", "run it as `cargo xtask` in a clone of the repository")
        })?;
        // This program is <target>/<profile>/xtask, whatever CARGO_TARGET_DIR or a config file made
        // of <target>.
        let here = env::current_exe().ok();
        let target = here.as_deref().and_then(|exe| exe.ancestors().nth(2)).map(Path::to_path_buf);
        Ok(Workspace { target: target.unwrap_or_else(|| root.join("target")), root })
    }

    /// Where `.cargo/config.toml` says libtorch is.
    pub fn libtorch(&self) -> PathBuf {
        self.root.join(".libtorch/torch")
    }

    /// LIBTORCH, if it is the user's: cargo also hands on the one of `.cargo/config.toml`.
    pub fn users_libtorch(&self) -> Option<PathBuf> {
        let path = std::path::absolute(env::var_os("LIBTORCH")?).ok()?; // an empty one has no absolute path
        (path != self.libtorch()).then_some(path)
    }

    /// The program, built or not.
    pub fn foil_path(&self) -> PathBuf {
        self.target.join("release/foil")
    }

    /// The build folder.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// `cargo` at the root.
    pub fn cargo(&self) -> Command {
        self.clean(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())))
    }

    /// A program that builds, at the root.
    ///
    /// Without what cargo added to the environment when it started this program: build scripts that
    /// look at these variables, torch-sys with its LIBTORCH first of all, would take minutes to run
    /// again each time that work alternates between `cargo build` and `cargo verify`.
    pub fn clean(&self, mut command: Command) -> Command {
        command.current_dir(&self.root);
        if self.users_libtorch().is_none() {
            command.env_remove("LIBTORCH");
        }
        for (name, _) in env::vars_os() {
            if is_of_the_package(&name) {
                command.env_remove(name);
            }
        }
        self.with_libraries(command)
    }

    /// The built program, in the folder that the user is in.
    ///
    /// libtorch's threads wait by spinning, which on cores that others use too makes a step ten
    /// times slower. A short spin costs 4 % on idle cores and nothing there; what the user has set
    /// stands.
    pub fn foil(&self) -> Command {
        let mut command = self.with_libraries(Command::new(self.foil_path()));
        if env::var_os("OMP_WAIT_POLICY").is_none() && env::var_os("GOMP_SPINCOUNT").is_none() {
            command.env("GOMP_SPINCOUNT", "1000");
        }
        command
    }

    /// The built fuzzer, at the root.
    pub fn fuzz(&self) -> Command {
        let mut command = self.with_libraries(Command::new(self.target.join("release/foil-fuzz")));
        command.current_dir(&self.root);
        command
    }

    /// Binaries look for libtorch beside `target/`; where the build folder is elsewhere, they must
    /// be told.
    fn with_libraries(&self, mut command: Command) -> Command {
        if self.target != self.root.join("target") {
            let mut folders = vec![self.libtorch().join("lib")];
            folders.extend(env::split_paths(&env::var_os("LD_LIBRARY_PATH").unwrap_or_default()));
            if let Ok(joined) = env::join_paths(folders) {
                command.env("LD_LIBRARY_PATH", joined);
            }
        }
        command
    }

    #[cfg(test)]
    pub fn at(root: &Path) -> Self {
        Workspace { root: root.to_path_buf(), target: root.join("target") }
    }
}

fn is_root(folder: &Path) -> bool {
    folder.join("framework/xtask").is_dir() && folder.join("Cargo.toml").is_file()
}

/// A variable about the package `xtask`, which means nothing to another cargo.
fn is_of_the_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_PRIMARY_PACKAGE"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_about_this_package() {
        assert!(is_of_the_package("CARGO_MANIFEST_DIR".as_ref()));
        assert!(is_of_the_package("CARGO_PKG_VERSION_MAJOR".as_ref()));
        assert!(!is_of_the_package("CARGO_HOME".as_ref()));
        assert!(!is_of_the_package("CARGO_TARGET_DIR".as_ref()));
    }

    #[test]
    fn only_another_build_folder_needs_a_library_path() {
        let has_path = |workspace: &Workspace| workspace.foil().get_envs().any(|(name, _)| name == "LD_LIBRARY_PATH");
        let usual = Workspace::at(Path::new("/clone"));
        let elsewhere = Workspace { target: "/builds".into(), ..Workspace::at(Path::new("/clone")) };
        assert!(!has_path(&usual));
        assert!(has_path(&elsewhere));
    }
}
