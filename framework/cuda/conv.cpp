// The launch of conv_sm90.cu's kernels: part of `libfoil_cuda.so`.
#include "../shim/guard.h"
#include "conv_shape.h"
#include "launch.h"
#include <algorithm>
#include <cuda.h>
#include <mutex>
#include <set>
#include <string>

extern const char foil_conv_cubin[]; // from conv_sm90.cu, by `cargo xtask cuda`

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's function; nothing is linked against the driver.
Encode encode() {
    static Encode found = [] {
        void* at = nullptr;
        cudaDriverEntryPointQueryResult result;
        C10_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &at, 12000, cudaEnableDefault, &result));
        TORCH_CHECK(result == cudaDriverEntryPointSuccess && at, "the driver has no cuTensorMapEncodeTiled");
        return reinterpret_cast<Encode>(at);
    }();
    return found;
}

// A map of bf16 numbers for the copy engine, which takes `box` of them at once, in rows of 64 with 16-byte pieces swizzled; beyond the bounds it reads
// zero and writes nothing. `strides`, in numbers, are those of all dimensions but the first.
template <size_t D> CUtensorMap map(const void* numbers, const cuuint64_t (&sizes)[D], const cuuint64_t (&strides)[D - 1], const cuuint32_t (&box)[D]) {
    cuuint64_t bytes[D - 1];
    cuuint32_t steps[D];
    std::transform(strides, strides + D - 1, bytes, [](cuuint64_t stride) { return stride * 2; });
    std::fill(steps, steps + D, 1);
    CUtensorMap made;
    CUresult result = encode()(&made, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, D, const_cast<void*>(numbers), sizes, bytes, box, steps,
                               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    TORCH_CHECK(result == CUDA_SUCCESS, "a tensor map was refused (", static_cast<int>(result), ")");
    return made;
}

// Images [N, W, W, C] as (channel, column, image, row): the order of a tile in shared memory.
template <class S> CUtensorMap images(const void* numbers, unsigned n, unsigned rows) {
    constexpr cuuint64_t w = S::W, c = S::C;
    return map<4>(numbers, {c, w, n, w}, {c, w * w * c, w * c}, {64, S::W, S::NI, rows});
}

// The kernel called `name`, allowed its shared memory on this device.
cudaKernel_t kernel(const std::string& name, int bytes, int device) {
    static std::mutex lock;
    std::lock_guard<std::mutex> held(lock);
    static cudaLibrary_t library = [] {
        cudaLibrary_t loaded;
        C10_CUDA_CHECK(cudaLibraryLoadData(&loaded, foil_conv_cubin, nullptr, nullptr, 0, nullptr, nullptr, 0));
        return loaded;
    }();
    cudaKernel_t found;
    C10_CUDA_CHECK(cudaLibraryGetKernel(&found, library, name.c_str()));
    static std::set<std::pair<int, std::string>> allowed;
    if (!allowed.count({device, name})) {
        C10_CUDA_CHECK(cudaKernelSetAttributeForDevice(found, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes, device));
        allowed.emplace(device, name);
    }
    return found;
}

template <class S> void convolve(const char* name, const void* in, const void* weights, void* out, const void* beside, void* other, Extra extra, int n) {
    const int device = c10::cuda::current_device();
    int multiprocessors = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    constexpr cuuint64_t c = S::C;
    constexpr unsigned rows = S::R / S::SPLIT;
    CUtensorMap maps[] = {images<S>(in, n, S::R + 2), map<2>(weights, {c * 9, c}, {c * 9}, {64, 64}), images<S>(out, n, rows),
                          images<S>(beside ? beside : out, n, rows), images<S>(other ? other : out, n, rows)};
    extra.groups = static_cast<int>(static_cast<int64_t>(n) * S::W * S::W / S::WRITTEN);
    int tiles = (n + S::NI - 1) / S::NI * S::DOWN * (S::C / S::CHANNELS);
    void* arguments[] = {&maps[0], &maps[1], &maps[2], &maps[3], &maps[4], &extra, &tiles};

    const unsigned blocks = S::SPLIT > 1 ? tiles * S::SPLIT : std::min(tiles, multiprocessors);
    launch(kernel(name, S::BYTES, device), dim3(blocks), THREADS, S::BYTES, S::SPLIT, arguments);
}

} // namespace

extern "C" {

// The 3 x 3 convolution, stride 1, padding 1, of `n` bf16 images [n, side, side, C] with weights [C][3][3][C], where C = 2048 / side, or
// its input gradient, by the kernel of this name; `beside` and `other` have the shape of `out`, and what follows is an Extra's. Images begin at
// multiples of 16 bytes. What the kernel does not use may be null, and `other` where a sum is not kept. For devices of capability 9.0.
char* foil_cuda_conv(const char* name, const void* in, const void* weights, void* out, const void* beside, void* other, const float* scale,
                     const float* shift, const float* mean, float* partial, int n, int side) {
    return guarded([&] {
        const Extra extra = {scale, shift, mean, partial, 0, other != nullptr};
        switch (side) {
        case 32: return convolve<Conv32>(name, in, weights, out, beside, other, extra, n);
        case 16: return convolve<Conv16>(name, in, weights, out, beside, other, extra, n);
        case 8: return convolve<Conv8>(name, in, weights, out, beside, other, extra, n);
        case 4: return convolve<Conv4>(name, in, weights, out, beside, other, extra, n);
        }
        TORCH_CHECK(false, "there is no convolution for images of side ", side);
    });
}
}
