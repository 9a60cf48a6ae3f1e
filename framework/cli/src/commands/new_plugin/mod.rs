//! `foil new-plugin`: a crate or a Python file of one's own, to start from.

mod python;

use super::Exit;
use super::as_typed::as_typed;
use foil::registry::{entries, find};
use foil::{AtPath, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Start a plugin of your own: a Python file with a test, or a small crate that builds, passes its
/// test and says what to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil new-plugin --python loss my_loss           my_loss.py, test_my_loss.py and my_loss.yaml here
  foil new-plugin loss my_loss                    in a clone of foil: plugins/my_loss
  foil new-plugin attack my_attack --dir ../mine  anywhere else, with its own Cargo.toml and settings

docs/writing-a-plugin.md goes from here to a row in a table beside TRADES's.")]
pub(super) struct Args {
    /// The kind: loss, attack, objective, model, optimizer, scheduler, augment or data.
    kind: String,
    /// The name, for configs and for the crate: lower case, with underscores.
    name: String,
    /// Write it in Python: for a loss, an attack, an objective or a model. Needs the foil that pip installs.
    #[arg(long, conflicts_with = "foil")]
    python: bool,
    /// The folder to make (default: plugins/NAME in a checkout of foil, NAME elsewhere; in Python
    /// the current folder).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The checkout of foil to build against (default: the one around the current folder or this
    /// program).
    #[arg(long, value_name = "DIR")]
    foil: Option<PathBuf>,
}

/// The attack of examples that are not about attacks.
macro_rules! pgd {
    () => {
        "attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\n"
    };
}

/// Kind, its template, and the part of an example pipeline that uses it.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("loss", include_str!("../../../../../plugins/template/src/loss.rs"), concat!(pgd!(), "loss: template_loss\n")),
    (
        "attack",
        include_str!("../../../../../plugins/template/src/attack.rs"),
        "attack: { type: template_attack, eps: 0.3, steps: 5 }\nloss: at\n",
    ),
    (
        "objective",
        include_str!("../../../../../plugins/template/src/objective.rs"),
        "attack: { type: pgd, objective: template_objective, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\nloss: at\n",
    ),
    (
        "model",
        include_str!("../../../../../plugins/template/src/model.rs"),
        concat!("model: template_model\n", pgd!(), "loss: at\n"),
    ),
    (
        "optimizer",
        include_str!("../../../../../plugins/template/src/optimizer.rs"),
        concat!(pgd!(), "loss: at\noptimizer: { type: template_optimizer, lr: 0.0005 }\n"),
    ),
    (
        "scheduler",
        include_str!("../../../../../plugins/template/src/scheduler.rs"),
        concat!(pgd!(), "loss: at\noptimizer: { type: adam, lr: { type: template_scheduler, start: 0.002 } }\n"),
    ),
    (
        "augment",
        include_str!("../../../../../plugins/template/src/augment.rs"),
        concat!("augment: [template_augment]\n", pgd!(), "loss: at\n"),
    ),
    (
        "data",
        include_str!("../../../../../plugins/template/src/data.rs"),
        concat!("data: template_data\nimages: { test_limit: 500 }\n", pgd!(), "loss: at\n"),
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
    let clone = clone_of_foil(args.foil.as_deref())?;
    let here = std::env::current_dir().map_err(Error::of)?;
    let default = if here.starts_with(&clone) { clone.join("plugins").join(&args.name) } else { here.join(&args.name) };
    let dir = args.dir.as_ref().map_or(default, |dir| here.join(dir));
    let member = dir.parent().is_some_and(|parent| parent.canonicalize().is_ok_and(|p| p == clone.join("plugins")));
    let crate_ = Crate { kind, name: &args.name, clone: &clone, member };
    let files = crate_.files(code, example)?;
    write(&dir, &files)?;

    let shown = dir.strip_prefix(&here).unwrap_or(&dir).display().to_string();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    println!("made {shown}: {}", names.join(", "));
    let (go, package) =
        if member { (String::new(), format!(" -p {}", args.name)) } else { (format!("cd {shown} && "), String::new()) };
    println!("  write   {shown}/src/lib.rs");
    println!("  test    {go}cargo test --release{package}");
    println!("  build   {go}cargo build --release{package}");
    println!("{}", as_typed(&format!("  train   foil train {shown}/example.yaml")));
    Ok(ExitCode::SUCCESS)
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
    if entries().iter().any(|entry| entry.source() == name) {
        return wrong(format!("a crate `{name}` already exists"), "choose another name");
    }
    Ok(())
}

/// The checkout that was given, contains the current folder, or built this program.
fn clone_of_foil(named: Option<&Path>) -> Result<PathBuf> {
    let is_clone =
        |folder: &&Path| folder.join("framework/src/registry").is_dir() && folder.join("Cargo.toml").is_file();
    if let Some(named) = named {
        let folder = named.canonicalize().at("opening", named)?;
        return if is_clone(&folder.as_path()) {
            Ok(folder)
        } else {
            Err(Error::new(format!("{} is not a checkout of foil", named.display()))
                .help("give the folder that contains framework/"))
        };
    }
    let around = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let found = around.iter().flatten().find_map(|place| place.ancestors().find(is_clone));
    found.and_then(|folder| folder.canonicalize().ok()).ok_or_else(|| {
        Error::new("foil's source was not found, and a plugin is built against it")
            .help("give a checkout of foil: --foil DIR")
    })
}

/// A plugin crate to be made.
struct Crate<'a> {
    kind: &'a str,
    name: &'a str,
    clone: &'a Path,
    /// Whether it becomes a member of the checkout's workspace, because it is in its `plugins/`.
    member: bool,
}

