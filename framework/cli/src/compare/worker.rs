//! Carrying out a plan, each run in its own process, several at once on several devices.
//!
//! A run that crashes, or is killed for using too much memory, does not affect the others. The
//! processes save and end when this one does: they read from a pipe whose other end it holds.

use super::{Crew, State, Task};
use crate::report::progress::human;
use foil::distributed::Launch;
use foil::engine::DEVICE;
use foil::error::ErrorKind;
use foil::{AtPath, Error, Result};
use foil_runs::train::Folder;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was done before.
    Reused,
    /// It was trained (from a checkpoint, if there was one) and evaluated, or evaluated only.
    Worked(State),
    /// It failed, with this message.
    Failed(String),
    /// It was stopped, or never started.
    Stopped,
}

/// How often a process is checked.
const LOOK: Duration = Duration::from_millis(50);
/// How many lines of a process's standard error are kept for its message.
const KEPT: usize = 30;

/// Carries out what is left of `tasks`, one at a time on each of `devices` (a name that occurs
/// twice is used twice; an empty name is the pipeline's own device), together with the other
/// processes of `crew`. Returns the outcome of each, whichever process did it. When `stop` is set,
/// current runs are saved and the rest is left.
pub fn work(tasks: &[Task], devices: &[String], crew: &Crew, stop: &AtomicBool) -> Vec<Fate> {
    let left = crew.order((0..tasks.len()).filter(|&n| tasks[n].state != State::Done));
    let line = Line {
        left: Mutex::new(left.into()),
        announced: Mutex::new(Vec::new()),
        all: tasks.len(),
        several: devices.len() > 1 || crew.size > 1,
        at_once: devices.len().max(1) * crew.size.max(1),
        spent: Mutex::new(Vec::new()),
        crew,
    };
    let fates = Mutex::new(vec![Fate::Stopped; tasks.len()]);
    let settle = |n: usize, fate: Fate| fates.lock().unwrap_or_else(PoisonError::into_inner)[n] = fate;
    (0..tasks.len()).filter(|&n| tasks[n].state == State::Done).for_each(|n| settle(n, Fate::Reused));
    std::thread::scope(|scope| {
        for device in devices {
            scope.spawn(|| {
                while let Some(n) = line.next(tasks, stop) {
                    match line.one(n, &tasks[n], device, stop) {
                        Some(fate) => settle(n, fate),
                        None => line.put_back(n),
                    }
                }
            });
        }
    });
    fates.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Waiting tasks, by their number.
struct Line<'a> {
    left: Mutex<VecDeque<usize>>,
    /// Tasks already reported as taken by another process.
    announced: Mutex<Vec<usize>>,
    all: usize,
    several: bool,
    /// Runs that are worked on at the same time.
    at_once: usize,
    /// How long the runs took that are done.
    spent: Mutex<Vec<Duration>>,
    crew: &'a Crew,
}

impl Line<'_> {
    /// The next task that no other process is working on; waits if others have all that are left.
    fn next(&self, tasks: &[Task], stop: &AtomicBool) -> Option<usize> {
        loop {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let free = {
                let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
                let free = left.iter().position(|&n| holder(&tasks[n]).is_none());
                if left.is_empty() {
                    return None;
                }
                for &n in left.iter() {
                    self.tell(n, &tasks[n], free.is_some());
                }
                free.and_then(|place| left.remove(place))
            };
            match free {
                Some(n) => return Some(n),
                None => std::thread::sleep(LOOK * 4),
            }
        }
    }

    /// Reports once that another process has a task, when nothing else is left to do. The first
    /// process of a crew reports it for all.
    fn tell(&self, n: usize, task: &Task, others: bool) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if others || !self.crew.is_first() || announced.contains(&n) {
            return;
        }
        if let Some(holder) = holder(task) {
            announced.push(n);
            say(&format!("waiting: another process ({holder}) is working in {}", task.folder.display()));
        }
    }

    /// `, about 12 min left for all runs`, from those that are done.
    fn time_left(&self) -> String {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).len() + 1;
        let Some(mean) = spent.iter().sum::<Duration>().checked_div(spent.len() as u32) else { return String::new() };
        let rounds = u32::try_from(left.div_ceil(self.at_once)).unwrap_or(u32::MAX);
        format!(", about {} left for all runs", human(mean.saturating_mul(rounds)))
    }

    fn put_back(&self, n: usize) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push_back(n);
    }

    /// Does one task; nothing becomes of it here when another process has it after all.
    fn one(&self, n: usize, task: &Task, device: &str, stop: &AtomicBool) -> Option<Fate> {
        let _claim = match self.crew.claim(task) {
            Ok(Some(claim)) => claim,
            Ok(None) => return None,
            Err(error) => {
                say(&error.to_string());
                return Some(Fate::Failed(error.message().to_string()));
            }
        };
        // It may have been finished while this process waited.
        if matches!(task.look(), Ok(State::Done)) {
            return Some(Fate::Worked(task.state));
        }
        if let Some(why) = self.crew.given_up(task) {
            return Some(Fate::Failed(why));
        }
        let on = if device.is_empty() { String::new() } else { format!(" on {device}") };
        say(&format!("run {} of {}: {}{on}{}", n + 1, self.all, task.title(), self.time_left()));
        let began = Instant::now();
        let name = if self.several { format!("[{}] ", task.title()) } else { String::new() };
        self.crew.tell(task, None);
        match attempt(task, device, self.crew, &name, stop) {
            Ok(Some(state)) => {
                self.spent.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
                Some(Fate::Worked(state))
            }
            Ok(None) => Some(Fate::Stopped),
            Err(error) if error.kind() == ErrorKind::InUse => None,
            Err(error) => {
                say(&format!("{name}{error}"));
                self.crew.tell(task, Some(error.message()));
                Some(Fate::Failed(error.message().to_string()))
            }
        }
    }
}

