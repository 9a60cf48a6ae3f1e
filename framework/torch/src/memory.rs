//! How the C library's allocator keeps memory, on Linux.
//!
//! By default glibc gives every large block back to the system when a tensor dies and asks for a
//! new one at the next operation; the system then clears each page again. A step on the CPU makes
//! the same tensors over and over, so memory is kept instead. Measured on two cores, PGD-20 step of
//! `small_cnn` at batch 100: 0.72 of the time (docs/results/speed.md). The process holds on to its
//! peak.

/// Makes the allocator keep what tensors give back. Does nothing where the C library is not glibc.
pub fn keep() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_on_glibc();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn keep_on_glibc() {
    const MIB: libc::c_int = 1 << 20;
    // SAFETY: `mallopt` sets three numbers of glibc's allocator and touches no memory of ours; a
    // value it does not accept changes nothing.
    unsafe {
        // 32 MiB is the most that glibc accepts: larger blocks still come from the system one by
        // one.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * MIB);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 * MIB);
    }
}
