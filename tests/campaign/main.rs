//! A campaign against training: processes are killed and stopped at random moments, disks fill up,
//! and bits flip in what is on them. A run ends with the same bits as an undisturbed one, or says
//! what is damaged.
//!
//! `cargo test` makes a small one. For a long one:
//!
//! ```console
//! $ cargo test --release --test campaign -- --chains 50 --flips 500 --hours 1 --seed 7
//! ```
//!
//! docs/reliability.md has the figures. Single cases are in `resume.rs` (kills at moments that are
//! hard to hit), `interrupt.rs` (signals) and `trust.rs` (damage, disks).

mod chains;
mod flips;
mod options;
#[path = "../tiny/mod.rs"]
mod tiny;

use options::Options;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Knuth's MMIX generator.
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream);
        for _ in 0..4 {
            random.below(2); // neighbouring seeds begin alike
        }
        random
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }

    /// A part of `time`.
    fn part(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.below(1 << 20) as f64 / f64::from(1 << 20))
    }
}

/// How often each thing happened.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn of(&self, start: &str) -> u64 {
        self.0.iter().filter(|(what, _)| what.starts_with(start)).map(|(_, n)| n).sum()
    }
}

fn main() {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return,
        Err(why) => {
            eprintln!("error: {why}\n  help: {}", options::HELP);
            std::process::exit(2);
        }
    };
    let (mut tally, started) = (Tally::default(), Instant::now());
    let on_time = || options.hours.is_none_or(|hours| started.elapsed() < Duration::from_secs_f64(3600.0 * hours));
    let chains = chains::all(&options, &on_time, &mut tally);
    let flips = flips::all(&options, &on_time, &mut tally);
    println!("{chains} chains and {flips} flips of seed {} in {:.0?}:", options.seed, started.elapsed());
    tally.0.iter().for_each(|(what, n)| println!("  {n:>6}  {what}"));
    // What never happened was not tried.
    if options.chains >= 4 {
        assert!(tally.of("blow: ") >= 4, "too few blows: {tally:?}");
    }
}
