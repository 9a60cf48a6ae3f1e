//! `foil new-plugin`: a crate or a Python file of one's own, to start from.

/// The attack of examples that are not about attacks.
macro_rules! pgd {
    () => {
        "attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\n"
    };
}

/// A radius with which any network learns something, whatever the attack: against the whole radius
/// from the first step many learn nothing for epochs.
macro_rules! growing {
    () => {
        "  eps: { type: piecewise_linear, points: [[0, 0], [1, 0.3]], count: steps } # grows over the first epoch\n"
    };
}

mod files;
mod lock;
mod python;
mod source;

use super::Exit;
use super::as_typed::as_typed;
use files::Crate;
use foil::registry::{find, plugins};
use foil::{AtPath, Error, Result};
use source::Source;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// Start a plugin of your own: a Python file with a test, or a small crate that builds, passes its
/// test and says what to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil new-plugin --python loss my_loss           my_loss.py, test_my_loss.py and my_loss.yaml here
  foil new-plugin loss my_loss                    in a clone of foil: mine/my_loss, which git leaves out
  foil new-plugin attack my_attack --dir ../mine  a repository of its own, built with this clone of foil
  foil new-plugin loss my_loss --foil-git URL     the same, built with foil from git

No file of the crate holds an absolute path. docs/writing-a-plugin.md goes from here to a row in a table beside TRADES's.")]
pub(super) struct Args {
    /// The kind: loss, attack, objective, model, optimizer, scheduler, update, average, augment or
    /// data.
    kind: String,
    /// The name, for configs and for the crate: lower case, with underscores.
    name: String,
    /// Write it in Python: for a loss, an attack, an objective, a model, a scheduler or data. Needs
    /// the foil that pip installs.
    #[arg(long, conflicts_with_all = ["foil", "foil_git", "foil_version"])]
    python: bool,
    /// The folder to make (default: mine/NAME in a clone of foil, NAME elsewhere; in Python the
    /// current folder). plugins/NAME in a clone makes it a part of foil.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Build with the foil in this clone, named by its path relative to the crate (default: the
    /// clone around the current folder or this program).
    #[arg(long, value_name = "DIR")]
    foil: Option<PathBuf>,
    /// Build with foil from this git repository.
    #[arg(long, value_name = "URL", conflicts_with = "foil")]
    foil_git: Option<String>,
    /// The commit, branch or tag there (default: the commit of the clone around the current folder
    /// or this program; without one, the newest of the default branch).
    #[arg(long, value_name = "REV", requires = "foil_git")]
    foil_rev: Option<String>,
    /// Build with this version of foil from cargo's registry.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["foil", "foil_git"])]
    foil_version: Option<String>,
}

/// Kind, its template, and the part of an example pipeline that uses it.
const TEMPLATES: [(&str, &str, &str); 10] = [
    ("loss", include_str!("../../../../plugins/template/src/loss.rs"), concat!(pgd!(), "loss: template_loss\n")),
    (
        "attack",
        include_str!("../../../../plugins/template/src/attack.rs"),
        concat!("attack:\n  type: template_attack\n", growing!(), "  steps: 5\nloss: at\n"),
    ),
    (
        "objective",
        include_str!("../../../../plugins/template/src/objective.rs"),
        "attack: { type: pgd, objective: template_objective, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\nloss: at\n",
    ),
    (
        "model",
        include_str!("../../../../plugins/template/src/model.rs"),
        concat!(
            "model: template_model\nattack:\n  type: pgd\n",
            growing!(),
            "  alpha: 0.1\n  steps: 5\n  start: uniform\nloss: at\n"
        ),
    ),
    (
        "optimizer",
        include_str!("../../../../plugins/template/src/optimizer.rs"),
        concat!(pgd!(), "loss: at\noptimizer: { type: template_optimizer, lr: 0.0005 }\n"),
    ),
    (
        "scheduler",
        include_str!("../../../../plugins/template/src/scheduler.rs"),
        concat!(pgd!(), "loss: at\noptimizer: { type: adam, lr: { type: template_scheduler, start: 0.002 } }\n"),
    ),
    (
        "update",
        include_str!("../../../../plugins/template/src/update.rs"),
        concat!(pgd!(), "loss: at\nupdate: template_update\n"),
    ),
    (
        "average",
        include_str!("../../../../plugins/template/src/average.rs"),
        concat!(pgd!(), "loss: at\naverage: template_average\n"),
    ),
    (
        "augment",
        include_str!("../../../../plugins/template/src/augment.rs"),
        concat!("augment: [template_augment]\n", pgd!(), "loss: at\n"),
    ),
    (
        "data",
        include_str!("../../../../plugins/template/src/data.rs"),
        concat!("data: template_data\nmodel: small_cnn\n", pgd!(), "loss: at\n"),
    ),
];

