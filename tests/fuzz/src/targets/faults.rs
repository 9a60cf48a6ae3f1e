//! Faults of every kind on demand: by this the tests know that the driver finds them.

use super::Target;
use crate::mutate;
use crate::verdict::Verdict;
use fastrand::Rng;
use std::time::Duration;

/// Does what its input says.
pub struct Faults;

impl Target for Faults {
    fn name(&self) -> &'static str {
        "faults"
    }

    fn about(&self) -> &'static str {
        "not a format: it fails as its input says, for the driver's own tests"
    }

    fn cases(&self) -> u64 {
        8
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        ["good", "bad", "panic", "abort", "sleep", "memory", "escape", "empty"].map(|word| word.into()).into()
    }

    fn change(&self, random: &mut Rng, _: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        mutate::bytes(random, b"good", &seeds[..2])
    }

    fn longest(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn run(&self, input: &[u8]) -> Verdict {
        match input {
            b"bad" => Verdict::refused(&foil::Error::new("it is bad")),
            b"panic" => panic!("as it was told"),
            b"abort" => std::process::abort(),
            b"sleep" => {
                std::thread::sleep(Duration::from_secs(60));
                Verdict::Taken
            }
            b"memory" => {
                let mut taken = vec![0u8; 600 << 20];
                taken.iter_mut().step_by(1024).for_each(|byte| *byte = 1);
                if taken.contains(&1) { Verdict::Taken } else { Verdict::Refused(String::new()) }
            }
            b"escape" => Verdict::printed("\u{1b}[2J", Verdict::Taken),
            b"empty" => Verdict::refused(&foil::Error::new(" ")),
            _ => Verdict::Taken,
        }
    }
}
