//! Calling pip, and explaining its failures.

use std::path::Path;

use super::installed::VERSION;
use crate::failure::Failure;

/// What to install if Python or pip is missing.
pub const INSTALL: &str = "on Debian or Ubuntu: sudo apt install python3 python3-pip";

/// `pip download` for one and the same wheel, whatever Python asks: hash-checked, and for CPython
/// 3.12 on x86_64, by every tag that a pinned wheel has (pip 20.3 does not infer older tags from
/// newer ones).
pub const DOWNLOAD: [&str; 36] = [
    "download",
    "--no-deps",
    "--require-hashes",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--no-input",
    "--retries",
    "2",
    "--implementation",
    "cp",
    "--python-version",
    "3.12",
    "--abi",
    "cp312",
    "--abi",
    "none",
    "--platform",
    "manylinux_2_28_x86_64",
    "--platform",
    "manylinux_2_27_x86_64",
    "--platform",
    "manylinux_2_25_x86_64",
    "--platform",
    "manylinux_2_18_x86_64",
    "--platform",
    "manylinux_2_17_x86_64",
    "--platform",
    "manylinux2014_x86_64",
    "--platform",
    "manylinux_2_12_x86_64",
    "--platform",
    "manylinux2010_x86_64",
    "--platform",
    "manylinux_2_5_x86_64",
    "--platform",
    "manylinux1_x86_64",
];

/// The oldest pip that understands the tags in [`DOWNLOAD`].
const OLDEST: (u32, u32) = (20, 3);

/// pip could not be started by this Python.
pub fn missing(python: &str, messages: &str) -> Failure {
    if messages.contains("No module named pip") {
        let help = format!("{INSTALL}\nor: {python} -m ensurepip\nor set PYTHON to a Python that has pip");
        return Failure::new(format!("`{python}` has no pip, which fetches libtorch {VERSION}"), help);
    }
    Failure::new(format!("`{python} -m pip --version` failed: {}", last_line(messages)), INSTALL)
}

/// Fails for a pip that is too old; `answer` is what `pip --version` printed, `pip 23.2.1 from …`.
pub fn require_version(python: &str, answer: &str) -> Result<(), Failure> {
    let version = answer.split_whitespace().nth(1).unwrap_or("0");
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST {
        return Ok(());
    }
    Err(Failure::new(
        format!("the pip of `{python}` is {version}, and fetching libtorch needs {}.{} or newer", OLDEST.0, OLDEST.1),
        format!("{python} -m pip install --user --upgrade pip\nor set PYTHON to a newer Python"),
    ))
}

/// Why `pip download` of `what` failed, from what it wrote to standard error.
pub fn explain(what: &str, messages: &str) -> Failure {
    let says = |signs: &[&str]| signs.iter().any(|sign| messages.contains(sign));
    if says(&["DO NOT MATCH THE HASHES"]) {
        return Failure::new(
            format!(
                "{what} was downloaded, but it is not the file that foil pins (the sha256 differs); it is not used"
            ),
            "run this again; if that does not help, a mirror or proxy alters files: see `python3 -m pip config list`",
        );
    }
    if says(&["No space left on device", "Disk quota exceeded"]) {
        return Failure::new(
            format!("the disk is full; {what} could not be downloaded"),
            "free some space and run this again, or set FOIL_CACHE to a folder on another disk",
        );
    }
    if says(&["CERTIFICATE_VERIFY_FAILED", "certificate verify failed"]) {
        return Failure::new(
            format!("the certificate of the package index was not accepted; {what} could not be downloaded"),
            "behind a company's proxy, set PIP_CERT to its certificate file and run this again",
        );
    }
    let unreachable = [
        "NewConnectionError",
        "ProxyError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "Read timed out",
        "Connection reset",
        "Connection aborted",
        "ConnectionError",
        "Temporary failure in name resolution",
        "from versions: none",
    ];
    if says(&unreachable) {
        return Failure::new(
            format!("the package index could not be reached; {what} could not be downloaded"),
            format!(
                "run this again when there is a network (what is downloaded is kept), or without one:\n\
                 - set LIBTORCH to an unpacked libtorch {VERSION}, such as\n\
                 \x20 https://download.pytorch.org/libtorch/cpu/libtorch-shared-with-deps-{VERSION}%2Bcpu.zip\n\
                 - set PIP_INDEX_URL to a mirror, or PIP_FIND_LINKS to a folder with the wheels that\n\
                 \x20 framework/xtask/requirements-cpu.txt (or -cuda.txt) names"
            ),
        );
    }
    if says(&["No matching distribution found"]) {
        return Failure::new(
            format!("the package index has no {what} for Linux x86_64"),
            "see `python3 -m pip config list`: a mirror may lack it; PIP_INDEX_URL=https://pypi.org/simple has it",
        );
    }
    Failure::new(format!("pip could not download {what}: {}", last_line(messages)), messages.trim())
}

/// Why taking files out of the wheels failed.
pub fn unpacking_failed(into: &Path, messages: &str) -> Failure {
    let help = if messages.contains("No space left on device") || messages.contains("Disk quota exceeded") {
        "free some space and run this again, or set FOIL_CACHE to a folder on another disk"
    } else {
        "run this again; a damaged download is then replaced"
    };
    Failure::new(format!("could not unpack libtorch into {}: {}", into.display(), last_line(messages)), help)
}

fn last_line(messages: &str) -> &str {
    messages.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_words_are_explained() {
        // Each as pip 23.2 wrote it, shortened.
        let cases = [
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "the sha256 differs"),
            ("OSError: [Errno 28] No space left on device", "the disk is full"),
            (
                "WARNING: Retrying (…) after connection broken by 'NewConnectionError('…: [Errno -3] Temporary failure \
                 in name resolution')'\nERROR: No matching distribution found for torch==2.11.0",
                "could not be reached",
            ),
            (
                "ERROR: Could not find a version that satisfies the requirement torch==2.11.0 (from versions: 2.9.0)\n\
                 ERROR: No matching distribution found for torch==2.11.0",
                "has no torch==2.11.0 for Linux",
            ),
            ("ERROR: something new", "could not download torch==2.11.0: ERROR: something new"),
        ];
        for (words, expected) in cases {
            let failure = explain("torch==2.11.0", words).to_string();
            assert!(failure.contains(expected), "{failure}\nlacks: {expected}");
        }
    }

    #[test]
    fn an_old_pip_is_refused() {
        assert!(require_version("python3", "pip 20.3.4 from … (python 3.9)").is_ok());
        assert!(require_version("python3", "pip 25.0 from … (python 3.13)").is_ok());
        let failure = require_version("python3", "pip 20.0.2 from … (python 3.8)").unwrap_err().to_string();
        assert!(failure.contains("is 20.0.2"), "{failure}");
        assert!(require_version("python3", "nonsense").is_err());
    }
}
