//! `foil bench`: the time of a training step, and how near it is to what the device can do.

use super::steps::Steps;
use super::{Exit, json};
use crate::report::{Cell, Column, Style, Table};
use foil::cuda;
use foil::data::Augmenting;
use foil::distributed::{Agreement, World};
use foil::engine::{Ceiling, Precision, wait};
use foil::{AtPath, Error, Result};
use foil_runs::pipeline::{Pipeline, load};
use foil_runs::train::{At, Feed};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tch::{Device, Tensor};

/// Time training steps on random images: median time, images per second, and the share of the
/// device's measured peak.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil bench configs/demo/at.yaml
  foil bench configs/demo/at.yaml train.batch_size=100 attack.steps=20 --runs 20 --json
  foil bench --methods at,trades,mart --batch 128,512 train.precision=bf16 --json=steps.json
  torchrun --no-python --nproc-per-node 2 foil bench configs/demo/at.yaml          one step of both ranks together

With --methods or --batch it prints a table. It counts the operations of convolutions and linear layers (a multiply-add is two) and
the bytes of their inputs, weights and outputs, each moved once. The ceilings are measured in the same run, with a large matrix product
in the run's precision and a large copy.

Of a pipeline with `extra` it also measures how long a mixed batch takes to put together, on the pipeline's own images.")]
pub(super) struct Args {
    /// The pipeline file, and overrides.
    #[arg(required_unless_present = "methods")]
    words: Vec<String>,
    /// Names of pipelines in the folder of --configs.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    methods: Vec<String>,
    /// The folder that --methods are looked up in.
    #[arg(long, value_name = "DIR", default_value = "configs/cifar10")]
    configs: PathBuf,
    /// Batch sizes (default: the pipeline's).
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    batch: Vec<u64>,
    /// Steps to time, after three warm-up steps.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Print JSON; with FILE, write it there and print the table too.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// CPU threads (default: one per core).
    #[arg(long)]
    threads: Option<i32>,
}

/// The measurements of one pipeline.
#[derive(Debug, Serialize)]
struct Timing {
    name: String,
    attack: &'static str,
    loss: &'static str,
    model: &'static str,
    precision: Precision,
    batch: i64,
    device: String,
    threads: i32,
    /// The number of processes that share the batch, and their transport.
    ranks: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    runs: usize,
    /// Milliseconds per step: the median, the shortest and the longest.
    ms: f64,
    ms_min: f64,
    ms_max: f64,
    /// Of all ranks together.
    images_per_second: f64,
    /// The share of the steps' time that the first rank spent in all-reduce, including waiting for
    /// others; on CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_sums: Option<f64>,
    /// Operations and bytes of a step; with several ranks, of the first one's share.
    operations: f64,
    bytes: f64,
    /// Fractions of the ceilings, if these were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_arithmetic: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of_memory: Option<f64>,
    /// Milliseconds that it takes to put a batch together, with the images of `extra`; and the
    /// share of a step by which this is longer than without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mixing: Option<f64>,
    /// Seconds from the pipeline to its first step, and to its third, which is the first replay of
    /// a captured one.
    first_step_seconds: f64,
    third_step_seconds: f64,
    /// Bytes on a CUDA device: the most held by tensors, and the most allocated from the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<[u64; 2]>,
}

