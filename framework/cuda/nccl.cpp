// NCCL for the ranks' sums, from libtorch's CUDA half: part of `libfoil_cuda.so`, which is opened where CUDA is.
//
// It only opens the group. What it opens is a c10d backend like Gloo's, so `foil_group_sum`, `foil_group_broadcast`, `foil_work_wait` and
// `foil_group_free` of framework/shim/c10d.cpp work on it; there `wait` makes the current stream wait, not the host.
#define USE_C10D_NCCL
#include "../shim/group.h"
#include "../shim/guard.h"
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

extern "C" {

// Every rank of the store calls it, each with a device of its own. Connects at once, so that a device or network that does not
// work is told here, and so that a captured step finds the communicator made.
char* foil_nccl_open(FoilGroup** out, FoilStore* store, int rank, int size, int device, int64_t timeout) {
    return guarded([&] {
        auto options = c10d::ProcessGroupNCCL::Options::create();
        options->timeout = std::chrono::milliseconds(timeout);
        auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(store->store, rank, size, options);
        group->eagerConnectSingleDevice(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
        *out = new FoilGroup{group};
    });
}
}
