//! Progress of long work: a bar in a terminal, occasional lines elsewhere.
//!
//! ```text
//! epoch 3/140 ━━━━━━╸───────────── 120/391  25.3 it/s, 11 s left, loss 1.048, natural 0.512
//! epoch 3/140: 120/391, 25.3 it/s, 11 s left, loss 1.048, natural 0.512
//! epoch 3/140: 391 in 15 s, 25.9 it/s, clean_acc 83.25, pgd10_acc 49.61
//! ```
//! The last line is what remains of both. All of it goes to standard error; results go elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar asks for a new message, which may have to wait for the device.
const BAR: Duration = Duration::from_millis(250);
/// How often a log gets a line.
const LINE: Duration = Duration::from_secs(10);

/// The progress of one piece of work: an epoch, an attack on a test set.
pub struct Progress {
    label: String,
    total: u64,
    past: u64,
    started: Instant,
    shown: Instant,
    every: Duration,
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
    Nothing,
}

impl Progress {
    /// Starts work called `label` of `total` steps; 0 if the number is unknown.
    ///
    /// It is shown as a bar when standard error is a terminal, and as lines when it is not, when
    /// `CI` is set, or when `TERM=dumb`. A `NO_COLOR` that is not empty takes the colour out of the
    /// bar.
    pub fn new(label: impl Into<String>, total: u64) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stderr().is_terminal() || set("CI") || dumb {
            return Progress::lines(label, total, io::stderr());
        }
        let label = label.into();
        let bar = ProgressBar::new(total).with_style(style(total > 0, !set("NO_COLOR"))).with_prefix(label.clone());
        Progress::start(label, total, BAR, Show::Bar(bar))
    }

    /// Starts work that is shown as lines in `out`.
    pub fn lines(label: impl Into<String>, total: u64, out: impl Write + Send + 'static) -> Self {
        Progress::start(label.into(), total, LINE, Show::Lines(Box::new(out)))
    }

    /// Work that is not shown: another process shows it.
    pub fn hidden() -> Self {
        Progress::start(String::new(), 0, LINE, Show::Nothing)
    }

    fn start(label: String, total: u64, every: Duration, show: Show) -> Self {
        let now = Instant::now();
        Progress { label, total, past: 0, started: now, shown: now, every, show }
    }

    /// Says that `n` more steps are done. `message`, such as the loss and its parts, is only called
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
                let of = if self.total > 0 { format!("{}/{}", self.past, self.total) } else { self.past.to_string() };
                print(out, &format!("{}: {}", self.label, join([of, facts])));
            }
            Show::Nothing => {}
        }
        self.shown = Instant::now(); // measured after the message, so that a slow one is not requested more often
    }

    /// Ends the work: the bar is replaced by one line with `message`. Work that is dropped instead
    /// leaves nothing.
    pub fn done(mut self, message: &str) {
        let took = format!("{} in {}", self.past, human(self.started.elapsed()));
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

    /// Steps per second since the start, or seconds per step if it is slow.
    fn rate(&self) -> String {
        let rate = self.past as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        match rate {
            0.0 => String::new(),
            _ if rate < 1.0 => format!("{:.1} s/it", 1.0 / rate),
            _ => format!("{rate:.1} it/s"),
        }
    }

    fn left(&self) -> String {
        if self.past == 0 || self.past >= self.total {
            return String::new();
        }
        let share = (self.total - self.past) as f64 / self.past as f64;
        let left = Duration::try_from_secs_f64(self.started.elapsed().as_secs_f64() * share);
        left.map_or(String::new(), |left| format!("{} left", human(left)))
    }
}

/// A bar with a total, or a count with a sign of life.
fn style(total: bool, colour: bool) -> ProgressStyle {
    let template = match (total, colour) {
        (true, true) => "{prefix} {bar:20.cyan/dim} {pos}/{len}  {wide_msg}",
        (true, false) => "{prefix} {bar:20} {pos}/{len}  {wide_msg}",
        (false, _) => "{spinner} {prefix} {pos}  {wide_msg}",
    };
    // A test reads all the templates, which are constants; the default only avoids a panic.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
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
        let mut progress = Progress::lines("epoch 1/2", 100, log.clone());
        for _ in 0..100 {
            progress.tick(1, || unreachable!());
        }
        progress.done("clean_acc 83.25");
        let lines = log.lines();
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("epoch 1/2: 100 in 0.0 s, ") && lines[0].ends_with(" it/s, clean_acc 83.25"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_long_one_says_where_it_is() {
        let log = Log::default();
        let mut progress = Progress::lines("pgd20", 10_000, log.clone());
        progress.started -= Duration::from_secs(20);
        progress.shown -= LINE;
        progress.tick(4000, || "accuracy 55.30".into());
        progress.tick(1, || unreachable!());
        drop(progress);
        assert_eq!(log.lines(), ["pgd20: 4000/10000, 200.0 it/s, 30 s left, accuracy 55.30"]);
    }

    #[test]
    fn odd_totals() {
        for (total, expected) in [(0, "work: 5, 2.0 s/it"), (5, "work: 5/5, 2.0 s/it"), (4, "work: 5/4, 2.0 s/it")] {
            let log = Log::default();
            let mut progress = Progress::lines("work", total, log.clone());
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
            style(total, colour);
        }
    }
}
