// How kernels are launched, by foil_cuda.cpp and conv.cpp.
#pragma once
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime_api.h>

inline int capability() {
    int major = 0, minor = 0;
    const int device = c10::cuda::current_device();
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    return major * 10 + minor;
}

// Whether a kernel may come onto the device before the one in front has ended, and wait there
// (in_turn.h): from Hopper on. `FOIL_OVERLAP=off` is for comparisons.
inline bool overlaps() {
    static const bool wanted = [] {
        const char* said = std::getenv("FOIL_OVERLAP");
        return !said || std::strcmp(said, "off");
    }();
    return wanted && capability() >= 90;
}

// On this thread's stream; `cluster` blocks beside each other run at once.
inline void launch(cudaKernel_t kernel, dim3 blocks, unsigned threads, size_t shared, unsigned cluster, void** arguments) {
    cudaLaunchAttribute attributes[2] = {};
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks, config.blockDim = dim3(threads), config.dynamicSmemBytes = shared;
    config.stream = c10::cuda::getCurrentCUDAStream();
    config.attrs = attributes;
    if (overlaps()) {
        auto& overlap = attributes[config.numAttrs++];
        overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        overlap.val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster > 1) {
        auto& side_by_side = attributes[config.numAttrs++];
        side_by_side.id = cudaLaunchAttributeClusterDimension;
        side_by_side.val.clusterDim = {cluster, 1, 1};
    }
    C10_CUDA_CHECK(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), arguments));
}
