// CUDA's half of the shim, `libfoil_cuda.so`: capture, memory, and launches of the kernels in
// kernels.cu. Its convolution is in conv.cpp, sums over ranks are in nccl.cpp.
//
// It is opened at run time after libtorch's CUDA half, whose symbols it uses; a machine without
// CUDA never opens it. Everything happens on the calling thread's current stream. As in
// framework/shim, no exception leaves a function: null, or a message for `foil_cuda_free`.
#include "../shim/guard.h"
#include "launch.h"
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <cstdint>

using at::cuda::CUDAGraph;

extern const char foil_kernels_sm80_cubin[], foil_kernels_sm90_cubin[], foil_kernels_sm90_ptx[]; // from kernels.cu, by `cargo xtask cuda`

extern "C" {

// Goes up with every change to these functions, or to what a kernel is given; the program refuses
// another one's library.
int foil_cuda_version() { return 7; }

void foil_cuda_free(char* message) { std::free(message); }

// Whether libtorch's CUDA is the one this was compiled with: another one's structs lie otherwise.
char* foil_cuda_fits() {
    return guarded([] {
        int version = 0;
        C10_CUDA_CHECK(cudaRuntimeGetVersion(&version));
        TORCH_CHECK(version / 1000 == CUDART_VERSION / 1000, "it is for CUDA ", CUDART_VERSION / 1000, ", and this libtorch has CUDA ", version / 1000);
    });
}

// What a device is. Bytes and multiprocessors; the capability 9.0 is 90.
struct FoilDevice {
    char name[128];
    int capability;
    int multiprocessors;
    int64_t memory;
    int64_t cache;
};

char* foil_cuda_device(int device, FoilDevice* out) {
    return guarded([&] {
        cudaDeviceProp properties;
        C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
        std::strncpy(out->name, properties.name, sizeof out->name - 1);
        out->name[sizeof out->name - 1] = 0;
        out->capability = properties.major * 10 + properties.minor;
        out->multiprocessors = properties.multiProcessorCount;
        out->memory = static_cast<int64_t>(properties.totalGlobalMem);
        out->cache = properties.l2CacheSize;
    });
}

// From here on this thread works on a stream of its own: the default stream cannot be captured.
// Once for each thread and device, because memory belongs to the stream it was taken for.
char* foil_cuda_own_stream(int device) {
    return guarded([&] {
        static thread_local int on = -1;
        if (on == device) return;
        C10_CUDA_CHECK(cudaSetDevice(device));
        C10_CUDA_CHECK(cudaDeviceSynchronize());
        c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(false, static_cast<c10::DeviceIndex>(device)));
        on = device;
    });
}

char* foil_cuda_wait() {
    return guarded([] { C10_CUDA_CHECK(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream())); });
}

// The same for an operator recorder, which has no use for a message.
void foil_cuda_wait_silently() { std::free(foil_cuda_wait()); }

// --- capture ---

// A graph with the pool its memory comes from, which libtorch tells only of graphs that were
// captured whole.
struct FoilGraph {
    CUDAGraph graph;
    at::cuda::MempoolId_t pool;
    c10::DeviceIndex device;
};

// `sharing` is another graph whose memory this one may use, or null.
char* foil_cuda_graph_begin(FoilGraph** out, const FoilGraph* sharing) {
    return guarded([&] {
        auto made = std::make_unique<FoilGraph>();
        made->pool = sharing ? sharing->pool : at::cuda::graph_pool_handle();
        made->device = c10::cuda::current_device();
        // Thread-local: what other threads do, such as a log's writer, does not spoil the capture.
        made->graph.capture_begin(made->pool, cudaStreamCaptureModeThreadLocal);
        *out = made.release();
    });
}

char* foil_cuda_graph_end(FoilGraph* made) {
    return guarded([&] {
        try {
            made->graph.capture_end();
        } catch (...) {
            // A capture that was spoilt ends before libtorch's allocators hear of it, and its
            // destructor gives back what ended well only.
            std::free(guarded([&] {
                c10::cuda::CUDACachingAllocator::endAllocateToPool(made->device, made->pool);
                c10::cuda::CUDACachingAllocator::releasePool(made->device, made->pool);
                at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(made->pool);
                at::getHostAllocator(at::kCUDA)->release_pool(made->pool);
            }));
            throw;
        }
    });
}

char* foil_cuda_graph_replay(FoilGraph* made) {
    return guarded([&] { made->graph.replay(); });
}

void foil_cuda_graph_free(FoilGraph* made) {
    std::free(guarded([&] { delete made; }));
    cudaGetLastError(); // what a failed capture left behind is told already
}

// --- memory ---

// The most that tensors held at once since the last reset, and the most that was taken from the
// device.
char* foil_cuda_peak(int device, int64_t* tensors, int64_t* reserved) {
    return guarded([&] {
        auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
        *tensors = stats.allocated_bytes[0].peak;
        *reserved = stats.reserved_bytes[0].peak;
    });
}

char* foil_cuda_reset_peak(int device) {
    return guarded([&] { c10::cuda::CUDACachingAllocator::resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

// Gives cached blocks back, so that a graph's own pool finds room.
char* foil_cuda_empty_cache() {
    return guarded([] { c10::cuda::CUDACachingAllocator::emptyCache(); });
}

// --- kernels ---

// The kernel called `name`. Devices of one major capability run the same machine code; for later
// ones their driver makes it, and keeps it on disk.
char* foil_cuda_kernel(cudaKernel_t* out, const char* name) {
    return guarded([&] {
        static cudaLibrary_t library = [] {
            cudaLibrary_t loaded;
            const int major = capability() / 10;
            const char* code = major < 9 ? foil_kernels_sm80_cubin : major == 9 ? foil_kernels_sm90_cubin : foil_kernels_sm90_ptx;
            C10_CUDA_CHECK(cudaLibraryLoadData(&loaded, code, nullptr, nullptr, 0, nullptr, nullptr, 0));
            return loaded;
        }();
        C10_CUDA_CHECK(cudaLibraryGetKernel(out, library, name));
    });
}

char* foil_cuda_launch(cudaKernel_t kernel, unsigned x, unsigned y, unsigned threads, void** arguments) {
    return guarded([&] { launch(kernel, dim3(x, y), threads, 0, 1, arguments); });
}
}
