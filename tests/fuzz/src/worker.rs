//! The process that runs cases. It says on standard output which one it is at, so that its parent
//! knows what a hang or a crash was about; the input lies in its folder.

use crate::targets::Target;
use crate::verdict::{MOST_MIB, Verdict};
use crate::{Args, mutate};
use fastrand::Rng;
use std::any::Any;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The file in the worker's folder that holds the case's input.
pub const INPUT: &str = "input";

/// Where the input of a case with a fault is kept.
pub fn fault(folder: &Path, case: u64) -> PathBuf {
    folder.join(format!("fault-{case}"))
}

/// The target's case number `n`: its seeds first, then changed ones.
fn case(target: &dyn Target, seeds: &[Vec<u8>], seed: u64, n: u64) -> Vec<u8> {
    if let Some(whole) = usize::try_from(n).ok().and_then(|n| seeds.get(n)) {
        return whole.clone();
    }
    let name = target.name().bytes().fold(seed, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    let mut random = Rng::with_seed(name.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n);
    match random.choice(seeds) {
        Some(chosen) => target.change(&mut random, chosen, seeds),
        None => mutate::bytes(&mut random, &[], seeds),
    }
}

/// Runs cases from `args.from` until there were enough, and says how each went that matters.
pub fn run(target: &dyn Target, folder: &Path, args: &Args) -> ExitCode {
    remember_panics();
    let seeds = target.seeds();
    let (mut taken, mut refused, mut slowest, mut most) = (0u64, 0u64, Duration::ZERO, 0u64);
    let started = Instant::now();
    let mut out = std::io::stdout();
    let cases = args.cases.unwrap_or(u64::MAX);
    let mut n = args.from;
    while n < cases && args.seconds.is_none_or(|seconds| started.elapsed() < Duration::from_secs(seconds)) {
        let input = case(target, &seeds, args.seed, n);
        let sum = format!("{taken} {refused} {} {most}", slowest.as_millis());
        let ready = fs::write(folder.join(INPUT), &input).and_then(|()| writeln!(out, "case {n} {sum}"));
        if ready.and_then(|()| out.flush()).is_err() {
            return ExitCode::FAILURE; // nobody listens any more
        }
        let measured = measure(target, &input);
        (slowest, most) = (slowest.max(measured.time), most.max(measured.mib));
        match measured.verdict {
            Verdict::Taken => taken += 1,
            Verdict::Refused(_) => refused += 1,
            Verdict::Fault(why) => {
                // The next case takes the file's name.
                let _ = fs::copy(folder.join(INPUT), fault(folder, n));
                println!("fault {}", foil::error::shown(&why).replace('\n', "\\n"));
            }
        }
        n += 1;
    }
    println!("done {taken} {refused} {} {most}", slowest.as_millis());
    ExitCode::SUCCESS
}

/// Runs one file, here and now: where it crashes, so does this.
pub fn replay(target: &dyn Target, file: &Path) -> ExitCode {
    let input = match fs::read(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    let Measured { verdict, time, mib } = measure(target, &input);
    println!("{verdict:?}, {time:.1?}, {mib} MiB");
    if matches!(verdict, Verdict::Fault(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Measured {
    verdict: Verdict,
    time: Duration,
    mib: u64,
}

/// Runs a case, and finds fault with panics, and with too much time or memory.
fn measure(target: &dyn Target, input: &[u8]) -> Measured {
    let before = memory("VmRSS:");
    let _ = fs::write("/proc/self/clear_refs", "5"); // VmHWM is the largest since now
    let started = Instant::now();
    let verdict = catch_unwind(AssertUnwindSafe(|| target.run(input))).unwrap_or_else(|panic| {
        let place = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        Verdict::Fault(format!("it panicked: {}{place}", text_of(panic.as_ref())))
    });
    let time = started.elapsed();
    let mib = memory("VmHWM:").saturating_sub(before) / 1024;
    let verdict = match verdict {
        Verdict::Fault(_) => verdict,
        _ if mib > MOST_MIB => Verdict::Fault(format!("it took {mib} MiB")),
        _ if time > target.longest() => Verdict::Fault(format!("it took {time:.1?}")),
        _ => verdict,
    };
    Measured { verdict, time, mib }
}

/// A line of Linux's account of this process, in KiB; 0 where there is none.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
    found.unwrap_or(0)
}

/// Where the last panic was.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }));
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("something")
}
