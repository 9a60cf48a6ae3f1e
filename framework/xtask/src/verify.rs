//! `cargo verify`: everything that CI checks, step by step, up to the first failure.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure::{Failure, OrFail, Result};
use crate::job::{BUILD, BUILD_FUZZ, Job};
use crate::setup;
use crate::workspace::Workspace;

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Without fuzzing, the smoke runs and the documentation.
    Quick,
    /// What CI checks at each change.
    Usual,
    /// And the Python package, which is compiled apart and tested under the real torch.
    All,
}

/// One line of the table that is printed at the end.
struct Step {
    name: String,
    job: Job,
}

/// What is done, in this order. All in one profile, so that torch-sys is compiled once.
fn steps(configs: Vec<String>, smoke: Vec<String>, runs: &Path, extent: Extent) -> Vec<Step> {
    let mut steps = vec![
        step("format", Job::cargo("fmt --all --check")),
        step("lints", Job::cargo("clippy --release --workspace --all-targets -- -D warnings")),
        step("build", Job::cargo(BUILD)),
        // Test processes share the cores; threads that spin while they wait would slow them down
        // tenfold.
        step("tests", Job::cargo("test --release --workspace --no-fail-fast").with("OMP_WAIT_POLICY", "passive")),
    ];
    if !configs.is_empty() {
        // The tests rehearse the plugins; here the files are read.
        steps.push(step("configs", Job::foil("check --no-run", configs)));
    }
    if extent == Extent::Quick {
        return steps;
    }
    // Enough cases for about 20 seconds, the same ones each time.
    steps.push(step("fuzz build", Job::cargo(BUILD_FUZZ)));
    steps.push(step("fuzz", Job::fuzz("")));
    for config in smoke {
        let name = Path::new(&config).file_stem().unwrap_or_default().display().to_string();
        let run = runs.join(&name).display().to_string();
        let (command, into) = if name.starts_with("sweep") { ("sweep", "--dir") } else { ("train", "--run-dir") };
        steps.push(step(&format!("smoke {name}"), Job::foil(command, [config, into.to_owned(), run])));
    }
    let docs = Job::cargo("doc --release --workspace --no-deps");
    steps.push(step("docs", docs.with("RUSTDOCFLAGS", "-D warnings")));
    if extent == Extent::All {
        steps.push(step("wheel", Job::cargo("xtask wheel --test")));
    }
    steps
}

fn step(name: &str, job: Job) -> Step {
    Step { name: name.to_owned(), job }
}

/// `cargo verify [--quick | --all]`.
pub fn command(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let extent = extent(arguments)?;
    setup::ensure(workspace)?;
    let runs = std::env::temp_dir().join(format!("foil-verify-{}", std::process::id()));
    let configs = yaml_files(&workspace.root, "configs")?;
    let smoke = configs.iter().filter(|config| config.starts_with("configs/smoke/")).cloned().collect();

    let mut times = Vec::new();
    let steps = steps(configs, smoke, &runs, extent);
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n== {} ({}/{}): {}", step.name, index + 1, steps.len(), step.job.brief());
        let start = Instant::now();
        let result = step.job.run(workspace);
        times.push((step.name.as_str(), start.elapsed()));
        if result.is_err() {
            eprint!("{}", table(&times, "FAILED"));
            return result;
        }
    }
    let _ = fs::remove_dir_all(&runs);
    eprint!("{}", table(&times, "ok"));
    Ok(())
}

fn extent(arguments: &[OsString]) -> Result<Extent> {
    match arguments {
        [] => Ok(Extent::Usual),
        [one] if one == "--quick" => Ok(Extent::Quick),
        [one] if one == "--all" => Ok(Extent::All),
        _ => {
            let known = ["--quick", "--all"];
            let unknown = arguments.iter().find(|argument| !known.iter().any(|one| argument == one));
            let error = unknown.map_or("`verify` takes one of --quick and --all".to_string(), |unknown| {
                format!("`verify` does not know `{}`", unknown.display())
            });
            Err(Failure::new(
                error,
                "it takes --quick, which leaves out fuzzing, the smoke runs and the documentation,\n\
                 or --all, which adds the Python package and its tests",
            ))
        }
    }
}

/// Every pipeline under the folder, as paths from the root, sorted; none if there is no such
/// folder. What only holds parts for others, `base*.yaml`, is checked through them.
fn yaml_files(root: &Path, folder: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries {
            let path = folder.join(entry.or_fail(|| format!("read the folder {}", folder.display()))?.file_name());
            if root.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") && !is_base(&path) {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_base(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.display().to_string().starts_with("base"))
}

/// How long each step took; `last` is how the last one ended.
fn table(times: &[(&str, Duration)], last: &str) -> String {
    let width = times.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("total".len());
    let line =
        |name: &str, time: Duration, end: &str| format!("  {name:width$}  {:>7.1} s  {end}\n", time.as_secs_f64());
    let mut text = "\n".to_owned();
    for (index, (name, time)) in times.iter().enumerate() {
        text += &line(name, *time, if index + 1 == times.len() { last } else { "ok" });
    }
    text += &line("total", times.iter().map(|(_, time)| *time).sum(), "");
    text.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_are_found_at_any_depth_and_sorted_without_bases() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(yaml_files(scratch.path(), "configs").unwrap().is_empty());
        for file in [
            "configs/smoke/at.yaml",
            "configs/cifar10/deep/b.yaml",
            "configs/a.yaml",
            "configs/base_cat.yaml",
            "configs/README.md",
        ] {
            let path = scratch.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = yaml_files(scratch.path(), "configs").unwrap();
        assert_eq!(found, ["configs/a.yaml", "configs/cifar10/deep/b.yaml", "configs/smoke/at.yaml"]);
    }

    #[test]
    fn quick_leaves_out_fuzzing_smoke_runs_and_docs() {
        let names = |extent| -> Vec<String> {
            let configs = vec!["configs/smoke/at.yaml".to_owned()];
            steps(configs.clone(), configs, Path::new("runs"), extent).into_iter().map(|step| step.name).collect()
        };
        assert_eq!(names(Extent::Quick), ["format", "lints", "build", "tests", "configs"]);
        let usual = ["format", "lints", "build", "tests", "configs", "fuzz build", "fuzz", "smoke at", "docs"];
        assert_eq!(names(Extent::Usual), usual);
        assert_eq!(names(Extent::All), [&usual[..], &["wheel"]].concat());
    }

    #[test]
    fn an_unknown_option_is_named() {
        let asked = |words: &[&str]| extent(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["--all"]).unwrap(), Extent::All);
        assert!(asked(&["--fast"]).unwrap_err().to_string().contains("does not know `--fast`"));
        assert!(asked(&["--all", "--quick"]).unwrap_err().to_string().contains("one of"));
    }

    #[test]
    fn the_table_says_which_step_failed() {
        let times = [("format", Duration::from_millis(1240)), ("lints", Duration::from_secs(301))];
        let text = table(&times, "FAILED");
        assert_eq!(text, "\n  format      1.2 s  ok\n  lints     301.0 s  FAILED\n  total     302.2 s\n");
    }
}
