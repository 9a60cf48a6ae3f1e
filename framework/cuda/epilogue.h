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

// max(v, 0); not fmaxf, which would hide a NaN.
__device__ __forceinline__ float relu(float v) {
    float found;
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(found) : "f"(v));
    return found;
}

// Where a thread's part of a warpgroup's tile begins: a row of one of four 8 x 8 matrices. The next
// four are 2048 bytes further.
__device__ __forceinline__ u32 place(u32 stage, int thread) {
    const int warp = thread / 32, lane = thread % 32, matrix = lane / 8, row = lane % 8;
    return stage + ((matrix >> 1) * 8 + row) * 128 + (((2 * warp + (matrix & 1)) ^ row) << 4);
}

__device__ __forceinline__ void load_matrices(u32 (&to)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
}

__device__ __forceinline__ void store_matrices(u32 to, const u32* from) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(from[0]), "r"(from[1]), "r"(from[2]),
                 "r"(from[3])
                 : "memory");
}

// The threads of a warpgroup.
__device__ __forceinline__ void group_barrier(int group) { asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory"); }

// Until the copy engine has read what this thread told it to write, but for the last `PENDING`
// tiles.
template <int PENDING = 0> __device__ __forceinline__ void wait_until_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

// Which of a thread's numbers are positive, in pairs: pair i is bits i % 16 and i % 16 + 16 of word
// i / 16.
template <class S> struct Open {
    u32 words[S::WRITTEN / 64];
    __device__ __forceinline__ bool low(int i) const { return words[i / 16] >> i % 16 & 1; }
    __device__ __forceinline__ bool high(int i) const { return words[i / 16] >> (i % 16 + 16) & 1; }
};

// Those of the tile at `stage`.
template <class S> __device__ __forceinline__ void find_open(Open<S>& open, u32 stage, int thread) {
    const u32 from = place(stage, thread);
#pragma unroll
    for (int j = 0; j < S::WRITTEN / 16; ++j) {
        u32 four[4];
        load_matrices(four, from + j * 2048);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int i = j * 4 + k;
            u32 positive; // all bits of a half
            asm("set.gt.u32.bf16x2 %0, %1, %2;" : "=r"(positive) : "r"(four[k]), "r"(0));
            open.words[i / 16] = (i % 16 ? open.words[i / 16] : 0) | (positive & (0x10001u << i % 16));
        }
    }
}

// Writes a warpgroup's 64 channels from `c` on of the pixels at image n and row h, by way of shared
// memory at `stage`, where what is beside them already lies, or for MASK_SUM what is added; there
// `open` is what is beside them. The last `PENDING` tiles lie elsewhere.
template <class S, int E, int PENDING = 0>
__device__ __forceinline__ void write(const float (&sums)[S::WRITTEN / 2], u32 stage, const Map* out, const Extra& extra, int group, int thread, int c, int n,
                                      int h, int part, const Map* other = nullptr, const Open<S>& open = {}) {
    const int warp = thread / 32, lane = thread % 32;
    if (!HAS_BESIDE<E>) { // the tile before may still be there
        if (thread == 0) wait_until_read<PENDING>();
        group_barrier(group);
    }
    const u32 to = place(stage, thread);
    const bool keeps_sum = E == SUM_AFFINE && extra.keeps_sum;
    const int mine = c + warp * 16 + lane / 4; // and eight further
    float scale[2], shift[2], mean[2], first[2] = {}, second[2] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        if (E == AFFINE || E == SUM_AFFINE || E == MASK || E == MASK_SUM || E == SLOPES) scale[i] = extra.scale[mine + i * 8];
        if (E == AFFINE || E == SUM_AFFINE || E == SLOPES) shift[i] = extra.shift[mine + i * 8];
        if (E == SLOPES) mean[i] = extra.mean[mine + i * 8];
    }
    u32 kept[S::WRITTEN / 4];
#pragma unroll
    for (int j = 0; j < S::WRITTEN / 16; ++j) {
        u32 beside[4], made[4];
        if (HAS_BESIDE<E>) load_matrices(beside, to + j * 2048);
#pragma unroll
        for (int i = 0; i < 4; ++i) { // channels alternate
            const float a = sums[j * 8 + i * 2], b = sums[j * 8 + i * 2 + 1];
            const int k = i % 2;
            if (E == AFFINE) made[i] = rounded(relu(fmaf(a, scale[k], shift[k])), relu(fmaf(b, scale[k], shift[k])));
            else if (E == SUM_STATISTICS || E == SUM_AFFINE) made[i] = rounded(a + low(beside[i]), b + high(beside[i]));
            else if (E == MASK) made[i] = rounded(low(beside[i]) > 0.f ? a * scale[k] : 0.f, high(beside[i]) > 0.f ? b * scale[k] : 0.f);
            else if (E == MASK_SUM)
                made[i] = rounded(fmaf(open.low(j * 4 + i) ? a : 0.f, scale[k], low(beside[i])),
                                  fmaf(open.high(j * 4 + i) ? b : 0.f, scale[k], high(beside[i])));
            else made[i] = rounded(a, b);
            kept[j * 4 + i] = made[i];
            if (E == SUM_AFFINE) {
                kept[j * 4 + i] = rounded(relu(fmaf(low(made[i]), scale[k], shift[k])), relu(fmaf(high(made[i]), scale[k], shift[k])));
                if (!keeps_sum) made[i] = kept[j * 4 + i];
            }
            if (E == STATISTICS || E == SUM_STATISTICS) first[k] += low(made[i]) + high(made[i]);
            if (E == SLOPES) {
                const float x = low(beside[i]), y = high(beside[i]);
                const float open = fmaf(x, scale[k], shift[k]) > 0.f ? low(made[i]) : 0.f, other = fmaf(y, scale[k], shift[k]) > 0.f ? high(made[i]) : 0.f;
                first[k] += open + other;
                second[k] = fmaf(open, x - mean[k], fmaf(other, y - mean[k], second[k]));
            }
        }
        store_matrices(to + j * 2048, made);
    }
    const auto send = [&](const Map* map) {
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        group_barrier(group);
        if (thread != 0) return;
        store_images(stage, map, c, 0, n, h);
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    };
    if (keeps_sum) { // the tile goes out twice
        send(other);
        if (thread == 0) wait_until_read();
        group_barrier(group);
#pragma unroll
        for (int j = 0; j < S::WRITTEN / 16; ++j) store_matrices(to + j * 2048, kept + j * 4);
    }
    send(out);
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
