//! The pinned wheels, by version and hash, and the files taken from them.

use std::fs;
use std::path::Path;

use super::installed::VERSION;

/// What is fetched from PyPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// The three libraries that run on a CPU, two more that they are linked against, and the
    /// headers.
    Cpu,
    /// All of torch's libraries, and NVIDIA's.
    Cuda,
    /// What compiles CUDA's half of the shim on any machine: the CUDA runtime's headers and the
    /// kernel compiler. No libtorch.
    Compiler,
}

/// The file in a fetched set that says what it was made from. It is written last.
const STAMP: &str = "foil-stamp";

impl Set {
    /// A pip requirements file.
    pub fn requirements(self) -> &'static str {
        match self {
            Set::Cpu => include_str!("../../requirements-cpu.txt"),
            Set::Cuda => include_str!("../../requirements-cuda.txt"),
            Set::Compiler => include_str!("../../requirements-cuda-compiler.txt"),
        }
    }

    /// The prefixes of the paths extracted from the wheels. They keep their relative positions,
    /// because the libraries look for each other there.
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Set::Cpu => &[
                "torch/lib/libtorch_cpu.so",
                "torch/lib/libc10.so",
                "torch/lib/libgomp.so",
                "torch/include/",
                "torch/version.py",
                "nvidia/cu13/lib/libcupti.so",
                "nvidia/cu13/lib/libcudart.so",
            ],
            Set::Cuda => &["torch/lib/", "torch/include/", "torch/version.py", "nvidia/"],
            Set::Compiler => {
                &["nvidia/cu13/include/", "nvidia/cu13/lib/libnvrtc.so", "nvidia/cu13/lib/libnvrtc-builtins.so"]
            }
        }
    }

    /// The name of its folder.
    pub fn folder(self) -> String {
        match self {
            Set::Cpu => format!("libtorch-{VERSION}-cpu"),
            Set::Cuda => format!("libtorch-{VERSION}-cuda"),
            Set::Compiler => "cuda-compiler-13.0".to_owned(),
        }
    }

    /// What it is, for messages.
    pub fn what(self) -> String {
        if self == Set::Compiler {
            "the CUDA headers and kernel compiler".to_owned()
        } else {
            format!("libtorch {VERSION}")
        }
    }

    /// The cost of fetching it.
    pub fn cost(self) -> &'static str {
        match self {
            Set::Cpu => "544 MB to download, 500 MB on disk, for the CPU only",
            Set::Cuda => "2.5 GB to download, 3.7 GB on disk, for NVIDIA GPUs; `cargo xtask setup --cpu` takes 500 MB",
            Set::Compiler => "93 MB to download, 115 MB on disk",
        }
    }

    /// The stamp of a set made from exactly these pins.
    fn stamp(self) -> String {
        let pins: Vec<&str> = pins(self.requirements()).map(|pin| pin.line).collect();
        format!("{}\n{}\n{}\n", self.folder(), pins.join("\n"), self.members().join(" "))
    }

    /// The stamps of the two sets that have a libtorch.
    pub fn stamps() -> [String; 2] {
        [Set::Cpu.stamp(), Set::Cuda.stamp()]
    }

    /// Writes the stamp into the folder of the set.
    pub fn write_stamp(self, folder: &Path) -> std::io::Result<()> {
        fs::write(folder.join(STAMP), self.stamp())
    }

    /// Whether the folder holds this set, whole, from these pins.
    pub fn is_in(self, folder: &Path) -> bool {
        fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == self.stamp())
    }

    /// The stamp of the set that a `torch` folder belongs to, if it was fetched.
    pub fn fetched_into(torch: &Path) -> Option<String> {
        fs::read_to_string(torch.canonicalize().ok()?.parent()?.join(STAMP)).ok()
    }
}

/// A line of a requirements file: `name==version --hash=sha256:…`.
#[derive(Debug, PartialEq, Eq)]
pub struct Pin {
    /// The distribution and its version, `torch==2.11.0`.
    pub what: &'static str,
    /// The whole line.
    pub line: &'static str,
}

impl Pin {
    /// Whether the file is this pin's wheel: `nvidia-cuda-cupti==13.0.85` is in
    /// `nvidia_cuda_cupti-13.0.85-py3-….whl`.
    pub fn is_in_wheel(&self, path: &Path) -> bool {
        let start = self.what.replace('-', "_").replace("==", "-") + "-";
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&start) && name.ends_with(".whl")
    }
}

/// The pins in a requirements file, comments left out.
pub fn pins(requirements: &'static str) -> impl Iterator<Item = Pin> {
    let lines = requirements.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Pin { what: line.split_whitespace().next().unwrap_or(line), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_no_pins() {
        let text = "# why\n\n a==1 --hash=sha256:00\nb==2 --hash=sha256:11\n";
        let what: Vec<&str> = pins(text).map(|pin| pin.what).collect();
        assert_eq!(what, ["a==1", "b==2"]);
        assert_eq!(pins(text).next().unwrap().line, "a==1 --hash=sha256:00");
    }

    #[test]
    fn a_pin_knows_its_wheel() {
        let pin = Pin { what: "nvidia-cuda-cupti==13.0.85", line: "" };
        assert!(pin.is_in_wheel(Path::new("d/nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl")));
        assert!(!pin.is_in_wheel(Path::new("d/nvidia_cuda_cupti-13.0.8-py3-none-manylinux_2_25_x86_64.whl")));
    }

    #[test]
    fn every_pin_has_one_version_and_one_hash() {
        for set in [Set::Cpu, Set::Cuda, Set::Compiler] {
            for pin in pins(set.requirements()) {
                let (what, hash) = pin.line.split_once(" --hash=sha256:").expect(pin.line);
                assert_eq!(what.matches("==").count(), 1, "{what}");
                assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
            }
        }
    }

    #[test]
    fn both_sets_have_the_same_torch() {
        let torch = |set: Set| pins(set.requirements()).next().unwrap();
        assert_eq!(torch(Set::Cpu), torch(Set::Cuda));
        assert_eq!(torch(Set::Cpu).what, format!("torch=={VERSION}"));
        for part in [Set::Cpu, Set::Compiler] {
            assert!(pins(part.requirements()).all(|pin| pins(Set::Cuda.requirements()).any(|other| other == pin)));
        }
    }

    #[test]
    fn a_stamp_holds_for_its_own_set_and_pins_only() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(!Set::Cpu.is_in(scratch.path()));
        Set::Cpu.write_stamp(scratch.path()).unwrap();
        assert!(Set::Cpu.is_in(scratch.path()) && !Set::Cuda.is_in(scratch.path()));
        fs::write(scratch.path().join(STAMP), Set::Cpu.stamp().replace("torch==2.11.0", "torch==2.10.0")).unwrap();
        assert!(!Set::Cpu.is_in(scratch.path()));
    }
}
