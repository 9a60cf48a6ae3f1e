//! How many processors this process may compute on.

use std::sync::OnceLock;

/// The processors available to this process by its affinity and control group, at least 1.
pub fn given() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// All processors of the machine.
pub fn of_machine() -> usize {
    let mut machine = sysinfo::System::new();
    machine.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    machine.cpus().len().max(given())
}

/// The number of threads libtorch wanted before [`limit_threads`].
static WISHED: OnceLock<usize> = OnceLock::new();

/// Limits libtorch to as many threads as there are processors available: oversubscribed threads
/// slow training to a tenth of its speed. libtorch itself would obey `OMP_NUM_THREADS`, or use all
/// of a machine's processors in a container that may use two. Call it before anything is computed.
pub fn limit_threads() {
    let wished = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    WISHED.get_or_init(|| wished);
    if wished > given() {
        tch::set_num_threads(given() as i32);
    }
}

/// The threads that `OMP_NUM_THREADS` or libtorch asked for, if that was more than the available
/// processors. Where libtorch has MKL, that does not pass on what the variable says.
pub fn too_many() -> Option<usize> {
    let variable = std::env::var("OMP_NUM_THREADS").ok();
    let said = variable.and_then(|text| text.split(',').next()?.trim().parse().ok());
    [said, WISHED.get().copied()].into_iter().flatten().max().filter(|wished| *wished > given())
}
