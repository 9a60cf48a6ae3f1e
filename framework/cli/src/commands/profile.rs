//! `foil profile`: where a step's time goes.

use super::Exit;
use super::steps::Steps;
use crate::report::{Cell, Column, Style, Table};
use foil::Result;
use foil::cuda;
use foil::distributed::World;
use foil::engine::{Capture, watched};
use foil::shim::{Calls, kernels, record};
use foil_runs::pipeline::load;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Show where the time of a training step goes, by phase, by operator and, on a GPU, by kernel.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil profile configs/demo/at.yaml
  foil profile configs/cifar10/trades.yaml train.batch_size=128 train.precision=bf16 --top 30

It runs steps one operation at a time, on random images. On CUDA it waits for the device after each phase and, for the second table,
around each operator, so the sums exceed the time of a captured step, which the first line gives. The third table is of steps as in
training: what the GPU did, without its pauses.")]
pub(super) struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Overrides.
    overrides: Vec<String>,
    /// Steps to measure, after two warm-up steps.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// How many operators and kernels to show.
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// CPU threads (default: one per core).
    #[arg(long)]
    threads: Option<i32>,
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    let runs = args.runs.max(1);
    let loaded = load(&args.file, &args.overrides)?;
    let mut as_trained = Steps::new(&loaded, None, World::alone())?;
    let whole = seconds(&mut as_trained, runs)?;
    let on_device = match as_trained.device.is_cuda() {
        true => Some(kernels(|| (0..runs).try_for_each(|_| as_trained.take()))?),
        false => None,
    };
    drop(as_trained);
    let mut steps = Steps::new(&loaded, Some(Capture::Off), World::alone())?;
    let apart = seconds(&mut steps, runs)?;
    println!(
        "{}, batch {}, {:?}, {} threads: {:.2} ms a step as in training, {:.2} ms one operation at a time\n",
        steps.pipeline.name.as_deref().unwrap_or("run"),
        steps.images(),
        steps.device,
        tch::get_num_threads(),
        whole * 1e3,
        apart * 1e3,
    );

    let (done, phases) = watched(steps.device, || (0..runs).try_for_each(|_| steps.take()));
    done?;
    let phases = phases.into_iter().map(|(name, seconds)| Line { name: name.into(), calls: None, seconds }).collect();
    println!("{}", table("Phases", phases, runs, usize::MAX).terminal(Style::stdout()));

    let (done, calls) = record(cuda::waiting(), || (0..runs).try_for_each(|_| steps.take()))?;
    done?;
    let operators = longest_first(calls);
    println!("{}", table("Operators, without those they call", operators, runs, args.top).terminal(Style::stdout()));

    if let Some((done, calls)) = on_device {
        done?;
        let kernels = longest_first(calls);
        let [count, seconds] = [|k: &Line| k.calls.unwrap_or(0) as f64, |k: &Line| k.seconds * 1e3]
            .map(|of| kernels.iter().map(of).sum::<f64>() / f64::from(runs));
        println!("{}", table("Kernels of a step as in training", kernels, runs, args.top).terminal(Style::stdout()));
        println!("{count:.0} kernels a step, {seconds:.2} ms in all");
    }
    Ok(ExitCode::SUCCESS)
}

fn longest_first(calls: Vec<Calls>) -> Vec<Line> {
    let line = |c: Calls| Line { name: short(&c.name), calls: Some(c.count), seconds: c.seconds };
    let mut lines: Vec<Line> = calls.into_iter().map(line).collect();
    lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    lines
}

/// A kernel's C++ name without common parts, at a length that fits a terminal.
fn short(name: &str) -> String {
    const LENGTH: usize = 100;
    let name = ["void ", "at::native::", "(anonymous namespace)::", "cutlass::"]
        .iter()
        .fold(name.to_string(), |name, all_have| name.replace(all_have, ""));
    match name.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// The median time of a step.
fn seconds(steps: &mut Steps, runs: u32) -> Result<f64> {
    let mut times = Vec::new();
    for run in 0..runs + 2 {
        let start = Instant::now();
        steps.take()?;
        if run >= 2 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// A line of the table: a part of the time of all steps.
struct Line {
    name: String,
    calls: Option<u64>,
    seconds: f64,
}

fn table(title: &str, lines: Vec<Line>, runs: u32, top: usize) -> Table {
    let (runs, total) = (f64::from(runs), lines.iter().map(|line| line.seconds).sum::<f64>());
    let mut columns = vec![Column::text(title)];
    columns.extend(["ms/step", "%", "calls/step"].map(Column::number));
    columns[2].decimals = 1;
    columns[3].decimals = 0;
    let row = |line: Line| {
        vec![
            Cell::Text(line.name),
            Cell::Number(line.seconds / runs * 1e3),
            Cell::Number(line.seconds / total * 100.0),
            line.calls.map_or(Cell::Missing, |calls| Cell::Number(calls as f64 / runs)),
        ]
    };
    Table { title: String::new(), columns, rows: lines.into_iter().take(top).map(row).collect() }
}
