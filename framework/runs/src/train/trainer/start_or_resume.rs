//! Starting or resuming a run.

use crate::pipeline::Assembled;
use crate::record::{EventWriter, MetricsLog, metrics};
use crate::train::epoch_sums::EpochSums;
use crate::train::folder::{Folder, Position};
use crate::train::state::restore;
use foil::{AtPath, Error, Result};
use tch::Device;

/// A run's numbers on disk.
#[derive(Debug)]
pub(super) struct Curves {
    pub metrics: MetricsLog,
    pub events: EventWriter,
}

/// Refuses curves that lack rows of finished epochs, or have other numbers. A later row may be
/// incomplete, if the run was killed while writing it.
fn whole(folder: &Folder, position: &Position) -> Result<()> {
    let path = folder.path().join("metrics.jsonl");
    let (rows, _) = if path.exists() { metrics::read(&path).map_err(Error::of)? } else { Default::default() };
    metrics::fault(&rows, position.epoch, &position.metrics).map_or(Ok(()), |fault| {
        let folder = folder.path().display();
        Err(Error::new(format!("{} {fault}", path.display())).help(format!(
            "restore a good copy (metrics.csv has the same rows), or start over with --run-dir DIR; the best checkpoint \
             is intact: foil eval {folder}"
        )))
    })
}

/// Opens a folder to write in, and restores the saved state if there is one.
pub(super) fn start_or_resume(
    folder: &Folder,
    parts: &Assembled,
    config: String,
    steps: u64,
    device: Device,
) -> Result<(Position, EpochSums, Curves)> {
    folder.sweep();
    let saved = folder.read_state()?;
    whole(folder, saved.as_ref().map_or(&Position::default(), |(_, position)| position))?;
    let mut metrics = MetricsLog::open(folder.path()).at("opening", folder.path())?;
    let (position, epoch_sums) = match saved {
        Some((state, position)) => {
            let epoch_sums =
                restore(parts, &state, &position, device).map_err(|e| e.context(folder.state().display()))?;
            (position, epoch_sums)
        }
        // A run that was killed between the first epoch's metrics and its state leaves one row.
        None if metrics.rows().len() > 1 => {
            let rows = metrics.rows().len();
            return Err(Error::new(format!("{} is missing, but this run has done {rows} epochs", folder.state().display()))
                .help(format!("restore it; without it a run can only start over: --run-dir DIR\n        its best checkpoint is intact: foil eval {}", folder.path().display())));
        }
        None => (Position::default(), EpochSums::new(device)),
    };
    if !position.config.is_empty() && position.config != config {
        tracing::warn!(
            "{} has changed since the run stopped, and the rest of the run follows the new version; \
             for the result of a single pipeline undo the change, or start over: foil train {} --run-dir DIR",
            folder.resolved().display(),
            folder.resolved().display(),
        );
    }
    let position = Position { config, ..position };
    metrics.truncate_after(position.epoch).at("opening", folder.path())?;
    let events =
        EventWriter::create(folder.path(), position.epoch * steps + position.step).at("opening", folder.path())?;
    Ok((position, epoch_sums, Curves { metrics, events }))
}