pub(super) fn run(args: &Args, world: World) -> Exit {
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    if args.runs == 0 {
        return Err(Error::new("--runs 0 measures nothing"));
    }
    let (files, overrides) = files(args)?;
    let single = args.methods.is_empty() && args.batch.is_empty();
    let mut ceiling = None;
    let mut timings = Vec::new();
    for file in &files {
        // Without --batch, one entry at the pipeline's own size.
        let sizes: Vec<Option<u64>> =
            if args.batch.is_empty() { vec![None] } else { args.batch.iter().copied().map(Some).collect() };
        for size in sizes {
            let mut overrides = overrides.clone();
            overrides.extend(size.map(|n| format!("train.batch_size={n}")));
            let timing = time(file, &overrides, args.runs, if single { None } else { Some(&mut ceiling) }, world)?;
            if !single && world.is_first() {
                eprintln!("{}, batch {}: {:.2} ms", timing.name, timing.batch, timing.ms);
            }
            timings.push(timing);
        }
    }
    if !world.is_first() {
        return Ok(ExitCode::SUCCESS);
    }
    match (&args.json, single) {
        (Some(to), true) if to == Path::new("-") => {
            println!("{}", serde_json::to_string(&timings[0]).map_err(Error::of)?);
        }
        (Some(to), false) if to == Path::new("-") => println!("{}", json(&timings)?),
        (to, true) => {
            println!("{}", line(&timings[0]));
            write(to.as_deref(), &timings)?;
        }
        (to, false) => {
            println!("{}", table(&timings).terminal(Style::stdout()));
            if let Some(Ceiling { fp32, bf16, memory }) = ceiling {
                println!(
                    "measured ceilings: {:.3} TFLOP/s fp32, {:.3} TFLOP/s bf16, {:.1} GB/s read and written",
                    fp32 / 1e12,
                    bf16 / 1e12,
                    memory / 1e9
                );
            }
            write(to.as_deref(), &timings)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(to: Option<&Path>, timings: &[Timing]) -> Result<()> {
    match to {
        Some(path) => foil::atomic::write(path, json(&timings)?).at("writing", path),
        None => Ok(()),
    }
}

/// The pipeline files, and the overrides.
fn files(args: &Args) -> Result<(Vec<PathBuf>, Vec<String>)> {
    if args.methods.is_empty() {
        let (file, overrides) = args.words.split_first().ok_or_else(|| Error::new("no file given"))?;
        return Ok((vec![file.into()], overrides.to_vec()));
    }
    if let Some(word) = args.words.iter().find(|word| !word.contains('=')) {
        return Err(Error::new(format!("`{word}` is not an override")).help("give a file or --methods, not both"));
    }
    let file = |name: &String| args.configs.join(format!("{name}.yaml"));
    Ok((args.methods.iter().map(file).collect(), args.words.clone()))
}

/// Times one pipeline, with all ranks; measures the ceilings too if this is the first pipeline
/// that needs them.
fn time(
    file: &Path,
    overrides: &[String],
    runs: usize,
    ceiling: Option<&mut Option<Ceiling>>,
    world: World,
) -> Result<Timing> {
    let loaded = load(file, overrides)?;
    if world.is_joined() {
        Agreement::default().with("pipeline", loaded.pipeline.to_yaml()?).with_program().reach(world)?;
    }
    let started = Instant::now();
    let mut steps = Steps::new(&loaded, None, world)?;
    let device = steps.device;
    if let Device::Cuda(n) = device {
        // Without the library the peak is neither reset nor reported.
        let _ = cuda::reset_peak(n);
    }
    let work = steps.work()?;
    let first_step_seconds = started.elapsed().as_secs_f64();
    steps.take()?;
    steps.take()?;
    let third_step_seconds = started.elapsed().as_secs_f64();
    let mut times = Vec::new();
    let before = world.spent_in_sums();
    for _ in 0..runs {
        let start = Instant::now();
        steps.take()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let in_sums = (world.spent_in_sums() - before).as_secs_f64() * 1e3 / times.iter().sum::<f64>();
    times.sort_by(f64::total_cmp);
    let ms = times[times.len() / 2];
    let pipeline = &steps.pipeline;
    let precision = pipeline.train.precision;
    // The other ranks wait meanwhile, so nothing disturbs the measurement.
    let shares = match ceiling.filter(|_| world.is_first()) {
        Some(Some(ceiling)) => Some(*ceiling),
        Some(unknown) => Some(*unknown.insert(Ceiling::of(device)?)),
        None => None,
    };
    let rate = |ceiling: Ceiling| if precision == Precision::Bf16 { ceiling.bf16 } else { ceiling.fp32 };
    let batch = batches(&steps, world, runs)?;
    Ok(Timing {
        name: pipeline.name.clone().unwrap_or_default(),
        attack: pipeline.attack.name(),
        loss: pipeline.loss.name(),
        model: pipeline.model.name(),
        precision,
        batch: steps.images(),
        device: format!("{device:?}"),
        threads: tch::get_num_threads(),
        ranks: world.size(),
        transport: world.transport(),
        runs: times.len(),
        ms,
        ms_min: times[0],
        ms_max: times[times.len() - 1],
        images_per_second: steps.images() as f64 / ms * 1e3,
        in_sums: (world.is_joined() && device == Device::Cpu).then_some(in_sums),
        operations: work.operations,
        bytes: work.bytes,
        of_arithmetic: shares.map(|ceiling| work.operations / (ms / 1e3) / rate(ceiling)),
        of_memory: shares.map(|ceiling| work.bytes / (ms / 1e3) / ceiling.memory),
        batch_ms: batch.map(|(with, _)| with),
        mixing: batch.map(|(with, without)| (with - without) / ms),
        first_step_seconds,
        third_step_seconds,
        memory: if let Device::Cuda(n) = device { cuda::peak(n).ok() } else { None },
    })
}

/// Milliseconds that putting a batch together takes (the median), with the images of `extra` and
/// without; `None` for a pipeline that mixes in none. Nothing else runs meanwhile, so that the
/// whole work counts, also what a run's thread does beside a step.
fn batches(steps: &Steps, world: World, runs: usize) -> Result<Option<(f64, f64)>> {
    let (pipeline, device, list) = (&steps.pipeline, steps.device, steps.augment());
    let Some(extra) = foil_runs::data::load_extra(pipeline)? else { return Ok(None) };
    let data = foil_runs::data::load(pipeline)?;
    let mixed = Feed::of(pipeline, &data.train, Some(extra.train), device)?.0;
    let plain = Feed::of(&Pipeline { extra: None, ..pipeline.clone() }, &data.train, None, device)?.0;
    let key = Tensor::zeros([] as [i64; 0], (tch::Kind::Int64, device));
    let median = |mut feed: Feed| {
        let augment = Augmenting { list, key: &key, part: None };
        // Only full batches; as many as were timed of the step, but enough for a steady median.
        let steps = (feed.base().len() as u64 / pipeline.train.batch_size).max(1);
        let mut times = Vec::new();
        let order = feed.order(0);
        for at in 0..(runs as u64).max(50) {
            let start = Instant::now();
            let at = At { epoch: at / steps, step: at % steps, order: &order };
            let inputs = feed.inputs(at, feed.share(at.step, world), steps)?;
            drop(feed.batch(&inputs, Some(augment))?);
            wait(device);
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        Ok::<f64, Error>(times[times.len() / 2])
    };
    Ok(Some((median(mixed)?, median(plain)?)))
}

fn line(t: &Timing) -> String {
    format!(
        "{} + {} on {}, batch {}, {}: {:.2} ms a step (median of {}; {:.2} to {:.2}), {:.0} images/s{}{}",
        t.attack,
        t.loss,
        t.model,
        t.batch,
        place(t),
        t.ms,
        t.runs,
        t.ms_min,
        t.ms_max,
        t.images_per_second,
        t.in_sums.map_or(String::new(), |share| format!(", {:.1} % of the time in all-reduce", share * 100.0)),
        t.batch_ms.zip(t.mixing).map_or(String::new(), |(ms, mixing)| {
            format!("; a mixed batch takes {ms:.2} ms, the mixing {:.2} % of a step", mixing * 100.0)
        }),
    )
}

/// Where it was measured: `Cpu, 2 ranks (gloo), 1 threads`.
fn place(t: &Timing) -> String {
    let ranks = match (t.transport, t.ranks) {
        (None, _) => String::new(),
        (Some(transport), 1) => format!(", 1 rank ({transport})"),
        (Some(transport), ranks) => format!(", {ranks} ranks ({transport})"),
    };
    format!("{}{ranks}, {} threads", t.device, t.threads)
}

fn table(timings: &[Timing]) -> Table {
    let mut columns: Vec<Column> = ["pipeline", "model", "precision"].map(Column::text).into();
    let numbers = ["batch", "ms/step", "min", "max", "images/s", "% of arithmetic", "% of memory"];
    columns.extend(numbers.map(Column::number));
    for column in [3, 7] {
        columns[column].decimals = 0;
    }
    let share = |share: Option<f64>| share.map_or(Cell::Missing, |share| Cell::Number(share * 100.0));
    let row = |t: &Timing| {
        vec![
            Cell::Text(t.name.clone()),
            Cell::Text(t.model.into()),
            Cell::Text(format!("{:?}", t.precision).to_lowercase()),
            Cell::Number(t.batch as f64),
            Cell::Number(t.ms),
            Cell::Number(t.ms_min),
            Cell::Number(t.ms_max),
            Cell::Number(t.images_per_second),
            share(t.of_arithmetic),
            share(t.of_memory),
        ]
    };
    let title = timings.first().map_or(String::new(), |t| format!("Training steps on {}", place(t)));
    Table { title, columns, rows: timings.iter().map(row).collect() }
}
