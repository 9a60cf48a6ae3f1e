// How a convolution's sums become what it writes, and what the batch norms around it need.
#pragma once
#include "conv_shape.h"
#include "hopper.h"

__device__ __forceinline__ u32 rounded(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ float low(u32 both) { return __uint_as_float(both << 16); }
__device__ __forceinline__ float high(u32 both) { return __uint_as_float(both & 0xffff0000u); }

// The sum over the four threads that hold one channel.
__device__ __forceinline__ float over_four(float v) {
    v += __shfl_xor_sync(~0u, v, 1);
    return v + __shfl_xor_sync(~0u, v, 2);
}

// Writes a warpgroup's 64 channels from `c` on of the pixels at image n and row h, by way of shared memory at `stage`, where what is beside them already lies.
template <class S, int E>
__device__ __forceinline__ void write(const float (&sums)[S::WRITTEN / 2], u32 stage, const Map* out, const Extra& extra, int group, int thread, int c, int n,
                                      int h, int part) {
    const int warp = thread / 32, lane = thread % 32, matrix = lane / 8, row = lane % 8;
    if (!HAS_BESIDE<E>) {
        // The copy engine must have read the tile before.
        if (thread == 0) asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
        asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    }
    const u32 to = stage + ((matrix >> 1) * 8 + row) * 128 + (((2 * warp + (matrix & 1)) ^ row) << 4);
    const int mine = c + warp * 16 + lane / 4; // and eight further
    float scale[2], shift[2], mean[2], first[2] = {}, second[2] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        if (E == AFFINE || E == MASK || E == SLOPES) scale[i] = extra.scale[mine + i * 8];
        if (E == AFFINE || E == SLOPES) shift[i] = extra.shift[mine + i * 8];
        if (E == SLOPES) mean[i] = extra.mean[mine + i * 8];
    }
    u32 kept[S::WRITTEN / 4];
#pragma unroll
    for (int j = 0; j < S::WRITTEN / 16; ++j) {
        u32 beside[4];
        if (HAS_BESIDE<E>)
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(beside[0]), "=r"(beside[1]), "=r"(beside[2]), "=r"(beside[3])
                         : "r"(to + j * 2048)
                         : "memory");
        u32* made = kept + j * 4;
#pragma unroll
        for (int i = 0; i < 4; ++i) { // channels alternate
            const float a = sums[j * 8 + i * 2], b = sums[j * 8 + i * 2 + 1];
            const int k = i % 2;
            if (E == AFFINE) made[i] = rounded(fmaxf(fmaf(a, scale[k], shift[k]), 0.f), fmaxf(fmaf(b, scale[k], shift[k]), 0.f));
            else if (E == SUM_STATISTICS) made[i] = rounded(a + low(beside[i]), b + high(beside[i]));
            else if (E == MASK) made[i] = rounded(low(beside[i]) > 0.f ? a * scale[k] : 0.f, high(beside[i]) > 0.f ? b * scale[k] : 0.f);
            else made[i] = rounded(a, b);
            if (E == STATISTICS || E == SUM_STATISTICS) first[k] += low(made[i]) + high(made[i]);
            if (E == SLOPES) {
                const float x = low(beside[i]), y = high(beside[i]);
                const float open = fmaf(x, scale[k], shift[k]) > 0.f ? low(made[i]) : 0.f, other = fmaf(y, scale[k], shift[k]) > 0.f ? high(made[i]) : 0.f;
                first[k] += open + other;
                second[k] = fmaf(open, x - mean[k], fmaf(other, y - mean[k], second[k]));
            }
        }
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + j * 2048), "r"(made[0]), "r"(made[1]), "r"(made[2]),
                     "r"(made[3])
                     : "memory");
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    if (thread == 0) {
        store_images(stage, out, c, 0, n, h);
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    }
    if (E == STATISTICS || E == SUM_STATISTICS) {
        // Deviations from this group's own mean, so that a large mean costs no digits.
#pragma unroll
        for (int k = 0; k < 2; ++k) first[k] = over_four(first[k]) * (1.f / S::WRITTEN);
#pragma unroll
        for (int i = 0; i < S::WRITTEN / 4; ++i) {
            const int k = i % 2;
            const float a = low(kept[i]) - first[k], b = high(kept[i]) - first[k];
            second[k] = fmaf(a, a, fmaf(b, b, second[k]));
        }
    }
    if (E == SLOPES) {
#pragma unroll
        for (int k = 0; k < 2; ++k) first[k] = over_four(first[k]);
    }
    if (E == STATISTICS || E == SUM_STATISTICS || E == SLOPES) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            second[k] = over_four(second[k]);
            if (lane % 4 || part >= extra.groups) continue;
            float* group = extra.partial + ((long)part * S::C + mine + k * 8) * 2;
            group[0] = first[k], group[1] = second[k];
        }
    }
}
