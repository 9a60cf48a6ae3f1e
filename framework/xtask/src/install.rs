//! `cargo xtask install`: `foil` on the PATH, with completions and manual pages.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail, Result};
use crate::job::{BUILD, Job};
use crate::setup;
use crate::workspace::Workspace;

/// Files that the shells read, below the user's home, and what `foil completions` calls the shell.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", ".local/share/bash-completion/completions/foil"),
    ("zsh", ".local/share/zsh/site-functions/_foil"),
    ("fish", ".config/fish/completions/foil.fish"),
];

/// `cargo xtask install [DIR]`: a link to the program in DIR, by default where `cargo install` puts
/// programs. The clone stays where it is: its libtorch and plugins are found through the link.
pub fn command(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let home = home.ok_or_else(|| Failure::new("HOME is not set", "set it to your home folder"))?;
    let folder = match arguments {
        [] => env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from).join("bin"),
        [folder] if !folder.to_string_lossy().starts_with('-') => PathBuf::from(folder),
        _ => return Err(Failure::new("`install` takes one folder", "cargo xtask install ~/.local/bin")),
    };
    setup::ensure(workspace)?;
    Job::cargo(BUILD).run(workspace)?;
    let program = workspace.foil_path();
    let link = folder.join("foil");
    replace(&link, &program)?;
    println!("{} -> {}", link.display(), program.display());
    for (shell, place) in COMPLETIONS {
        let output = workspace.foil().args(["completions", shell]).output().or_fail(|| "start foil".into())?;
        let path = home.join(place);
        write(&path, &output.stdout)?;
        println!("{}", path.display());
    }
    let pages = home.join(".local/share/man/man1");
    let made = workspace.foil().args(["man", "--dir"]).arg(&pages).output().or_fail(|| "start foil".into())?;
    if !made.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&made.stderr).trim(), "remove what is in the way"));
    }
    println!("{}/foil.1, and one for each command", pages.display());
    let on_path = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|one| one == folder));
    if !on_path {
        println!("note: {} is not in PATH; add it in your shell's profile", folder.display());
    }
    println!("To undo, remove these files.");
    Ok(())
}

/// Makes the link, also where an older one is; another file stays.
fn replace(link: &Path, program: &Path) -> Result<()> {
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder).or_fail(|| format!("make {}", folder.display()))?;
    }
    match fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => fs::remove_file(link).or_fail(|| format!("replace {}", link.display()))?,
        Ok(_) => {
            let error = format!("{} is another program, and stays", link.display());
            return Err(Failure::new(error, "remove it, or give another folder: cargo xtask install DIR"));
        }
        Err(_) => {}
    }
    symlink(program, link).or_fail(|| format!("make {}", link.display()))
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).or_fail(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, text).or_fail(|| format!("write {}", path.display()))
}
