// Sums and broadcasts over the ranks' GPUs, by the NCCL that libtorch's CUDA half brings and wraps:
// part of `libfoil_cuda.so`.
//
// Everything is asked of the calling thread's current stream and returns at once, so a graph
// captures it like a kernel. A rank that is lost leaves the others' GPUs waiting; what a host needs
// to notice that, and to end it, is at the end.
#include "../shim/guard.h"
#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <chrono>
#include <mutex>
#include <optional>

// Of libtorch's torch/csrc/cuda/nccl.h what is used here. The header itself includes those of
// cuSPARSE, cuBLAS and cuSOLVER, large wheels that need not be there. A wrong argument would be
// another symbol, which the opening of this library reports as missing.
namespace torch::cuda::nccl {
typedef struct {
    char internal[128];
} ncclUniqueId;
using ncclComm_t = void*;
using comm_list = std::vector<ncclComm_t>;
using stream_list = std::vector<std::optional<c10::cuda::CUDAStream>>;
std::uint64_t version();
void get_unique_id(ncclUniqueId& id);
ncclComm_t comm_init_rank(int nranks, const ncclUniqueId& comm_id, int rank);
void broadcast(at::TensorList tensors, const stream_list& streams, const comm_list& comms);
void all_reduce(const std::vector<at::Tensor>& inputs, std::vector<at::Tensor>& outputs, int32_t op, const stream_list& streams, const comm_list& comms);
} // namespace torch::cuda::nccl

namespace nccl = torch::cuda::nccl;
using at::Tensor;
using Clock = std::chrono::steady_clock;

static_assert(sizeof(nccl::ncclUniqueId) == 128, "the program sends 128 bytes");

extern "C" {
// NCCL's own, which libtorch does not wrap; null where it is linked into libtorch under hidden
// names.
__attribute__((weak)) int ncclCommAbort(void* comm);
__attribute__((weak)) int ncclCommGetAsyncError(void* comm, int* error);
}

struct FoilComm {
    nccl::ncclComm_t comm;
    std::mutex lock;
    cudaEvent_t mark;                         // the oldest work that is not known to be done
    std::optional<Clock::time_point> marked;  // since when, if there is any

    bool under_way() {
        if (!marked) return false;
        auto status = cudaEventQuery(mark);
        if (status == cudaErrorNotReady) {
            cudaGetLastError(); // no error
            return true;
        }
        C10_CUDA_CHECK(status);
        marked.reset();
        return false;
    }

    void note() {
        std::lock_guard<std::mutex> held(lock);
        if (under_way()) return;
        C10_CUDA_CHECK(cudaEventRecord(mark, c10::cuda::getCurrentCUDAStream()));
        marked = Clock::now();
    }

    // What is being captured does not run, and an event in it would belong to the graph.
    void note_unless_captured() {
        if (c10::cuda::currentStreamCaptureStatusMayInitCtx() == c10::cuda::CaptureStatus::None) note();
    }
};

extern "C" {

// NCCL's version as 2.28.9 is 22809; 0 where libtorch was built without it.
char* foil_cuda_comm_version(int* out) {
    return guarded([&] {
        auto version = nccl::version(); // 16 bits each for minor and patch
        *out = static_cast<int>((version >> 32) * 10000 + ((version >> 16) & 0xffff) * 100 + (version & 0xffff));
    });
}

// What names a communicator before it is there: 128 bytes, made by one rank and given to all.
char* foil_cuda_comm_id(uint8_t* out) {
    return guarded([&] {
        nccl::ncclUniqueId id;
        nccl::get_unique_id(id);
        std::memcpy(out, id.internal, sizeof id.internal);
    });
}

// Every rank calls it, each with a device of its own, and waits for all. One sum makes the
// connections, so that a captured step finds them made, and shows that numbers arrive.
char* foil_cuda_comm_open(FoilComm** out, const uint8_t* id, int rank, int size, int device) {
    return guarded([&] {
        c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
        nccl::ncclUniqueId name;
        std::memcpy(name.internal, id, sizeof name.internal);
        auto made = std::make_unique<FoilComm>();
        made->comm = nccl::comm_init_rank(size, name, rank);
        C10_CUDA_CHECK(cudaEventCreateWithFlags(&made->mark, cudaEventDisableTiming));
        std::vector<Tensor> ones{at::ones({1}, at::TensorOptions(at::kCUDA).dtype(at::kFloat))};
        nccl::all_reduce(ones, ones, 0, {}, {made->comm});
        auto sum = ones[0].item<float>();
        TORCH_CHECK(sum == static_cast<float>(size), "NCCL's sum of a one from each of ", size, " ranks is ", sum);
        *out = made.release();
    });
}

// Replaces the tensor, contiguous and on this rank's device, by its sum over the ranks.
char* foil_cuda_comm_sum(FoilComm* comm, const Tensor* tensor) {
    return guarded([&] {
        std::vector<Tensor> tensors{*tensor};
        nccl::all_reduce(tensors, tensors, 0, {}, {comm->comm});
        comm->note_unless_captured();
    });
}

// The same, by rank 0's.
char* foil_cuda_comm_broadcast(FoilComm* comm, const Tensor* tensor) {
    return guarded([&] {
        nccl::broadcast({*tensor}, {}, {comm->comm});
        comm->note_unless_captured();
    });
}

// --- for who watches, on a thread of its own ---

// Notes the moment after all that was asked of this thread's stream; unless an older one is still
// to come.
char* foil_cuda_comm_mark(FoilComm* comm) {
    return guarded([&] { comm->note(); });
}

// For how many milliseconds the noted moment has been awaited, or 0; fails where NCCL or the device
// has.
char* foil_cuda_comm_waits(FoilComm* comm, int64_t* out) {
    return guarded([&] {
        int error = 0;
        if (ncclCommGetAsyncError && ncclCommGetAsyncError(comm->comm, &error) == 0)
            TORCH_CHECK(error == 0 || error == 7 /* in progress */, "NCCL has failed (", error, "); NCCL_DEBUG=INFO says why");
        std::lock_guard<std::mutex> held(comm->lock);
        auto since = [&] { return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *comm->marked).count(); };
        *out = comm->under_way() ? since() : 0;
    });
}

// Lets the devices go on without the sums they wait for. It may not return while graphs with such
// sums are alive, so it is called on a thread that nobody waits for; the communicator is not used
// after it, and never freed.
void foil_cuda_comm_abort(FoilComm* comm) {
    if (ncclCommAbort) ncclCommAbort(comm->comm);
}
}
