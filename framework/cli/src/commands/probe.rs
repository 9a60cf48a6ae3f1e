//! `foil probe`: one training step for comparison with another implementation.

use super::Exit;
use super::check::split;
use crate::report::{Align, Cell, Column, Style, Table};
use foil::engine::choose;
use foil::scheduler::Clock;
use foil::{Error, Result, tensors};
use foil_runs::pipeline::{Pipeline, assemble, load};
use foil_runs::probe::{Inputs, Probed, compare, probe};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::Kind;

/// Run one training step on given weights and images and write every number to a file; or compare
/// two such files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil probe my.yaml --weights w.safetensors --batch b.safetensors --out foil.safetensors --dtype f64
  foil probe my.yaml --weights w.safetensors --batch b.safetensors --out foil.safetensors loss.beta=1 --iterates
  foil probe --compare foil.safetensors pytorch.safetensors --tolerance 1e-8

docs/probe.md describes the files.")]
pub(super) struct Args {
    /// The pipeline file.
    #[arg(required_unless_present = "compare")]
    file: Option<PathBuf>,
    /// Overrides, such as `attack.steps=3`.
    overrides: Vec<String>,
    /// Parameters and buffers under PyTorch's names; those of CAT's mask network begin with
    /// `mask.`.
    #[arg(long, value_name = "FILE", required_unless_present = "compare")]
    weights: Option<PathBuf>,
    /// Images `x` and labels `y`; random draws that are given too are used.
    #[arg(long, value_name = "FILE", required_unless_present = "compare")]
    batch: Option<PathBuf>,
    /// The file for everything that the step computed.
    #[arg(long, value_name = "FILE", required_unless_present = "compare")]
    out: Option<PathBuf>,
    /// The precision of the whole step.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Also write the attack's iterates.
    #[arg(long)]
    iterates: bool,
    /// Compare two files instead: the largest difference of each tensor, the worst first.
    #[arg(long, num_args = 2, value_names = ["FILE", "OTHER"], conflicts_with_all = ["file", "weights", "batch", "out", "iterates"])]
    compare: Option<Vec<PathBuf>>,
    /// The largest relative difference that passes (default: 1e-10 where both files are float64,
    /// otherwise 1e-5).
    #[arg(long, value_name = "T", requires = "compare")]
    tolerance: Option<f64>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Dtype {
    F32,
    F64,
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some([first, second]) = args.compare.as_deref() {
        return hold_against(first, second, args.tolerance);
    }
    let (Some(file), Some(weights), Some(batch), Some(out)) = (&args.file, &args.weights, &args.batch, &args.out)
    else {
        return Err(Error::new("a step needs a config, weights, a batch and an output file")
            .help("foil probe CONFIG --weights W --batch B --out O"));
    };
    let (files, overrides) = split(&args.overrides);
    if let Some(file) = files.first() {
        return Err(Error::new(format!("`{}` is not an override", file.display())).help("write key=value"));
    }
    let loaded = load(file, &overrides)?;
    let pipeline = &loaded.pipeline;
    let kind = match args.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
    };
    let device = choose(&pipeline.device)?;
    let mut parts = loaded.built(assemble(pipeline, kind, device, false))?;
    let inputs = Inputs::read(&parts.step, &parts.data, weights, batch)?;
    let steps = pipeline.train.steps(parts.data.train as u64).max(1);
    let clock = Clock::new(pipeline.train.epochs, steps, device);
    let probed = probe(&mut parts.step, &clock, pipeline.seed, inputs, args.iterates)?;
    tensors::write(out, &probed.tensors, metadata(pipeline, args.dtype, &probed.random)?)?;
    print!("{}", summary(pipeline, &probed));
    println!("{} tensors: {}", probed.tensors.len(), out.display());
    Ok(ExitCode::SUCCESS)
}

