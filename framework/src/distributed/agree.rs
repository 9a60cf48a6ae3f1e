//! What must be the same on all ranks before the first step, and the error if it is not.

use super::hosts::this_host;
use super::world::World;
use crate::{AtPath, Error, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What a rank runs, item by item.
#[derive(Debug, Default)]
pub struct Agreement(Vec<(String, String)>);

/// How many differing lines are shown.
const SHOWN: usize = 8;

impl Agreement {
    /// Adds an item: its name and its text, which may have several lines.
    #[must_use]
    pub fn with(mut self, what: &str, text: impl Into<String>) -> Self {
        self.0.push((what.into(), text.into()));
        self
    }

    /// Adds the program itself, by the SHA-256 of its file.
    #[must_use]
    pub fn with_program(self) -> Self {
        let hash = crate::program::file().and_then(|file| std::fs::read(&file).at("reading", &file));
        let hash = hash.map(|bytes| hex(&Sha256::digest(bytes)));
        self.with(
            "build",
            hash.map_or_else(|error| format!("cannot be read: {}", error.message()), |hash| hash[..16].to_string()),
        )
    }

    /// Exchanges the items with the other ranks and compares them.
    ///
    /// # Errors
    /// When a rank differs from rank 0, with the rank and the difference, the same on every rank;
    /// or when a rank is lost.
    pub fn reach(self, world: World) -> Result<()> {
        let Some(joined) = world.joined() else { return Ok(()) };
        let text = |value: &_| serde_json::to_string(value).map_err(Error::of);
        let said = world.gather(&text(&(this_host(), self.0))?)?;
        let said: Vec<(String, Vec<(String, String)>)> = said
            .iter()
            .map(|text| serde_json::from_str(text))
            .collect::<Result<_, _>>()
            .map_err(|_| Error::new("a rank runs another version of foil").help(SAME))?;
        let hosts: Vec<String> = said.iter().map(|(host, _)| host.clone()).collect();
        let found = differences(&said);
        let _ = joined.hosts.set(hosts);
        match found {
            None => Ok(()),
            Some(message) => Err(Error::new(message).help(SAME)),
        }
    }
}

const SAME: &str = "every rank must run the same program with the same pipeline on the same data";

/// SHA-256 as hex digits.
fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How the first rank that differs from rank 0 differs, and which other ranks do.
fn differences(said: &[(String, Vec<(String, String)>)]) -> Option<String> {
    let (first, items) = said.first()?;
    let differing: Vec<usize> = (1..said.len()).filter(|&rank| said[rank].1 != *items).collect();
    let &rank = differing.first()?;
    let (host, other) = &said[rank];
    let mut message = format!("rank {rank} on {host} does not run the same as rank 0 on {first}");
    if differing.len() > 1 {
        let rest: Vec<String> = differing[1..].iter().map(ToString::to_string).collect();
        let _ = write!(message, " (nor do ranks {})", rest.join(", "));
    }
    for (what, text) in items {
        let theirs = other.iter().find(|(name, _)| name == what).map_or("", |(_, text)| text.as_str());
        if theirs == text {
            continue;
        }
        let only = |these: &str, those: &str, sign: &str| {
            let lines = these.lines().filter(|line| !those.lines().any(|other| other == *line));
            lines.map(|line| format!("\n    {sign} {line}")).collect::<Vec<_>>()
        };
        let lines = [only(text, theirs, "rank 0:"), only(theirs, text, &format!("rank {rank}:"))].concat();
        let _ = write!(message, "\n  {what}:{}", lines[..lines.len().min(SHOWN)].concat());
        if lines.len() > SHOWN {
            let _ = write!(message, "\n    and {} more lines", lines.len() - SHOWN);
        }
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(host: &str, items: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        (host.into(), items.iter().map(|(what, text)| (what.to_string(), text.to_string())).collect())
    }

    #[test]
    fn equal_ranks_agree() {
        let items = [("pipeline", "seed: 1\n"), ("build", "ab")];
        assert_eq!(differences(&[rank("a", &items), rank("b", &items)]), None);
    }

    #[test]
    fn the_differing_lines_are_shown() {
        let said = [
            rank("a", &[("pipeline", "seed: 1\nsteps: 10\n"), ("data", "ab")]),
            rank("a", &[("pipeline", "seed: 1\nsteps: 10\n"), ("data", "ab")]),
            rank("b", &[("pipeline", "seed: 1\nsteps: 7\n"), ("data", "cd")]),
            rank("c", &[("pipeline", "seed: 2\nsteps: 10\n"), ("data", "ab")]),
        ];
        let expected = "rank 2 on b does not run the same as rank 0 on a (nor do ranks 3)\n  pipeline:\n    rank 0: steps: 10\n    \
                        rank 2: steps: 7\n  data:\n    rank 0: ab\n    rank 2: cd";
        assert_eq!(differences(&said).unwrap(), expected);
    }
}
