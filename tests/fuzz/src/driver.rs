//! Starts a worker for each target, watches it, and keeps the inputs that fail.

use crate::Args;
use crate::targets::Target;
use crate::worker::{INPUT, fault};
use std::fs;
use std::io::{BufRead, BufReader, Result};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// KiB of addresses that a worker has: libtorch takes several GiB before it does anything.
const ADDRESSES: u64 = 16 << 20;
/// A target is given up after this many failures.
const ENOUGH: usize = 10;

/// What came of a target.
#[derive(Debug, Default)]
struct Sum {
    cases: u64,
    taken: u64,
    refused: u64,
    failed: usize,
    slowest: u64,
    most: u64,
    seconds: f64,
}

/// Runs the targets one after the other, prints a table, and fails if a case did.
pub fn run(targets: &[Box<dyn Target>], args: &Args) -> ExitCode {
    println!("target                  cases     read   refused  failed  slowest    most  time");
    let mut failed = 0;
    for target in targets {
        match one(target.as_ref(), args) {
            Ok(sum) => {
                let Sum { cases, taken, refused, slowest, most, seconds, .. } = sum;
                println!(
                    "{:<20}{cases:>9}{taken:>9}{refused:>10}{:>8}{slowest:>6} ms{most:>4} MiB{seconds:>4.0} s",
                    target.name(),
                    sum.failed
                );
                failed += sum.failed;
            }
            Err(error) => {
                eprintln!("error: {}: {error}", target.name());
                return ExitCode::FAILURE;
            }
        }
    }
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn one(target: &dyn Target, args: &Args) -> Result<Sum> {
    let (mut sum, started) = (Sum::default(), Instant::now());
    let cases = args.cases.or(args.seconds.is_none().then(|| target.cases()));
    let mut next = 0;
    while sum.failed < ENOUGH && cases.is_none_or(|cases| next < cases) {
        let left = args.seconds.map(|seconds| seconds.saturating_sub(started.elapsed().as_secs()));
        if left == Some(0) {
            break;
        }
        let folder = tempfile::tempdir()?;
        let mut worker = Worker::start(target, folder.path(), args, cases, left, next)?;
        let ended = worker.watch(2 * target.longest(), &mut |case, why| {
            sum.failed += 1;
            report(target.name(), args, &fault(folder.path(), case), case, why)
        })?;
        sum.taken += worker.sum[0];
        sum.refused += worker.sum[1];
        (sum.slowest, sum.most) = (sum.slowest.max(worker.sum[2]), sum.most.max(worker.sum[3]));
        let Some(case) = worker.case else {
            return Err(std::io::Error::other(format!("the worker could not begin: {ended:?}")));
        };
        next = case + 1;
        match ended {
            Ended::Done => break,
            Ended::Hung => {
                let why = format!("it took more than {:.0?}", 2 * target.longest());
                sum.failed += 1;
                report(target.name(), args, &folder.path().join(INPUT), case, &why)?;
            }
            Ended::Died(status) => {
                let said = fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
                let last = said.lines().last().unwrap_or_default();
                let why = match status.signal() {
                    Some(signal) => format!("signal {signal} ended it: {last}"),
                    None => format!("it ended with {status}: {last}"),
                };
                sum.failed += 1;
                report(target.name(), args, &folder.path().join(INPUT), case, &why)?;
            }
        }
    }
    (sum.cases, sum.seconds) = (next, started.elapsed().as_secs_f64());
    Ok(sum)
}

/// Keeps an input, and says how to repeat it.
fn report(target: &str, args: &Args, input: &Path, case: u64, why: &str) -> Result<()> {
    fs::create_dir_all(&args.keep)?;
    let kept: PathBuf = args.keep.join(format!("{target}-{}-{case}", args.seed));
    fs::copy(input, &kept)?;
    let short: String = why.chars().take(600).collect();
    println!("{target}, case {case}: {short}\n  again: cargo xtask fuzz {target} --replay {}", kept.display());
    Ok(())
}

/// How a worker ended.
#[derive(Debug)]
enum Ended {
    Done,
    Hung,
    Died(ExitStatus),
}

struct Worker {
    child: std::process::Child,
    lines: mpsc::Receiver<String>,
    /// The case it is at.
    case: Option<u64>,
    /// Cases read and refused, slowest in ms, most memory in MiB.
    sum: [u64; 4],
}

impl Worker {
    fn start(
        target: &dyn Target,
        folder: &Path,
        args: &Args,
        cases: Option<u64>,
        seconds: Option<u64>,
        from: u64,
    ) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {ADDRESSES}; exec \"$@\""), "sh"]).arg(std::env::current_exe()?);
        command.arg(target.name()).arg("--worker").arg(folder).args(["--seed", &args.seed.to_string()]);
        command.args(["--from", &from.to_string()]);
        command.args(cases.iter().flat_map(|cases| ["--cases".into(), cases.to_string()]));
        command.args(seconds.iter().flat_map(|seconds| ["--seconds".into(), seconds.to_string()]));
        let threads = ["OMP_NUM_THREADS", "RAYON_NUM_THREADS"];
        command.envs(threads.map(|name| (name, "1"))).env_remove("FOIL_PLUGINS").env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(folder.join("stderr"))?);
        let mut child = command.spawn()?;
        let (send, lines) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
            });
        }
        Ok(Self { child, lines, case: None, sum: [0; 4] })
    }

    fn count(&mut self, sum: &str) {
        for (to, number) in self.sum.iter_mut().zip(sum.split(' ')) {
            *to = number.parse().unwrap_or_default();
        }
    }

    /// Follows it to its end, or until a case takes longer than `longest`; `fault` hears of each
    /// fault that it found itself.
    fn watch(&mut self, longest: Duration, fault: &mut dyn FnMut(u64, &str) -> Result<()>) -> Result<Ended> {
        let mut found = 0;
        loop {
            // Before the first case it makes its seeds.
            let patience = if self.case.is_none() { Duration::from_secs(120) } else { longest };
            match self.lines.recv_timeout(patience) {
                Ok(line) => match line.split_once(' ').unwrap_or((&line, "")) {
                    ("case", numbers) => {
                        let (n, sum) = numbers.split_once(' ').unwrap_or((numbers, ""));
                        self.case = n.parse().ok();
                        self.count(sum);
                    }
                    ("fault", why) => {
                        fault(self.case.unwrap_or_default(), why)?;
                        found += 1;
                        if found >= ENOUGH {
                            self.child.kill()?;
                            self.child.wait()?;
                            return Ok(Ended::Done);
                        }
                    }
                    ("done", sum) => {
                        self.count(sum);
                        self.child.wait()?;
                        return Ok(Ended::Done);
                    }
                    _ => {} // what a library printed
                },
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    self.child.wait()?;
                    return Ok(Ended::Hung);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Died(self.child.wait()?)),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
