//! `plugins.lock`.

use super::{Target, kept, scratch};
use crate::verdict::Verdict;
use crate::words;
use fastrand::Rng;
use foil::plugin::{LOCK, Lock};
use std::fs;
use tempfile::TempDir;

/// Locks of a folder's plugin libraries.
pub struct Locks(TempDir);

impl Locks {
    pub fn new() -> Self {
        Self(scratch())
    }
}

impl Target for Locks {
    fn name(&self) -> &'static str {
        "locks"
    }

    fn about(&self) -> &'static str {
        "plugins.lock files"
    }

    fn cases(&self) -> u64 {
        300
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let digests = ["0123456789abcdef".repeat(4), "1".repeat(64), format!("{}e{}", "1".repeat(30), "2".repeat(33))];
        let pin =
            |n: usize, digest: &str| format!("lib{n}.so:\n  plugin: plugin-{n} 0.1.{n}\n  sha256: \"{digest}\"\n");
        let one = |digest: &String| pin(1, digest).into_bytes();
        let all: String = digests.iter().enumerate().map(|(n, digest)| pin(n, digest)).collect();
        let deep = [b"[".repeat(10_000), b"{a: ".repeat(10_000), b"- ".repeat(10_000)];
        [kept("locks"), digests.iter().map(one).collect(), vec![all.into_bytes()], deep.into()].concat()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        words::text(random, seed, seeds, &["plugin".into(), "sha256".into(), "libat.so".into()])
    }

    fn run(&self, input: &[u8]) -> Verdict {
        if let Err(error) = fs::write(self.0.path().join(LOCK), input) {
            return Verdict::Fault(format!("the input could not be written: {error}"));
        }
        match Lock::beside(self.0.path()) {
            Ok(Some(_)) => Verdict::Taken,
            Ok(None) => Verdict::Fault("a lock that is there locks nothing".into()),
            Err(error) => Verdict::refused(&error),
        }
    }
}