fn holder(task: &Task) -> Option<String> {
    Folder::named(&task.folder).holder()
}

/// Trains and evaluates as far as needed; returns the initial state, or `None` if it was stopped.
fn attempt(task: &Task, device: &str, crew: &Crew, name: &str, stop: &AtomicBool) -> Result<Option<State>> {
    let child = |words: &[&str], more: &[String]| child(words, task, more, device, crew, name, stop);
    // Another process may have worked on it since the plan was made.
    let mut state = task.look()?;
    let begun = state;
    if state == State::New {
        match task.prepare() {
            Err(_) if task.look()? != State::New => state = task.look()?,
            made => made?,
        }
    }
    let suite = task.suite();
    if state < State::Trained {
        // Its own evaluation follows at once, unless a different one is requested.
        let words = ["train", "--attended", "--no-eval", "--resume"];
        let words: Vec<&str> = words.into_iter().filter(|word| *word != "--no-eval" || !suite.is_empty()).collect();
        if !child(&words, &[])? {
            return Ok(None);
        }
        state = if suite.is_empty() { State::Done } else { State::Trained };
    }
    if state < State::Done {
        // `foil eval` takes no lock, and one evaluation is enough.
        let _lock = Folder::open(&task.folder)?.lock()?;
        if !child(&["eval", "--"], &suite)? {
            return Ok(None);
        }
    }
    Ok(Some(begun))
}

/// Runs `foil WORDS FOLDER MORE` as a child process; false if it was stopped.
fn child(
    words: &[&str],
    task: &Task,
    more: &[String],
    device: &str,
    crew: &Crew,
    name: &str,
    stop: &AtomicBool,
) -> Result<bool> {
    let mut command = foil::program::command()?;
    command.args(words).arg(&task.folder).args(more).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    Launch::hide_from(&mut command);
    let own = crew.gpu.filter(|_| task.wanted.pipeline.device != "cpu").map(|gpu| format!("cuda:{gpu}"));
    if let Some(device) = Some(device).filter(|device| !device.is_empty()).or(own.as_deref()) {
        command.env(DEVICE, device);
    }
    if let Some(threads) = crew.threads {
        command.env("OMP_NUM_THREADS", threads.to_string());
    }
    let mut process = command.spawn().at("starting", Path::new("foil"))?;
    let errors = process.stderr.take();
    let tail = std::thread::scope(|scope| {
        let pass_on = scope.spawn(|| errors.map(|errors| pass_on(BufReader::new(errors), name)).unwrap_or_default());
        let ended = watch(&mut process, words.contains(&"eval"), stop); // an evaluation has nothing to save
        pass_on
            .join()
            .map(|tail| ended.map(|code| (code, tail)))
            .unwrap_or_else(|_| Err(Error::new("its log was lost")))
    });
    match tail? {
        (Some(0), _) => Ok(true),
        (Some(130), _) => Ok(false),
        (code, tail) if !stop.load(Ordering::Relaxed) => Err(failure(code, &tail)),
        _ => Ok(false),
    }
}

/// Waits until the process ends. When `stop` is set, asks it to save and end, or with `kill` ends
/// it.
fn watch(process: &mut Child, kill: bool, stop: &AtomicBool) -> Result<Option<i32>> {
    loop {
        if let Some(status) = process.try_wait().at("waiting for", Path::new("foil"))? {
            return Ok(status.code());
        }
        if stop.load(Ordering::Relaxed) {
            match kill {
                true => process.kill().at("ending", Path::new("foil"))?,
                false => drop(process.stdin.take()), // closing its input makes it save and end
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Forwards the lines of a process, prefixed with `name`, and returns the last ones.
fn pass_on(lines: impl BufRead, name: &str) -> Vec<String> {
    let mut tail = VecDeque::new();
    for line in lines.lines().map_while(Result::ok) {
        // Its hint on how to resume is for the run, not for the comparison.
        if !line.starts_with("stopped and saved; ") {
            say(&format!("{name}{line}"));
        }
        tail.push_back(line);
        if tail.len() > KEPT {
            tail.pop_front();
        }
    }
    tail.into()
}

/// The error of a process that failed, from its last lines.
fn failure(code: Option<i32>, tail: &[String]) -> Error {
    let message = tail.iter().rev().find_map(|line| line.strip_prefix("error: "));
    match (message, code) {
        (Some(message), _) => Error::new(message),
        (None, Some(code)) => Error::new(format!("it ended with exit code {code}")),
        (None, None) => Error::new("it was killed").help("was there enough memory? see `dmesg`"),
    }
}

/// A closed terminal does not stop the work.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