fn metadata(pipeline: &Pipeline, dtype: Dtype, random: &[String]) -> Result<HashMap<String, String>> {
    Ok(HashMap::from([
        ("foil.config".into(), pipeline.to_yaml()?),
        ("foil.foil_version".into(), foil::VERSION.into()),
        ("foil.libtorch_version".into(), foil::LIBTORCH.into()),
        ("foil.dtype".into(), if matches!(dtype, Dtype::F32) { "f32" } else { "f64" }.into()),
        ("foil.random".into(), serde_json::json!(random).to_string()),
    ]))
}

/// Loss, gradients and updates, and what was random.
fn summary(pipeline: &Pipeline, probed: &Probed) -> String {
    let losses = probed.tensors.iter().filter_map(|(name, t)| {
        let part = name.strip_prefix("loss.")?;
        Some(vec![Cell::Text(part.into()), Cell::Text(format!("{:.9}", t.double_value(&[])))])
    });
    let losses =
        Table { title: "Loss".into(), columns: vec![Column::text("part"), number("value")], rows: losses.collect() };
    let updates = probed
        .updates
        .iter()
        .map(|update| vec![Cell::Text(update.name.clone()), small(update.gradient), small(update.change)]);
    let updates = Table {
        title: "Update".into(),
        columns: vec![Column::text("parameter"), number("norm of gradient"), number("largest change")],
        rows: updates.collect(),
    };
    let random = match probed.random.as_slice() {
        [] => "Nothing was random.".to_string(),
        names => format!(
            "Random, from seed {}: {} (give them in the batch file to fix them)",
            pipeline.seed,
            names.join(", ")
        ),
    };
    let (losses, updates) = (losses.terminal(Style::stdout()), updates.terminal(Style::stdout()));
    format!("{losses}{updates}{random}\n")
}

/// A column of preformatted numbers, which differ by orders of magnitude.
fn number(name: &str) -> Column {
    Column { align: Align::Right, ..Column::text(name) }
}

fn small(value: f64) -> Cell {
    Cell::Text(format!("{value:.2e}"))
}

fn hold_against(first: &Path, second: &Path, tolerance: Option<f64>) -> Exit {
    if tolerance.is_some_and(|t| t.is_nan() || t < 0.0) {
        return Err(Error::new("--tolerance must be a number of at least 0").help("write 1e-5"));
    }
    let comparison = compare(&tensors::read(first)?.0, &tensors::read(second)?.0);
    if comparison.differences.is_empty() {
        return Err(Error::new(format!("{} and {} have no tensor in common", first.display(), second.display()))
            .help("docs/probe.md lists the names"));
    }
    let rows = comparison.differences.iter().map(|d| {
        let shape = match &d.shapes {
            [a, b] if a == b => format!("{a:?}"),
            [a, b] => format!("{a:?} and {b:?}"),
        };
        let verdict = if d.exceeds(tolerance) { "differs" } else { "" };
        let place = if d.absolute > 0.0 { format!("{:?}", d.place) } else { String::new() };
        vec![
            Cell::Text(d.name.clone()),
            Cell::Text(shape),
            small(d.absolute),
            small(d.relative),
            Cell::Text(place),
            Cell::Text(verdict.into()),
        ]
    });
    let columns = ["tensor", "shape"]
        .map(Column::text)
        .into_iter()
        .chain(["absolute", "relative"].map(number))
        .chain(["at", ""].map(Column::text));
    let table = Table { title: "Largest differences".into(), columns: columns.collect(), rows: rows.collect() };
    print!("{}", table.terminal(Style::stdout()));
    for (file, names) in [(first, &comparison.only_first), (second, &comparison.only_second)] {
        if !names.is_empty() {
            println!("only in {}: {}", file.display(), names.join(", "));
        }
    }
    let differ = comparison.differences.iter().filter(|d| d.exceeds(tolerance)).count();
    let allowed = tolerance.map_or("1e-10 (float64) or 1e-5".to_string(), |t| format!("{t:?}"));
    println!("{differ} of {} tensors differ by more than {allowed}, relative", comparison.differences.len());
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
