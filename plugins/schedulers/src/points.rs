//! Checks of the lists in schedulers' settings.

use foil::prelude::*;

/// Reports times that do not ascend; `key` holds them, first to last.
pub(crate) fn require_ascending(cx: &Build, key: &str, times: impl Iterator<Item = f64>) {
    let times: Vec<f64> = times.collect();
    if let Some(pair) = times.windows(2).find(|pair| pair[0] >= pair[1]) {
        let message = format!("lists {} before {}", pair[0], pair[1]);
        cx.problem(key, message, "list times in ascending order, each once");
    }
}

/// Reports a list of `[time, value]` points that is empty, or whose times do not ascend.
pub(crate) fn require_points(cx: &Build, points: &[[f64; 2]]) {
    if points.is_empty() {
        cx.problem("points", "is empty", "list at least one [time, value]");
    }
    require_ascending(cx, "points", points.iter().map(|[time, _]| *time));
}
