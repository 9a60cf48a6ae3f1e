//! Progress of long work: a bar in a terminal, occasional lines elsewhere.
//!
//! ```text
//! epoch 3/140 ━━━━━━╸───────────── 120/391 steps  25.3 steps/s, 11 s left, loss 1.048, natural 0.512
//! epoch 3/140: 120/391 steps, 25.3 steps/s, 11 s left, loss 1.048, natural 0.512
//! epoch 3/140: 391 steps in 15 s, 25.9 steps/s, clean_acc 83.25, pgd10_acc 49.61
//! ```
//! The last line is what remains of both. All of it goes to standard error; results go elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar asks for a new message, which may have to wait for the device.
const BAR: Duration = Duration::from_millis(250);
/// How often a log gets a line.
const LINE: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    one: &'static str,
    many: &'static str,
}

impl Unit {
    /// Steps of training.
    pub const STEPS: Self = Self { one: "step", many: "steps" };
    /// Images under an attack.
    pub const IMAGES: Self = Self { one: "image", many: "images" };
    /// Networks to train.
    pub const NETWORKS: Self = Self { one: "network", many: "networks" };
    /// Attacks to measure.
    pub const ATTACKS: Self = Self { one: "attack", many: "attacks" };
    /// Methods to show.
    pub const METHODS: Self = Self { one: "method", many: "methods" };

    fn of(self, count: u64) -> &'static str {
        if count == 1 { self.one } else { self.many }
    }
}

/// The progress of one piece of work: an epoch, an attack on a test set.
pub struct Progress {
    label: String,
    total: u64,
    unit: Unit,
    past: u64,
    /// Of these, what was done before the work began here.
    before: u64,
    started: Instant,
    shown: Instant,
    every: Duration,
    show: Show,
}

/// Shows the reading of a data set that takes longer than a moment, until `ended`.
pub fn reading(name: &str, progress: &foil::data::Reading, ended: &AtomicBool) {
    let started = Instant::now();
    let mut bar: Option<(Progress, u64)> = None;
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let (done, of) = progress.state();
        if bar.is_none() && of > 0 && started.elapsed() > Duration::from_millis(500) {
            bar = Some((Progress::new(format!("reading {name}"), of, Unit::IMAGES), 0));
        }
        if let Some((bar, shown)) = &mut bar
            && done > *shown
        {
            bar.tick(done - *shown, String::new);
            *shown = done;
        }
    }
    if let Some((bar, _)) = bar {
        bar.done("");
    }
}

enum Show {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
    Nothing,
}

impl Progress {
    /// Starts work called `label` of `total` units; 0 if the number is unknown.
    ///
    /// It is shown as a bar when standard error is a terminal, and as lines when it is not, when
    /// `CI` is set, or when `TERM=dumb`. A `NO_COLOR` that is not empty takes the colour out of the
    /// bar.
    pub fn new(label: impl Into<String>, total: u64, unit: Unit) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stderr().is_terminal() || set("CI") || dumb {
            return Progress::lines(label, total, unit, io::stderr());
        }
        let label = label.into();
        let bar =
            ProgressBar::new(total).with_style(style(total > 0, unit, !set("NO_COLOR"))).with_prefix(label.clone());
        Progress::start(label, total, unit, BAR, Show::Bar(bar))
    }

    /// Starts work that is shown as lines in `out`.
    pub fn lines(label: impl Into<String>, total: u64, unit: Unit, out: impl Write + Send + 'static) -> Self {
        Progress::start(label.into(), total, unit, LINE, Show::Lines(Box::new(out)))
    }

    /// Work that is not shown: another process shows it.
    pub fn hidden() -> Self {
        Progress::start(String::new(), 0, Unit::STEPS, LINE, Show::Nothing)
    }

    fn start(label: String, total: u64, unit: Unit, every: Duration, show: Show) -> Self {
        let now = Instant::now();
        Progress { label, total, unit, past: 0, before: 0, started: now, shown: now, every, show }
    }

    /// The same work, begun at `started`, before it was known what it is.
    #[must_use]
    pub fn since(self, started: Instant) -> Self {
        Self { started, ..self }
    }

    /// The same work, of which `n` units were done in an earlier session: they tell nothing of its
    /// pace.
    #[must_use]
    pub fn resumed_after(self, n: u64) -> Self {
        Self { past: n, before: n, ..self }
    }

    /// Units in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Says that `n` more units are done. `message`, such as the loss and its parts, is only called
    /// when something is about to be shown: at most four times a second for a bar, every ten
    /// seconds for lines. So it may read from the device.
    pub fn tick(&mut self, n: u64, message: impl FnOnce() -> String) {
        self.past = self.past.saturating_add(n);
        if let Show::Bar(bar) = &self.show {
            bar.set_position(self.past);
        }
        if self.shown.elapsed() < self.every || matches!(self.show, Show::Nothing) {
            return;
        }
        let facts = join([self.rate(), self.left(), message()]);
        match &mut self.show {
            Show::Bar(bar) => bar.set_message(facts),
            Show::Lines(out) => {
                let (past, total) = (self.past, self.total);
                let of = if total > 0 { format!("{past}/{total}") } else { past.to_string() };
                let of = format!("{of} {}", self.unit.of(total.max(past)));
                print(out, &format!("{}: {}", self.label, join([of, facts])));
            }
            Show::Nothing => {}
        }
        self.shown = Instant::now(); // measured after the message, so that a slow one is not requested more often
    }

    /// Ends the work: the bar is replaced by one line with `message`. Work that is dropped instead
    /// leaves nothing.
    pub fn done(mut self, message: &str) {
        let took =
            format!("{} {} in {}", self.past - self.before, self.unit.of(self.past), human(self.started.elapsed()));
        let line = format!("{}: {}", self.label, join([took, self.rate(), message.to_string()]));
        match &mut self.show {
            Show::Bar(bar) => {
                bar.finish_and_clear();
                print(&mut io::stderr(), &line);
            }
            Show::Lines(out) => print(out, &line),
            Show::Nothing => {}
        }
    }

    /// Units a second, or seconds a unit where that is slow, since the start.
    fn rate(&self) -> String {
        let rate = (self.past - self.before) as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        match rate {
            0.0 => String::new(),
            _ if rate < 1.0 => format!("{:.1} s/{}", 1.0 / rate, self.unit.one),
            _ => format!("{rate:.1} {}/s", self.unit.many),
        }
    }

    fn left(&self) -> String {
        let here = self.past - self.before;
        if here == 0 || self.past >= self.total {
            return String::new();
        }
        let share = (self.total - self.past) as f64 / here as f64;
        let left = Duration::try_from_secs_f64(self.started.elapsed().as_secs_f64() * share);
        left.map_or(String::new(), |left| format!("{} left", human(left)))
    }
}

