//! Several processes that share one list of runs: ranks of a comparison, each of which trains whole
//! runs.
//!
//! They do not communicate. A lock in a run's folder decides which process has it, and a process
//! that failed on a run says so in a file there.

use super::{State, Task};
use foil::Result;
use foil::atomic;
use foil_runs::train::{Folder, Lock};
use std::path::PathBuf;
use std::time::SystemTime;

/// This process among those that share the list.
#[derive(Debug, Clone)]
pub struct Crew {
    /// Its number, from 0; the first makes the table.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// Its number on its machine, if there are several.
    pub place: Option<usize>,
    /// The GPU that it takes for runs that do not ask for the CPU.
    pub gpu: Option<usize>,
    /// Threads for a run, if the processes share a machine's cores.
    pub threads: Option<usize>,
    /// When it started: runs that failed before are tried again.
    pub since: SystemTime,
}

impl Crew {
    /// A single process.
    pub fn alone() -> Self {
        Self { rank: 0, size: 1, place: None, gpu: None, threads: None, since: SystemTime::now() }
    }

    /// Whether it reports for all.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// The runs of `left` in the order in which this process takes them: those with its number
    /// first, so that processes do not compete for the same.
    pub(super) fn order(&self, left: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut left: Vec<usize> = left.collect();
        left.sort_by_key(|n| (n % self.size + self.size - self.rank) % self.size);
        left
    }

    /// Claims a run for this process until it is done with it; `None` if another process has it.
    pub(super) fn claim(&self, task: &Task) -> Result<Option<Claim>> {
        if self.size == 1 {
            return Ok(Some(Claim(None)));
        }
        if task.state == State::New {
            foil_runs::data::find(&task.wanted.pipeline)?;
        }
        Ok(Folder::named(&task.folder).claim()?.map(|lock| Claim(Some(lock))))
    }

    /// Another process's message about a run that it failed on.
    pub(super) fn given_up(&self, task: &Task) -> Option<String> {
        let path = note(task);
        let written = std::fs::metadata(&path).and_then(|file| file.modified()).ok()?;
        if self.size == 1 || written < self.since { None } else { std::fs::read_to_string(&path).ok() }
    }

    /// Notes that a run failed, or with `None` that it is being tried again.
    pub(super) fn tell(&self, task: &Task, why: Option<&str>) {
        if self.size > 1 {
            // Without the note others try the run too, which does no harm.
            let _ = match why {
                Some(why) => atomic::write(note(task), why),
                None => std::fs::remove_file(note(task)),
            };
        }
    }
}

/// While it lives, the other processes leave the run alone.
pub(super) struct Claim(#[expect(dead_code, reason = "dropping the lock unlocks it")] Option<Lock>);

fn note(task: &Task) -> PathBuf {
    task.folder.join("failed.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_begins_with_its_own_and_takes_all() {
        let order = |rank, left: &[usize]| Crew { rank, size: 3, ..Crew::alone() }.order(left.iter().copied());
        assert_eq!(order(0, &[0, 1, 2, 3, 4, 5, 6]), [0, 3, 6, 1, 4, 2, 5]);
        assert_eq!(order(2, &[0, 1, 3, 5, 6]), [5, 0, 3, 6, 1]);
        assert_eq!(Crew::alone().order([2, 4, 5].into_iter()), [2, 4, 5]);
    }
}
