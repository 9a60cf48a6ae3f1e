//! How many processors this process may compute on.

use std::sync::OnceLock;

/// The processors that the machine, this process's affinity and its control group give, at least 1.
pub fn given() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processors of the machine, whoever may use them.
pub fn of_machine() -> usize {
    let mut machine = sysinfo::System::new();
    machine.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    machine.cpus().len().max(given())
}

/// What libtorch meant to compute with before [`limit_threads`].
static WISHED: OnceLock<usize> = OnceLock::new();

/// Has libtorch compute with no more threads than there are processors for them: threads that wait
/// for each other's turn slow training to a tenth. It would take `OMP_NUM_THREADS` at its word, and
/// all of a machine's processors in a container that may use two. To be called before anything is
/// computed.
pub fn limit_threads() {
    let wished = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    WISHED.get_or_init(|| wished);
    if wished > given() {
        tch::set_num_threads(given() as i32);
    }
}

/// The threads that `OMP_NUM_THREADS` or libtorch asked for, if that was more than there are
/// processors. MKL, where libtorch has it, does not hand on what the variable says.
pub fn too_many() -> Option<usize> {
    let variable = std::env::var("OMP_NUM_THREADS").ok();
    let said = variable.and_then(|text| text.split(',').next()?.trim().parse().ok());
    [said, WISHED.get().copied()].into_iter().flatten().max().filter(|wished| *wished > given())
}