/// A bar with a total, or a count with a sign of life.
fn style(total: bool, unit: Unit, colour: bool) -> ProgressStyle {
    let unit = unit.many;
    let template = match (total, colour) {
        (true, true) => format!("{{prefix}} {{bar:20.cyan/dim}} {{pos}}/{{len}} {unit}  {{wide_msg}}"),
        (true, false) => format!("{{prefix}} {{bar:20}} {{pos}}/{{len}} {unit}  {{wide_msg}}"),
        (false, _) => format!("{{spinner}} {{prefix}} {{pos}} {unit}  {{wide_msg}}"),
    };
    // The templates are ours, and a test reads them all; the default is there to have no panic.
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

/// A failed write to the log does not stop the work.
fn print(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// `0.4 s`, `42 s`, `3 min 05 s`, `1 h 02 min`.
pub(crate) fn human(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(String::from).collect()
        }
    }

    #[test]
    fn a_short_epoch_is_one_line_and_its_messages_are_never_made() {
        let log = Log::default();
        let mut progress = Progress::lines("epoch 1/2", 100, Unit::STEPS, log.clone());
        for _ in 0..100 {
            progress.tick(1, || unreachable!());
        }
        progress.done("clean_acc 83.25");
        let lines = log.lines();
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("epoch 1/2: 100 steps in 0.0 s, ") && lines[0].ends_with(" steps/s, clean_acc 83.25"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_long_one_says_where_it_is() {
        let log = Log::default();
        let mut progress = Progress::lines("pgd20", 10_000, Unit::IMAGES, log.clone());
        progress.started -= Duration::from_secs(20);
        progress.shown -= LINE;
        progress.tick(4000, || "accuracy 55.30".into());
        progress.tick(1, || unreachable!());
        drop(progress);
        assert_eq!(log.lines(), ["pgd20: 4000/10000 images, 200.0 images/s, 30 s left, accuracy 55.30"]);
    }

    #[test]
    fn what_was_done_before_tells_nothing_of_the_pace() {
        let log = Log::default();
        let started = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let mut progress =
            Progress::lines("epoch 2/2", 200, Unit::STEPS, log.clone()).since(started).resumed_after(100);
        progress.shown -= LINE;
        progress.tick(20, String::new);
        progress.done("");
        let said = ["epoch 2/2: 120/200 steps, 2.0 steps/s, 40 s left", "epoch 2/2: 20 steps in 10 s, 2.0 steps/s"];
        assert_eq!(log.lines(), said);
    }

    #[test]
    fn odd_totals() {
        for (total, expected) in
            [(0, "work: 5 steps, 2.0 s/step"), (5, "work: 5/5 steps, 2.0 s/step"), (4, "work: 5/4 steps, 2.0 s/step")]
        {
            let log = Log::default();
            let mut progress = Progress::lines("work", total, Unit::STEPS, log.clone());
            progress.started -= Duration::from_secs(10);
            progress.shown -= LINE;
            progress.tick(5, String::new);
            assert_eq!(log.lines(), [expected]);
        }
    }

    #[test]
    fn times_and_templates() {
        let shown = [400, 42_000, 185_000, 3_725_000].map(|time| human(Duration::from_millis(time)));
        assert_eq!(shown, ["0.4 s", "42 s", "3 min 05 s", "1 h 02 min"]);
        for (total, colour) in [(true, true), (true, false), (false, true), (false, false)] {
            style(total, Unit::IMAGES, colour);
        }
    }
}