/// Names that the prelude or cargo already uses.
const TAKEN: &str = "adversarial ascent attack augment average batch batch_norm2d box01 build builder clock component config conv2d core counts \
    data data_path data_source dataset decay descent error facts foil forward group image_set images kind learner linear located loss loss_input \
    loss_output mixed mode model network nn noise objective optimizer pass progress reading reference result scheduled scheduler span std target tch \
    tensor terms test update";
/// Rust keywords that could be a name.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen \
    if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof \
    unsafe unsized use virtual where while yield";

pub(super) fn run(args: &Args) -> Exit {
    if args.python {
        return python::run(&args.kind, &args.name, args.dir.as_deref().unwrap_or(Path::new("")));
    }
    let kinds = TEMPLATES.map(|(kind, ..)| kind);
    let Some((kind, code, example)) = TEMPLATES.into_iter().find(|(kind, ..)| *kind == args.kind) else {
        let help = foil_config::suggest(&args.kind, &kinds, "kinds");
        return Err(Error::new(format!("there is no template for the kind `{}`", args.kind)).help(help));
    };
    check_name(kind, &args.name)?;
    let source = Source::of(args)?;
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).map_err(Error::of)?;
    let own = source.folder().filter(|clone| here.starts_with(clone)).map(|clone| clone.join("mine"));
    let default = own.unwrap_or_else(|| here.clone()).join(&args.name);
    let dir = plain(&args.dir.as_ref().map_or(default, |dir| here.join(dir)));
    let crate_ = Crate { kind, name: &args.name, dir: &dir, source: &source };
    let files = crate_.files(code, example);
    write(&dir, &files)?;
    if source.is_local() && !crate_.is_member() {
        lock::settle(&dir);
    }
    let linked = source.is_local() || files::link_libtorch(&dir).is_some();

    let shown = files::relative(&here, &dir);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    println!("made {shown}: {}", names.join(", "));
    let (go, package) = match crate_.is_member() {
        true => (String::new(), format!(" -p {}", args.name)),
        false => (format!("cd {shown} && "), String::new()),
    };
    if !linked {
        println!(
            "  first   put PyTorch's package `torch` at {shown}/.libtorch/torch; .cargo/config.toml there says how"
        );
    }
    println!("  write   {shown}/src/lib.rs");
    println!("  test    {go}cargo test --release{package}");
    println!("  build   {go}cargo build --release{package}");
    println!("{}", as_typed(&format!("  train   foil train {shown}/example.yaml")));
    if crate_.is_member() {
        println!("It is a part of foil now: git sees its folder and a changed Cargo.lock.");
    } else if source.folder().is_some_and(|clone| dir.starts_with(&clone) && !dir.starts_with(clone.join("mine"))) {
        println!("Git sees this folder as a part of foil's; mine/ is left out.");
    }
    Ok(ExitCode::SUCCESS)
}

/// The path without `.` and `..`, which need not exist.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// A name for configs, files and crates.
fn valid_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fine) || name.len() > 64 {
        let tidy: String = name.to_lowercase().chars().map(|c| if fine(c) { c } else { '_' }).take(64).collect();
        let tidy = tidy.trim_matches(|c: char| c == '_' || c.is_ascii_digit()).to_string();
        let help = if tidy.is_empty() { "such as `my_loss`".to_string() } else { format!("write `{tidy}`") };
        let message = format!("`{name}` is not a valid name: use lower-case letters, digits and underscores");
        return Err(Error::new(message).help(help));
    }
    Ok(())
}

fn check_name(kind: &str, name: &str) -> Result<()> {
    let wrong = |what: String, help: &str| Err(Error::new(what).help(help));
    valid_name(name)?;
    if KEYWORDS.split_whitespace().chain(TAKEN.split_whitespace()).any(|word| word == name) {
        return wrong(format!("`{name}` is not a valid name: Rust or foil uses it"), "choose another");
    }
    if let Ok(other) = find(kind, name) {
        return wrong(format!("{kind} `{name}` already exists, from {}", other.origin()), "choose another name");
    }
    if plugins().iter().any(|entry| entry.source() == name) {
        return wrong(format!("a crate `{name}` already exists"), "choose another name");
    }
    Ok(())
}

/// `my_loss` as a type's name: `MyLoss`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|part| !part.is_empty()).map(word).collect()
}

/// Writes all files or none.
fn write(dir: &Path, files: &[(String, String)]) -> Result<()> {
    if dir.exists() {
        return Err(Error::new(format!("{} already exists", dir.display()))
            .help("choose another name, or another folder with --dir"));
    }
    let parent = dir.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).at("making", parent)?;
    let name = dir.file_name().unwrap_or_default().display().to_string();
    let scratch = parent.join(format!(".{name}.new-{}", std::process::id()));
    let made = files.iter().try_for_each(|(name, text)| {
        let path = scratch.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&scratch)).at("making", &path)?;
        fs::write(&path, text).at("writing", &path)
    });
    made.and_then(|()| fs::rename(&scratch, dir).at("making", dir)).inspect_err(|_| {
        let _ = fs::remove_dir_all(&scratch);
    })
}
