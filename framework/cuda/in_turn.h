// The order of kernels that overlap.
#pragma once

// Every kernel's first words. The kernel behind may come onto the multiprocessors from here on, as
// room becomes free; what this one reads and writes is its own only once the kernel in front has
// ended. So where `overlaps` says so, a launch costs its wait alone, and not the time to get going.
__device__ inline void in_turn() {
#if !defined(FOIL_HOST) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
