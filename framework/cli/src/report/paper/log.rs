//! Published training logs, for the charts of runs with the same recipe.

use super::data::{Conditions, fits};
use foil_runs::pipeline::Pipeline;
use serde::Deserialize;

/// A published training log, epoch by epoch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperLog {
    /// The label at its curve's end.
    pub label: String,
    /// Its source and recipe.
    pub recipe: String,
    /// Conditions for a run to be drawn beside it.
    is: Conditions,
    /// `epoch`, counted from 1, and metrics under the runs' names.
    columns: Vec<String>,
    /// A number for each column.
    rows: Vec<Vec<f64>>,
}

const LOGS: [&str; 1] = [include_str!("logs/rice_cifar10.yaml")];

/// The logs that belong beside a run of this pipeline.
pub fn logs(pipeline: &Pipeline) -> Vec<PaperLog> {
    let Ok(settings) = serde_yaml::to_value(pipeline) else { return Vec::new() };
    let all = LOGS.iter().filter_map(|text| serde_yaml::from_str(text).ok()); // a test reads them all
    all.filter(|log: &PaperLog| fits(&settings, &log.is)).collect()
}

impl PaperLog {
    /// A metric by epoch, up to epoch `last`.
    pub fn points(&self, metric: &str, last: u64) -> Vec<[f64; 2]> {
        let Some(column) = self.columns.iter().position(|name| name == metric) else { return Vec::new() };
        self.rows.iter().map(|row| [row[0], row[column]]).filter(|point| point[0] <= last as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_is_whole() {
        for text in LOGS {
            let log: PaperLog = serde_yaml::from_str(text).unwrap();
            assert_eq!(log.columns[0], "epoch");
            assert!(log.rows.iter().all(|row| row.len() == log.columns.len()), "{}", log.recipe);
            assert!(log.rows.is_sorted_by(|a, b| a[0] < b[0]), "{}", log.recipe);
        }
    }

    #[test]
    fn a_metric_ends_where_the_chart_does() {
        let log: PaperLog = serde_yaml::from_str(LOGS[0]).unwrap();
        assert_eq!(log.points("pgd10", 20), [[1.0, 26.58], [11.0, 41.36]]);
        assert_eq!((log.points("pgd10", 200).len(), log.points("lr", 200)), (log.rows.len(), vec![]));
    }
}
