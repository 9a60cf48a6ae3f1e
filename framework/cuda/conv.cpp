// The launch of conv_sm90.cu's and conv_down_sm90.cu's kernels: part of `libfoil_cuda.so`.
#include "../shim/guard.h"
#include "conv_down_shape.h"
#include "launch.h"
#include <algorithm>
#include <cuda.h>
#include <map>
#include <mutex>
#include <set>
#include <string>

extern const char foil_conv_sm90_cubin[], foil_conv_down_sm90_cubin[]; // from conv_sm90.cu and conv_down_sm90.cu, by `cargo xtask cuda`

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

// A map of bf16 numbers for the copy engine, which takes `box` of them at once, in rows of 64 with
// 16-byte pieces swizzled; beyond the bounds it reads zero and writes nothing. `strides`, in
// numbers, are those of all dimensions but the first.
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

// Images [N, W, W, 2048 / W] as (channel, column, image, row): the order of a tile in shared
// memory.
template <class S> CUtensorMap images(const void* numbers, unsigned n, unsigned rows) {
    constexpr cuuint64_t w = S::W, c = 2048 / w;
    return map<4>(numbers, {c, w, n, w}, {c, w * w * c, w * c}, {64, S::W, S::NI, rows});
}

// A quarter of images [N, 2W, 2W, C], the pixels of one parity of rows and one of columns, as
// (channel, column, image, row).
template <class S> CUtensorMap quarter(const void* numbers, int row, int column, unsigned n, unsigned rows) {
    constexpr cuuint64_t w = S::W, c = S::LARGE;
    const char* first = static_cast<const char*>(numbers) + (row * 2 * w + column) * c * 2;
    return map<4>(first, {c, w, n, w}, {2 * c, 4 * w * w * c, 4 * w * c}, {64, S::W, S::NI, rows});
}

// The kernel called `name`, allowed its shared memory on this device.
cudaKernel_t kernel(const char* cubin, const std::string& name, int bytes, int device) {
    static std::mutex lock;
    std::lock_guard<std::mutex> held(lock);
    static std::map<const char*, cudaLibrary_t> libraries;
    if (!libraries.count(cubin)) {
        cudaLibrary_t loaded;
        C10_CUDA_CHECK(cudaLibraryLoadData(&loaded, cubin, nullptr, nullptr, 0, nullptr, nullptr, 0));
        libraries[cubin] = loaded;
    }
    cudaKernel_t found;
    C10_CUDA_CHECK(cudaLibraryGetKernel(&found, libraries[cubin], name.c_str()));
    static std::set<std::pair<int, std::string>> allowed;
    if (!allowed.count({device, name})) {
        C10_CUDA_CHECK(cudaKernelSetAttributeForDevice(found, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes, device));
        allowed.emplace(device, name);
    }
    return found;
}

// A block to each multiprocessor, or a cluster to each tile.
template <class S> void run(const char* cubin, const char* name, int tiles, void** arguments) {
    const int device = c10::cuda::current_device();
    int multiprocessors = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    const unsigned blocks = S::SPLIT > 1 ? tiles * S::SPLIT : std::min(tiles, multiprocessors);
    launch(kernel(cubin, name, S::BYTES, device), dim3(blocks), THREADS, S::BYTES, S::SPLIT, arguments);
}

template <class S> int tiles_of(int n) { return (n + S::NI - 1) / S::NI * S::DOWN * (S::C / S::CHANNELS); }

template <class S> void convolve(const char* name, const void* in, const void* weights, void* out, const void* beside, void* other, Extra extra, int n) {
    constexpr cuuint64_t c = S::C;
    constexpr unsigned rows = S::R / S::SPLIT;
    CUtensorMap maps[] = {images<S>(in, n, S::R + 2), map<2>(weights, {c * 9, c}, {c * 9}, {64, 64}), images<S>(out, n, rows),
                          images<S>(beside ? beside : out, n, rows), images<S>(other ? other : out, n, rows)};
    extra.groups = static_cast<int>(static_cast<int64_t>(n) * S::W * S::W / S::WRITTEN);
    int tiles = tiles_of<S>(n);
    void* arguments[] = {&maps[0], &maps[1], &maps[2], &maps[3], &maps[4], &extra, &tiles};
    run<S>(foil_conv_sm90_cubin, name, tiles, arguments);
}

template <class S> void convolve_down(const char* name, void* large, const void* weights, const void* shortcut_weights, void* small, void* shortcut,
                                      const void* beside, Extra extra, int n) {
    constexpr cuuint64_t from = S::LARGE, to = S::SMALL;
    constexpr unsigned rows = S::R / S::SPLIT;
    // As `Maps` in conv_down_sm90.cu.
    CUtensorMap maps[12] = {images<S>(small, n, S::TURNED ? S::R + 1 : rows), images<S>(shortcut, n, S::TURNED ? S::R : rows),
                            map<2>(weights, {from * 9, to}, {from * 9}, {64, 64}), map<2>(shortcut_weights, {from, to}, {from}, {64, 64})};
    for (int i = 0; i < 4; ++i) {
        maps[4 + i] = quarter<S>(large, i / 2, i % 2, n, S::TURNED ? rows : S::R + i / 2);
        maps[8 + i] = quarter<S>(beside ? beside : large, i / 2, i % 2, n, rows);
    }
    extra.groups = static_cast<int>(static_cast<int64_t>(n) * S::W * S::W * (S::TURNED ? 4 : 1) / S::WRITTEN);
    int tiles = tiles_of<S>(n);
    void* arguments[] = {maps, &extra, &tiles};
    run<S>(foil_conv_down_sm90_cubin, name, tiles, arguments);
}

} // namespace

extern "C" {

// The 3 x 3 convolution, stride 1, padding 1, of `n` bf16 images [n, side, side, C] with weights
// [C][3][3][C], where C = 2048 / side, or its input gradient, by the kernel of this name; `beside`
// and `other` have the shape of `out`, and what follows is an Extra's. Images begin at multiples of
// 16 bytes. What the kernel does not use may be null, and `other` where a sum is not kept. For
// devices of capability 9.0.
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

// The convolutions of a down-sampling block, stride 2, of `n` bf16 images `large` [n, 2 side, 2
// side, C] where C = 1024 / side: 3 x 3, padding 1, with weights [2 C][3][3][C], and 1 x 1 with
// weights [2 C][C], to `small` and `shortcut` [n, side, side, 2 C]. With `turned` `large` is their
// common input gradient, from those of `small` and `shortcut`. By the kernel of this name; `beside`
// has the shape of the gradient, and the rest is as above.
char* foil_cuda_conv_down(const char* name, int turned, void* large, const void* weights, const void* shortcut_weights, void* small, void* shortcut,
                          const void* beside, const float* scale, const float* shift, const float* mean, float* partial, int n, int side) {
    return guarded([&] {
        const Extra extra = {scale, shift, mean, partial, 0, 0};
        const auto by = [&](auto forward, auto backward) {
            turned ? backward(name, large, weights, shortcut_weights, small, shortcut, beside, extra, n)
                   : forward(name, large, weights, shortcut_weights, small, shortcut, beside, extra, n);
        };
        switch (side) {
        case 16: return by(convolve_down<Down16<false>>, convolve_down<Down16<true>>);
        case 8: return by(convolve_down<Down8<false>>, convolve_down<Down8<true>>);
        case 4: return by(convolve_down<Down4<false>>, convolve_down<Down4<true>>);
        }
        TORCH_CHECK(false, "there is no convolution to images of side ", side);
    });
}
}
