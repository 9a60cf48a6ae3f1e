//! Accuracy class by class.

use super::Report;
use crate::report::chart::{Figure, Heat};
use foil_runs::eval::NATURAL;

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let settings = report.settings();
    let figure = |setting, attack: Option<String>| {
        let views: Vec<_> = report.within(setting).into_iter().filter(|(_, view)| view.images.is_some()).collect();
        let names = views.iter().find_map(|(_, view)| Some(view.group.runs.first()?.class_names())).unwrap_or_default();
        // A hundred classes would not fit in a table.
        if views.is_empty() || names.len() > 20 {
            return None;
        }
        let attack = attack?;
        let values = views.iter().map(|(_, view)| {
            let mut row = vec![None; names.len()];
            for (class, _, accuracy) in view.images.as_ref()?.per_class(&attack) {
                if let Some(cell) = row.get_mut(usize::try_from(class).ok()?) {
                    *cell = Some(accuracy);
                }
            }
            Some(row)
        });
        let values: Vec<Vec<Option<f64>>> = values.collect::<Option<_>>()?;
        values.iter().flatten().flatten().next()?;
        Heat {
            name: format!("classes_{attack}{}", setting.suffix(&settings)),
            title: format!(
                "{} accuracy by class, %: {}",
                if attack == NATURAL { "Natural" } else { &attack },
                setting.dataset
            ),
            rows: views.iter().map(|(_, view)| view.label.clone()).collect(),
            columns: names,
            values,
        }
        .figure()
    };
    settings
        .iter()
        .flat_map(|setting| [Some(NATURAL.to_string()), hardest(report, setting)].map(|attack| figure(setting, attack)))
        .flatten()
        .collect()
}

/// The strongest attack of those that every image record has.
fn hardest(report: &Report, setting: &super::view::Setting) -> Option<String> {
    let mut best: Option<(String, f64)> = None;
    for name in super::accuracy::attacks(report, setting).into_iter().filter(|name| name != NATURAL) {
        let means = report.within(setting).into_iter().filter(|(_, view)| view.images.is_some()).map(|(_, view)| {
            view.images.as_ref()?.right(&name)?;
            view.accuracy(setting, &name).map(|spread| spread.mean)
        });
        let Some(mean) = means.sum::<Option<f64>>() else { continue };
        if best.as_ref().is_none_or(|(_, least)| mean < *least) {
            best = Some((name, mean));
        }
    }
    best.map(|(name, _)| name)
}