impl Crate<'_> {
    fn files(&self, code: &str, example: &str) -> Result<Vec<(String, String)>> {
        let mut files = vec![
            ("Cargo.toml".to_string(), self.manifest()?),
            ("src/lib.rs".to_string(), self.code(code)),
            ("example.yaml".to_string(), self.example(example)),
        ];
        if !self.member {
            files.push((".cargo/config.toml".to_string(), self.cargo_config()));
            // The same versions of everything, so that nothing is built twice.
            let lock = self.clone.join("Cargo.lock");
            files.push(("Cargo.lock".to_string(), fs::read_to_string(&lock).at("reading", &lock)?));
        }
        Ok(files)
    }

    /// The template's code, renamed, as a separate library.
    fn code(&self, template: &str) -> String {
        let old = format!("template_{}", self.kind);
        let code = template.replace(&old, self.name).replace(&camel(&old), &camel(self.name));
        code.replace("#[cfg(test)]\nmod tests", "foil::export_plugin!();\n\n#[cfg(test)]\nmod tests")
    }

    fn manifest(&self) -> Result<String> {
        let (name, kind) = (self.name, self.kind);
        let framework = if self.member {
            "../../framework".to_string()
        } else {
            self.clone.join("framework").display().to_string()
        };
        let mut text = format!(
            "[package]\nname = \"{name}\"\ndescription = \"A {kind} for foil.\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
             [lib]\ncrate-type = [\"cdylib\", \"rlib\"] # loaded at run time, or linked into a program\n\n\
             [dependencies]\nfoil = {{ path = {framework:?} }}\n"
        );
        if !self.member {
            let root = self.clone.join("Cargo.toml");
            let of_root = fs::read_to_string(&root).at("reading", &root)?;
            text += "\n[workspace]\n\n# As in foil's own Cargo.toml, so that what it has built is used.\n";
            text += &sections(&of_root, "[profile.");
        }
        Ok(text)
    }

    fn example(&self, part: &str) -> String {
        let (name, kind) = (self.name, self.kind);
        let root = if self.member { "../..".to_string() } else { self.clone.display().to_string() };
        let library =
            format!("{root}/target/release/{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let part = part.replace(&format!("template_{kind}"), name);
        format!(
            "# The {kind} `{name}` on digits, as `foil demo` trains. No published figures.\n\
             extends: {root}/configs/demo/base.yaml\nplugins: [{library}]\nname: {name}\n{part}"
        )
    }

    fn cargo_config(&self) -> String {
        let clone = self.clone.display();
        format!(
            "# What foil's own .cargo/config.toml says, for a crate outside of it: libtorch, the build folder and where programs look.\n\
             [build]\ntarget-dir = \"{clone}/target\"\n\n[env]\nLIBTORCH = \"{clone}/.libtorch/torch\"\n\n\
             {}",
            sections(&fs::read_to_string(self.clone.join(".cargo/config.toml")).unwrap_or_default(), "[target.")
        )
    }
}

/// `my_loss` as a type's name: `MyLoss`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').filter(|part| !part.is_empty()).map(word).collect()
}

/// The sections of a TOML text whose headings begin with `heading`, without comments.
fn sections(toml: &str, heading: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in toml.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            inside = line.starts_with(heading);
        }
        if inside && !line.is_empty() {
            text += line;
            text.push('\n');
        }
    }
    text
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
