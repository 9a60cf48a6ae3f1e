//! Set-up in a scratch folder, with the Pythons of `testdata/` in place of a real one.

use std::fs;

use super::*;
use crate::libtorch::installed::tests::make;

/// A folder to set up, and a machine with no GPU, no LIBTORCH and the given Python.
struct Scratch {
    folder: tempfile::TempDir,
    around: Surroundings,
}

impl Scratch {
    fn with(python: &str) -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(python);
        let around = Surroundings { users_libtorch: None, cache: None, python: Python::at(&python), gpu: false };
        Scratch { folder: tempfile::tempdir().unwrap(), around }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn link(&self) -> PathBuf {
        self.path("clone/.libtorch/torch")
    }

    fn set_up(&self) -> Result<Installed> {
        set_up(&self.link(), &self.around, Options::default())
    }

    fn failure(&self) -> String {
        self.set_up().unwrap_err().to_string()
    }

    /// Where the link leads.
    fn source(&self) -> PathBuf {
        fs::read_link(self.link()).unwrap()
    }
}

#[test]
fn libtorch_of_the_environment_comes_first() {
    let mut scratch = Scratch::with("python-that-works");
    scratch.around.users_libtorch = Some(make(&scratch.path("mine"), false));
    assert!(!scratch.set_up().unwrap().cuda);
    assert_eq!(scratch.source(), scratch.path("mine"));
}

#[test]
fn a_wrong_libtorch_of_the_environment_is_not_passed_over() {
    let mut scratch = Scratch::with("python-that-works");
    scratch.around.users_libtorch = Some("/nowhere".into());
    assert_eq!(
        scratch.failure(),
        "error: LIBTORCH is /nowhere, which has no lib/libtorch_cpu.so\n  \
         help: set LIBTORCH to an unpacked libtorch 2.11.0, or unset it and one is fetched"
    );
}

#[test]
fn what_is_there_stays() {
    let scratch = Scratch::with("python-that-is-not-there");
    make(&scratch.link(), false);
    assert!(scratch.set_up().is_ok());
}

#[test]
fn without_anything_it_is_fetched_once() {
    let scratch = Scratch::with("python-that-works");
    assert!(!scratch.set_up().unwrap().cuda);
    assert_eq!(scratch.source(), Path::new("libtorch-2.11.0-cpu/torch"));
    let script = fs::read_to_string(scratch.link().join("lib/libtorch.so")).unwrap();
    assert_eq!(script, "INPUT(-ltorch_cpu)\n");
    assert!(!scratch.path("clone/.libtorch/partial").exists());
    assert!(!scratch.path("clone/.libtorch/downloads").exists());

    let offline = Scratch { around: Scratch::with("python-without-network").around, folder: scratch.folder };
    assert!(offline.set_up().is_ok(), "nothing is left to fetch");
}

#[test]
fn a_gpu_asks_for_the_whole() {
    let mut scratch = Scratch::with("python-that-works");
    scratch.set_up().unwrap();
    scratch.around.gpu = true;
    assert!(scratch.set_up().unwrap().cuda);
    assert_eq!(scratch.source(), Path::new("libtorch-2.11.0-cuda/torch"));
}

#[test]
fn clones_share_the_cache() {
    let mut scratch = Scratch::with("python-that-works");
    scratch.around.cache = Some(scratch.path("cache"));
    scratch.set_up().unwrap();
    assert_eq!(scratch.source(), scratch.path("cache/libtorch-2.11.0-cpu/torch"));

    scratch.around.python = Scratch::with("python-without-network").around.python;
    let other = scratch.path("other clone/.libtorch/torch");
    assert!(set_up(&other, &scratch.around, Options::default()).is_ok());
}

#[test]
fn other_pins_are_fetched_anew() {
    let scratch = Scratch::with("python-that-works");
    scratch.set_up().unwrap();
    fs::write(scratch.path("clone/.libtorch/libtorch-2.11.0-cpu/foil-stamp"), "older pins").unwrap();
    scratch.set_up().unwrap();
    assert!(Set::Cpu.is_in(&scratch.path("clone/.libtorch/libtorch-2.11.0-cpu")));
}

#[test]
fn each_obstacle_is_named() {
    let cases = [
        ("python-that-is-not-there", "could not be started: No such file"),
        ("python-without-pip", "has no pip"),
        ("python-without-network", "the package index could not be reached; torch==2.11.0 could not"),
        ("python-with-a-full-disk", "the disk is full"),
    ];
    for (python, expected) in cases {
        let scratch = Scratch::with(python);
        let failure = scratch.failure();
        assert!(failure.contains(expected) && failure.contains("\n  help: "), "{failure}\nlacks: {expected}");
        assert!(!scratch.link().exists());
    }
}

#[test]
fn an_interrupted_fetch_goes_on() {
    let scratch = Scratch::with("python-with-a-full-disk");
    fs::create_dir_all(scratch.path("clone/.libtorch/partial/torch/lib")).unwrap();
    fs::create_dir_all(scratch.path("clone/.libtorch/downloads/pip-unpack-x")).unwrap();
    assert!(scratch.set_up().is_err());
    let again = Scratch { around: Scratch::with("python-that-works").around, folder: scratch.folder };
    assert!(again.set_up().is_ok());
}

#[test]
fn unknown_flags_are_refused() {
    assert_eq!(parse(&["--cpu".into(), "--force".into()]).unwrap().set, Some(Set::Cpu));
    let failure = parse(&["--cud".into()]).unwrap_err().to_string();
    assert!(failure.starts_with("error: `setup` does not know `--cud`\n  help: it takes --cuda"), "{failure}");
}
