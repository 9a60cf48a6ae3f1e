//! `foil watch`: the progress of runs.

use super::{Exit, end_when_nobody_reads};
use crate::watch::{Machine, Now, View, draw};
use foil::{AtPath, Error, Result};
use foil_runs::eval::UnderWay;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Watch runs while they train and are evaluated: epoch, losses, accuracy curves, the progress of
/// attacks, time left, and the machine's load.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil watch                       all runs in runs/, those in training first
  foil watch runs/at               one run
  foil watch runs | tee log        plain lines: one for each run, then one for each epoch and attack, until no run is training")]
pub(super) struct Args {
    /// Run folders, or folders of them (default: runs).
    runs: Vec<PathBuf>,
    /// Print the state of each run, and exit.
    #[arg(long)]
    once: bool,
}

/// How often folders are read.
const LOOK: Duration = Duration::from_millis(500);
/// How often a plain line reports the progress of an attack.
const AGAIN: Duration = Duration::from_secs(10);
/// Plain lines end when no run has been active for this long, since a comparison may pause between
/// two runs.
const IDLE: Duration = Duration::from_secs(10);

pub(super) fn run(args: &Args) -> Exit {
    let roots = if args.runs.is_empty() { vec![PathBuf::from("runs")] } else { args.runs.clone() };
    let mut view = View::new(roots.clone());
    view.refresh();
    if view.runs.is_empty() {
        let places: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        return Err(Error::new(format!("there is no run in {}", places.join(", ")))
            .help("give a run folder, or a folder of run folders"));
    }
    if args.once || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        end_when_nobody_reads();
        return plain(&mut view, args.once);
    }
    let mut terminal = ratatui::try_init().at("drawing on", Path::new("the terminal"))?;
    let ended = page(&mut terminal, &mut view);
    ratatui::restore();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Draws until a key ends it.
fn page(terminal: &mut ratatui::DefaultTerminal, view: &mut View) -> Result<()> {
    let screen = Path::new("the terminal");
    let (mut machine, mut chosen) = (Machine::new(), 0usize);
    let (mut load, mut looked) = (machine.load(), Instant::now());
    loop {
        if looked.elapsed() >= LOOK {
            view.refresh();
            (load, looked) = (machine.load(), Instant::now());
        }
        terminal.draw(|frame| draw(frame, view, &load, chosen)).at("drawing on", screen)?;
        let asked = Instant::now();
        if !event::poll(LOOK / 2).at("reading", screen)? {
            // Polling a closed terminal returns at once, for ever.
            if !std::io::stdout().is_terminal() {
                return Ok(());
            }
            std::thread::sleep((LOOK / 4).saturating_sub(asked.elapsed()));
            continue;
        }
        if let Event::Key(key) = event::read().at("reading", screen)? {
            let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                _ if control_c => return Ok(()),
                KeyCode::Up => chosen = chosen.saturating_sub(1),
                KeyCode::Down => chosen = (chosen + 1).min(view.runs.len().saturating_sub(1)),
                _ => {}
            }
        }
    }
}

/// The content of a plain line: a new line is due when this has changed.
type Printed = (Now, u64, Option<String>);

/// A line for each run, then one for each epoch, each attack and each change.
fn plain(view: &mut View, once: bool) -> Exit {
    let mut printed: HashMap<PathBuf, (Printed, Instant)> = HashMap::new();
    let (mut busy, waits) = (Instant::now(), view.busy() > 0 && !once);
    loop {
        for run in &view.runs {
            let state = (run.now, run.done(), run.attack().map(UnderWay::title));
            let said = printed.get(&run.path);
            let again = |at: &Instant| run.attack().is_some() && at.elapsed() >= AGAIN;
            if said.is_none_or(|(before, at)| *before != state || again(at)) {
                println!("{}", foil::error::shown(&run.line()));
                printed.insert(run.path.clone(), (state, Instant::now()));
            }
        }
        let _ = std::io::stdout().flush(); // each line is current
        if view.busy() > 0 {
            busy = Instant::now();
        }
        // If nothing was training at the start, there is nothing to wait for.
        if !waits || busy.elapsed() >= IDLE {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK);
        view.refresh();
    }
}
