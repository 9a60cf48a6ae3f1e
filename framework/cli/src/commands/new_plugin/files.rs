//! The files of a plugin's crate. None holds an absolute path, so that it can be moved with the
//! foil beside it, committed, and cloned.

use super::source::Source;
use super::{camel, lock};
use std::path::{Component, Path, PathBuf};

/// foil's own manifest and settings of cargo, as this program was built.
const MANIFEST: &str = include_str!("../../../../../Cargo.toml");
const CONFIG: &str = include_str!("../../../../../.cargo/config.toml");

/// The rest of an example pipeline: digits that come with foil, sized for two cores.
const REST: &str = "\
optimizer: { type: adam, lr: 0.002 }
train: { epochs: 2, batch_size: 50 }
attacks:
  pgd20: { type: pgd, eps: 0.3, alpha: 0.03, steps: 20, start: uniform }
select: natural + pgd20
evaluate: [natural, pgd20]
";

/// A plugin crate to be made.
pub(super) struct Crate<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    /// Its folder, absolute.
    pub dir: &'a Path,
    pub source: &'a Source,
}

impl Crate<'_> {
    /// Whether it becomes a member of the clone's workspace, because it is in its `plugins/`.
    pub(super) fn is_member(&self) -> bool {
        self.source.folder().is_some_and(|clone| self.dir.parent() == Some(&clone.join("plugins")))
    }

    /// Whether cargo reads the clone's settings, too.
    fn is_inside(&self) -> bool {
        self.source.folder().is_some_and(|clone| self.dir.starts_with(clone))
    }

    /// Every file's name and text; `code` is the kind's template, `example` the part of a pipeline
    /// that uses it.
    pub(super) fn files(&self, code: &str, example: &str) -> Vec<(String, String)> {
        let mut files = vec![
            ("Cargo.toml".to_string(), self.manifest()),
            ("src/lib.rs".to_string(), self.code(code)),
            ("example.yaml".to_string(), self.example(example)),
        ];
        if !self.is_member() {
            files.push((".cargo/config.toml".to_string(), self.config()));
            files.push(("Cargo.lock".to_string(), lock::of(self.name, self.source.is_local())));
            files.push((".gitignore".to_string(), "/target\n/.libtorch\n/runs\n".to_string()));
        }
        files
    }

    /// The template's code, renamed, as a separate library.
    fn code(&self, template: &str) -> String {
        let old = format!("template_{}", self.kind);
        let code = template.replace(&old, self.name).replace(&camel(&old), &camel(self.name));
        code.replace("#[cfg(test)]\nmod tests", "foil::export_plugin!();\n\n#[cfg(test)]\nmod tests")
    }

    fn manifest(&self) -> String {
        let (name, kind) = (self.name, self.kind);
        let foil = match self.source {
            Source::Clone { real, .. } => format!("path = \"{}\"", relative(self.dir, &real.join("framework"))),
            Source::Git { url, rev: None } => format!("git = \"{url}\""),
            Source::Git { url, rev: Some(rev) } => format!("git = \"{url}\", rev = \"{rev}\""),
            Source::Version(version) => format!("version = \"={version}\""),
        };
        let mut text = format!(
            "[package]\nname = \"{name}\"\ndescription = \"A {kind} for foil.\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
             [lib]\ncrate-type = [\"cdylib\", \"rlib\"] # loaded at run time, or linked into a program\n\n\
             [dependencies]\nfoil = {{ package = \"foil-train\", {foil} }}\n"
        );
        if !self.is_member() {
            text += "\n[workspace]\n\n# As in foil's own Cargo.toml, so that what it has built is used.\n";
            text += &sections(MANIFEST, |heading| {
                let package = heading.strip_prefix("[profile.release.package.").map(|rest| rest.trim_end_matches(']'));
                heading.starts_with("[profile.") && package.is_none_or(lock::has)
            });
        }
        text
    }

    fn example(&self, part: &str) -> String {
        let (name, kind) = (self.name, self.kind);
        let library =
            format!("{}/release/{}{name}{}", self.target(), std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let part = part.replace(&format!("template_{kind}"), name);
        let lacks = |key: &str| !part.lines().any(|line| line.starts_with(key));
        let data = if lacks("data:") { "data: mnist_subset\nimages: { test_limit: 1000 }\n" } else { "" };
        let model = if lacks("model:") { "model: small_cnn\n" } else { "" };
        let optimizer = if lacks("optimizer:") { REST } else { REST.split_once('\n').map_or(REST, |(_, rest)| rest) };
        format!(
            "# The {kind} `{name}` on digits. No published figures.\n\
             plugins: [{library}]\nname: {name}\n{data}{model}{part}{optimizer}"
        )
    }

    /// The folder in which cargo builds it.
    fn target(&self) -> String {
        match self.source {
            Source::Clone { found, .. } if self.is_inside() => relative(self.dir, &found.join("target")),
            // Not the clone's: from here LIBTORCH is spelt another way, and cargo would build
            // libtorch's bindings again with each change between the two.
            _ => "target".to_string(),
        }
    }

    fn config(&self) -> String {
        if self.is_inside() {
            return format!(
                "# Cargo reads foil's own .cargo/config.toml as well.\n\
                 [build]\ntarget-dir = \"{}\" # foil's: what it has built is used\n",
                self.target()
            );
        }
        // foil's own look for libtorch from the build folder, at `../../.libtorch` and above.
        let libtorch = |folder: &str| {
            let rpath = sections(CONFIG, |heading| heading.starts_with("[target."));
            let rpath = rpath.replace("/.libtorch/", &format!("/{folder}/"));
            format!("[env]\nLIBTORCH = {{ value = \"{folder}/torch\", relative = true }}\n\n{rpath}")
        };
        match self.source {
            Source::Clone { real, .. } => format!(
                "# What foil's own .cargo/config.toml says, for a crate outside of it: where libtorch is, and where programs\n\
                 # look for it.\n{}",
                libtorch(&relative(self.dir, &real.join(".libtorch")))
            ),
            _ => format!(
                "# libtorch {} is PyTorch's package `torch`: put it, or a link to it, at .libtorch/torch, which git leaves\n\
                 # out. In an environment that has it:\n\
                 # mkdir -p .libtorch && ln -s \"$(python3 -c 'import torch; print(torch.__path__[0])')\" .libtorch/torch\n{}",
                foil::LIBTORCH,
                libtorch(".libtorch")
            ),
        }
    }
}

/// Links the libtorch of this process into the crate's folder, if it has headers. Git leaves the
/// link out.
pub(super) fn link_libtorch(dir: &Path) -> Option<()> {
    let lib = foil::engine::devices().libtorch.clone()?;
    let torch = lib.parent().filter(|torch| torch.join("include/torch").is_dir())?.canonicalize().ok()?;
    std::fs::create_dir_all(dir.join(".libtorch")).ok()?;
    std::os::unix::fs::symlink(torch, dir.join(".libtorch/torch")).ok()
}

/// The way from the folder `from` to `to`; both are absolute and without `..`.
pub(super) fn relative(from: &Path, to: &Path) -> String {
    let [from, to]: [Vec<Component>; 2] = [from, to].map(|path| path.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(to[shared..].iter().copied()).collect();
    if way.as_os_str().is_empty() { ".".into() } else { way.display().to_string() }
}

/// The sections of a TOML text whose headings are `wanted`, without comments.
fn sections(toml: &str, wanted: impl Fn(&str) -> bool) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in toml.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            inside = wanted(line);
        }
        if inside && !line.is_empty() {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_folders() {
        for (from, to, way) in [
            ("/a/foil/mine/x", "/a/foil/framework", "../../framework"),
            ("/a/mine", "/a/foil/framework", "../foil/framework"),
            ("/a", "/a/foil", "foil"),
            ("/a", "/a", "."),
            ("/b/c", "/a", "../../a"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), way);
        }
    }

    fn files(source: &Source, dir: &str) -> Vec<(String, String)> {
        let crate_ = Crate { kind: "loss", name: "mine", dir: Path::new(dir), source };
        crate_.files("template_loss TemplateLoss", "loss: template_loss\n")
    }

    #[test]
    fn no_file_holds_an_absolute_path() {
        let clone = Source::Clone { found: "/home/me/foil".into(), real: "/home/me/foil".into() };
        let git = Source::Git { url: "https://example.org/foil".into(), rev: Some("abc".into()) };
        for (source, dir) in [
            (&clone, "/home/me/foil/mine/mine"),
            (&clone, "/home/me/foil/plugins/mine"),
            (&clone, "/home/me/research/mine"),
            (&git, "/home/me/mine"),
            (&Source::Version("0.1.0".into()), "/home/me/mine"),
        ] {
            for (name, text) in files(source, dir) {
                let absolute = ["\"/", "[/", " /", "/home"].iter().find(|start| text.contains(**start));
                assert_eq!(absolute.filter(|_| name != ".gitignore"), None, "{dir}/{name}: {text}");
            }
        }
    }

    /// Programs run from `target/release` and `target/release/deps` of the crate.
    #[test]
    fn programs_of_a_crate_beside_the_clone_find_its_libtorch() {
        let clone = Source::Clone { found: "/home/me/foil".into(), real: "/home/me/foil".into() };
        let files = files(&clone, "/home/me/research/mine");
        let config = &files.iter().find(|(name, _)| name == ".cargo/config.toml").unwrap().1;
        assert!(config.contains("LIBTORCH = { value = \"../../foil/.libtorch/torch\", relative = true }"), "{config}");
        for up in ["../..", "../../.."] {
            assert!(config.contains(&format!("$ORIGIN/{up}/../../foil/.libtorch/torch/lib")), "{config}");
        }
    }

    #[test]
    fn foil_is_named_as_the_author_says() {
        let manifest = |source: &Source| files(source, "/home/me/mine").swap_remove(0).1;
        let clone = Source::Clone { found: "/home/me/foil".into(), real: "/home/me/foil".into() };
        assert!(manifest(&clone).contains("foil = { package = \"foil-train\", path = \"../foil/framework\" }"));
        let git =
            |rev: Option<&str>| Source::Git { url: "https://example.org/foil".into(), rev: rev.map(String::from) };
        assert!(manifest(&git(None)).contains("git = \"https://example.org/foil\" }"));
        assert!(manifest(&git(Some("v1"))).contains("git = \"https://example.org/foil\", rev = \"v1\" }"));
        assert!(
            manifest(&Source::Version("0.1.0".into()))
                .contains("foil = { package = \"foil-train\", version = \"=0.1.0\" }")
        );
    }
}
