// Sums over the blocks of a cluster that share a tile: each keeps its part of the pixels.
#pragma once
#include "hopper.h"

// Gives the others what this block found of their parts, in `memory` of slots that nobody reads any
// more.
template <class S> __device__ __forceinline__ void give(const float (&sums)[S::PX / 2], u32 memory, int rank, int group, int thread) {
    constexpr int PART = S::WRITTEN / 2;
#pragma unroll
    for (int s = 0; s < S::SPLIT; ++s) {
        if (s == rank) continue;
        const u32 local = memory + ((rank < s ? rank : rank - 1) * 2 + group) * (PART / 4) * 2048 + thread * 16;
        u32 remote;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(s));
#pragma unroll
        for (int i = 0; i < PART; i += 4)
            asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(remote + i * 512), "f"(sums[s * PART + i]),
                         "f"(sums[s * PART + i + 1]), "f"(sums[s * PART + i + 2]), "f"(sums[s * PART + i + 3])
                         : "memory");
    }
}

// This block's part, once all have given theirs.
template <class S> __device__ __forceinline__ void take(float (&own)[S::WRITTEN / 2], const float (&sums)[S::PX / 2], u32 memory, int rank, int group, int thread) {
    constexpr int PART = S::WRITTEN / 2;
#pragma unroll
    for (int i = 0; i < PART; ++i) {
        own[i] = sums[i];
#pragma unroll
        for (int s = 1; s < S::SPLIT; ++s) own[i] = s == rank ? sums[s * PART + i] : own[i];
    }
#pragma unroll
    for (int from = 0; from < S::SPLIT - 1; ++from)
#pragma unroll
        for (int i = 0; i < PART; i += 4) {
            float a, b, c, d;
            asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(a), "=f"(b), "=f"(c), "=f"(d)
                         : "r"(memory + ((from * 2 + group) * (PART / 4) + i / 4) * 2048 + thread * 16)
                         : "memory");
            own[i] += a, own[i + 1] += b, own[i + 2] += c, own[i + 3] += d;
        }
}
