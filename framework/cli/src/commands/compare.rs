//! `foil compare`, and what it shares with `foil sweep`: a work list, carried out and summed up.

use super::check::split;
use super::signals::on_interrupt;
use super::{Exit, end_when_nobody_reads, note, ranks};
use crate::compare::{Attacks, Comparison, Crew, Fate, State, Task, plan, slurm, work};
use crate::report::{Cell, Column, Style, Table};
use foil::atomic;
use foil::distinct;
use foil::engine::named;
use foil::{AtPath, Error, Result};
use foil_runs::pipeline::WorkList;
use foil_runs::record::stamp;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Train and evaluate several pipelines over several seeds, and compare them in one table with
/// significance tests.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil compare configs/demo/at.yaml configs/demo/trades.yaml --seeds 3
  foil compare configs/demo/*.yaml --dry-run                show what exists and what would be trained
  foil compare configs/cifar10/{at,trades,cat_cw_0.05}.yaml --seeds 5 --devices cuda:0,cuda:1
  foil compare configs/cifar10/*.yaml --seeds 5 --slurm jobs   then: bash jobs/submit.sh
  torchrun --no-python --nproc-per-node 8 foil compare configs/cifar10/*.yaml --seeds 5       one run per process at a time

Runs are matched by their settings, not by their names: the same command resumes where the last one stopped, and
finished runs are not trained again. foil watch shows the curves meanwhile.")]
pub(super) struct Args {
    /// Pipeline files, which may be sweeps, and `key=value` overrides for all of them.
    #[arg(required = true)]
    inputs: Vec<String>,
    /// The folder in which runs are looked up and made.
    #[arg(long, default_value = "runs")]
    dir: PathBuf,
    /// The folder for the tables (default: `compare` in the folder of the runs).
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Options for carrying out a work list.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Number of seeds for each pipeline, counting up from its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Devices to spread the runs over; one that is listed twice gets two at a time. By default
    /// one run follows another. Of several ranks each takes the device with its local number.
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    devices: Vec<String>,
    /// The row that the others are tested against (default: the first).
    #[arg(long, value_name = "ROW")]
    baseline: Option<String>,
    /// Show the differences under every attack, not only the natural accuracy and the worst case.
    #[arg(long)]
    wide: bool,
    /// Say what there is and what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Make the table of finished runs, and train nothing.
    #[arg(long, conflicts_with = "dry_run")]
    gather: bool,
    /// Write the list as a Slurm array into this folder, and train nothing.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["gather", "dry_run"])]
    slurm: Option<PathBuf>,
    /// Resume runs that were stopped. This is always done; the flag is accepted for clarity.
    #[arg(long)]
    resume: bool,
    /// Do only the run with this number, counted from 0: a task of the Slurm array.
    #[arg(long, value_name = "N", hide = true)]
    task: Option<usize>,
    /// The hash that the list of runs must have.
    #[arg(long, value_name = "HASH", hide = true)]
    list: Option<String>,
}

impl Options {
    /// The number of seeds for each pipeline, if given.
    pub fn seeds(&self) -> Option<u64> {
        self.seeds
    }

    /// Whether this call does not train and gather all runs: it only plans, or does one of many
    /// runs.
    pub fn only_plans(&self) -> bool {
        self.dry_run || self.slurm.is_some() || self.task.is_some()
    }
}

/// A work list with its folders.
pub(super) struct Job<'a> {
    /// `compare` or `sweep`.
    pub command: &'a str,
    pub files: &'a [PathBuf],
    pub overrides: &'a [String],
    /// The folder in which runs are looked up and made.
    pub dir: &'a Path,
    /// The folder for the tables.
    pub out: &'a Path,
    /// This process among those that share the list.
    pub crew: Crew,
}

pub(super) fn run(args: &Args) -> Exit {
    let (files, overrides) = split(&args.inputs);
    if files.is_empty() {
        return Err(Error::new("no file given").help("foil compare FILE… [key=value…]"));
    }
    let out = args.out.clone().unwrap_or_else(|| args.dir.join("compare"));
    let job = Job {
        command: "compare",
        files: &files,
        overrides: &overrides,
        dir: &args.dir,
        out: &out,
        crew: ranks::crew()?,
    };
    carry_out(&job, &args.options)
}

/// Finds, trains, evaluates and sums up. Several processes share the runs; the first one waits for
/// all of them, and makes the table.
pub(super) fn carry_out(job: &Job, options: &Options) -> Exit {
    let crew = &job.crew;
    if !crew.is_first() {
        let only_first = options.dry_run || options.gather || options.slurm.is_some();
        return if only_first { Ok(ExitCode::SUCCESS) } else { help_out(job, options) };
    }
    let list = WorkList::of(job.files, job.overrides, options.seeds)?;
    let hashes: Vec<&str> = list.runs.iter().map(|run| run.hash.as_str()).collect();
    let hash = stamp::config_hash(&hashes.join("\n"))[..12].to_string();
    if options.list.as_ref().is_some_and(|asked| *asked != hash) {
        return Err(Error::new("the list of runs has changed since this job was written")
            .help("a file or foil itself is different now; write the job again with --slurm"));
    }
    let rows: Vec<String> = list.runs.iter().map(|run| run.row.clone()).collect();
    let notes = list.notes;
    let (mut tasks, unreadable) = plan(list.runs, job.dir)?;
    let baseline = baseline(&rows, options)?;
    for name in &options.devices {
        named(name).map_err(|error| error.context("--devices"))?;
    }
    if options.dry_run {
        println!("{}", planned(&tasks).terminal(Style::stdout()));
        notes.iter().for_each(|text| println!("note: {}", foil::error::shown(text)));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &options.slurm {
        return write_slurm(job, options, &tasks, &hash, folder);
    }
    unreadable.iter().for_each(|error| note(format!("left out: {}", error.message())));
    if let Some(n) = options.task {
        let all = tasks.len();
        tasks = tasks.into_iter().nth(n).into_iter().collect();
        if tasks.is_empty() {
            return Err(
                Error::new(format!("there is no run {n}")).help(format!("the list has {all} runs, counted from 0"))
            );
        }
    }
    let fates = if options.gather { left(&tasks) } else { carried_out(&tasks, options, crew)? };
    if fates.is_empty() {
        return Ok(ExitCode::from(130));
    }
    let failed = fates.iter().filter(|fate| matches!(fate, Fate::Failed(_))).count();
    if options.task.is_some() {
        return Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let gathered = Comparison::gather(tasks.into_iter().zip(fates).collect(), notes, baseline);
    gathered.write(job.out)?;
    end_when_nobody_reads(); // from here on there is nothing to lose
    let attacks = if options.wide { Attacks::All } else { Attacks::Few };
    println!("{}", gathered.terminal(Style::stdout().whole(), attacks));
    let (all, missing) = (gathered.tasks.len(), gathered.missing());
    println!(
        "{} of {all} runs, tables: {} (and .tex, .csv, compare.json)",
        all - missing,
        job.out.join("table.md").display()
    );
    if failed > 0 {
        eprintln!("{failed} of {all} runs failed; run the same command to retry them");
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The index of the row that the others are tested against.
fn baseline(rows: &[String], options: &Options) -> Result<usize> {
    let Some(wanted) = &options.baseline else { return Ok(0) };
    let names = distinct(rows.iter().map(String::as_str));
    names.iter().position(|name| name == wanted).ok_or_else(|| {
        Error::new(format!("no row is called `{wanted}`")).help(foil_config::suggest(wanted, &names, "the rows"))
    })
}

fn left(tasks: &[Task]) -> Vec<Fate> {
    tasks.iter().map(|task| if task.state == State::Done { Fate::Reused } else { Fate::Stopped }).collect()
}

/// Works on runs of the list, as one of the processes other than the first, which does the
/// reporting.
fn help_out(job: &Job, options: &Options) -> Exit {
    let here = |error: Error| error.context(format!("rank {}", job.crew.rank));
    let work = || {
        let list = WorkList::of(job.files, job.overrides, options.seeds)?;
        let (mut tasks, _) = plan(list.runs, job.dir)?;
        if let Some(n) = options.task {
            tasks = tasks.into_iter().nth(n).into_iter().collect();
        }
        let stop = on_interrupt()?;
        work(&tasks, &places(options, &job.crew)?, &job.crew, &stop);
        Ok(stop.load(Ordering::Relaxed))
    };
    // The first process finds failures on disk and reports them; if this one failed, a launcher
    // would end all.
    Ok(if work().map_err(here)? { ExitCode::from(130) } else { ExitCode::SUCCESS })
}

/// The devices that this process works on.
fn places(options: &Options, crew: &Crew) -> Result<Vec<String>> {
    match (options.devices.as_slice(), crew.place) {
        ([], _) => Ok(vec![String::new()]),
        (devices, None) => Ok(devices.to_vec()),
        (devices, Some(n)) => devices.get(n).map(|device| vec![device.clone()]).ok_or_else(|| {
            Error::new(format!(
                "--devices lists {} devices, but rank {} is number {n} on its machine",
                devices.len(),
                crew.rank
            ))
            .help("list one for each process on a machine, or leave it out: each process then takes its own GPU")
        }),
    }
}

/// The outcomes of the tasks; `None` if it was stopped.
fn carried_out(tasks: &[Task], options: &Options, crew: &Crew) -> Result<Vec<Fate>> {
    for task in tasks {
        if task.state == State::Done {
            eprintln!("already done: {} in {}", task.title(), task.folder.display());
        }
        for copy in &task.copies {
            eprintln!("note: {} is the same run and is left alone", copy.display());
        }
    }
    let stop = on_interrupt()?;
    let fates = work(tasks, &places(options, crew)?, crew, &stop);
    if stop.load(Ordering::Relaxed) {
        eprintln!("stopped and saved; run the same command to resume");
        return Ok(Vec::new());
    }
    Ok(fates)
}

/// The list with each run's state.
fn planned(tasks: &[Task]) -> Table {
    let number = Column { decimals: 0, ..Column::number("seed") };
    let columns = vec![Column::text("model"), number, Column::text("run"), Column::text("folder")];
    let rows = tasks.iter().map(|task| {
        let text = |text: String| Cell::Text(text);
        let seed = Cell::Number(task.wanted.pipeline.seed as f64);
        vec![text(task.wanted.row.clone()), seed, text(task.state.to_string()), text(task.folder.display().to_string())]
    });
    let done = tasks.iter().filter(|task| task.state == State::Done).count();
    Table { title: format!("{done} of {} runs done", tasks.len()), columns, rows: rows.collect() }
}

/// Writes the scripts, and prints how to use them.
fn write_slurm(job: &Job, options: &Options, tasks: &[Task], hash: &str, folder: &Path) -> Exit {
    std::fs::create_dir_all(folder).at("making", folder)?;
    let absolute = |path: &Path| std::path::absolute(path).at("finding", path).map(|path| path.display().to_string());
    let mut words: Vec<String> = foil::program::start()?.iter().map(|word| word.display().to_string()).collect();
    words.push(job.command.to_string());
    words.extend(job.files.iter().map(|file| file.display().to_string()));
    words.extend(job.overrides.iter().cloned());
    words.extend(["--dir".to_string(), job.dir.display().to_string()]);
    words.extend(options.seeds.iter().flat_map(|seeds| ["--seeds".to_string(), seeds.to_string()]));
    words.extend(options.baseline.iter().flat_map(|row| ["--baseline".to_string(), row.clone()]));
    if job.command == "compare" {
        words.extend(["--out".to_string(), job.out.display().to_string()]);
    }
    let array = folder.join("array.sh");
    let written = slurm::Job {
        runs: tasks.len(),
        words: &words,
        place: &absolute(Path::new("."))?,
        logs: &absolute(folder)?,
        gpu: tasks.iter().any(|task| task.wanted.pipeline.device != "cpu"),
        list: hash,
    };
    let submit = folder.join("submit.sh");
    atomic::write(&array, written.array()).at("writing", &array)?;
    atomic::write(&submit, written.submit(&absolute(&array)?)).at("writing", &submit)?;
    println!("array of {} tasks: {}", tasks.len(), array.display());
    println!("submit them, with the table to follow: bash {}", submit.display());
    println!("make a table of what is finished: {}", written.gather());
    Ok(ExitCode::SUCCESS)
}
