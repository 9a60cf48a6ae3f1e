//! `foil bench`: the time of a training step.

use super::Exit;
use crate::Error;
use crate::attack::Batch;
use crate::engine::choose;
use crate::nn::{Noise, key_of};
use crate::pipeline::load;
use crate::scheduler::Clock;
use crate::train::Trainer;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tch::{Cuda, Device, Kind, Tensor};

/// Time a pipeline's training step on random images: the median, and images per second.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil bench configs/demo/at.yaml
  foil bench configs/demo/at.yaml train.batch_size=100 attack.steps=20 --runs 20 --json")]
pub(super) struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Overrides.
    overrides: Vec<String>,
    /// Steps that are counted, after three that are not.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// CPU threads; by default one per core.
    #[arg(long)]
    threads: Option<i32>,
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    let loaded = load(&args.file, &args.overrides)?;
    let pipeline = &loaded.pipeline;
    let device = choose(&pipeline.device)?;
    let mut parts = loaded.built(Trainer::assemble(pipeline, device))?;
    let (n, data) = (pipeline.train.batch_size as i64, parts.data);
    let noise = Noise::seeded(&[1], n, device);
    let x = noise.uniform("x", &[data.channels, data.height, data.width], Kind::Float);
    let y = noise.below("y", data.classes, &[1]).view(-1);
    let index = Tensor::arange(n, (Kind::Int64, device));
    let clock = Clock::new(1, 1000, device);
    let mut times = Vec::new();
    for run in 0..args.runs + 3 {
        let started = Instant::now();
        let key = Tensor::from(key_of(&[run as u64])).to_device(device);
        let noise = Noise::new(&key, &index);
        let mut batch = Batch {
            x: x.shallow_clone(),
            y: y.shallow_clone(),
            index: index.shallow_clone(),
            noise,
            clock: &clock,
            clean_logits: None,
        };
        let outcome = parts.step.run(&mut batch)?;
        if let Device::Cuda(n) = device {
            Cuda::synchronize(n as i64);
        }
        drop(outcome);
        if run >= 3 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().ok_or_else(|| Error::new("--runs 0 measures nothing"))?;
    let rate = n as f64 / median * 1e3;
    if args.json {
        let record = serde_json::json!({
            "attack": pipeline.attack.name(), "loss": pipeline.loss.name(), "model": pipeline.model.name(), "batch": n,
            "device": format!("{device:?}"), "threads": tch::get_num_threads(), "runs": times.len(), "ms": median, "images_per_second": rate,
        });
        println!("{record}");
    } else {
        println!(
            "{} + {} on {}, batch {n}, {device:?}, {} threads: {median:.2} ms a step (median of {}; {:.2} to {:.2}), {rate:.0} images/s",
            pipeline.attack.name(),
            pipeline.loss.name(),
            pipeline.model.name(),
            tch::get_num_threads(),
            times.len(),
            times[0],
            times[times.len() - 1],
        );
    }
    Ok(ExitCode::SUCCESS)
}
