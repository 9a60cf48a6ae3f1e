//! What a user sees for each kind of mistake.

use crate::pipeline::{Plugins, schema};
use foil_config::load;
use std::fs;
use std::path::{Path, PathBuf};

/// Comment lines `# override: a.b=c` at the top of a case are its command line.
fn overrides(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("# override: ")).map(str::to_string).collect()
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new("tests/errors"); // tests run in the package's folder
    let files = fs::read_dir(folder).expect("the folder of cases").map(|entry| entry.expect("a file").path());
    let mut cases: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    cases.sort();
    cases
}

#[test]
fn every_mistake_reads_as_expected() {
    let (schema, update) = (schema(), std::env::var_os("UPDATE_EXPECT").is_some());
    let mut differences = String::new();
    assert!(cases().len() > 20, "the cases are found");
    for case in cases() {
        let text = fs::read(&case).expect("a case");
        let overrides = overrides(&String::from_utf8_lossy(&text));
        let found = match load(&case, &overrides, &schema, &Plugins) {
            Ok(checked) => format!("no problem:\n{}", serde_yaml::to_string(&checked.value).expect("YAML")),
            Err(problems) => format!("{problems}\n"),
        };
        let expectation = case.with_extension("stderr");
        if !found.starts_with("error: ") {
            differences += &format!("== {} is no mistake\n", case.display());
        }
        if update {
            fs::write(&expectation, &found).expect("a writable expectation");
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        if found != expected {
            differences += &format!("== {}\n-- expected\n{expected}-- found\n{found}", case.display());
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
