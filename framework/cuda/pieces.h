// Gradients of many parameters, and of several passes, into one flat tensor in one launch.
#pragma once
#include "batch_norm.h"

constexpr int SOURCES = 4, PIECES = 64;

// A piece of the flat tensor and what it is the sum of, null after the last; `first` is its first
// block, and bit s of `halves` says that from[s] is bf16.
struct Piece {
    float* to;
    const void* from[SOURCES];
    long n;
    unsigned first, halves;
};
// In the order of their blocks; behind the last, `first` is more than there are.
struct Pieces {
    Piece at[PIECES];
};

// Of its piece a block sums up PART numbers, so that large pieces keep the whole device busy: PARTS
// times eight by each thread, on their way at once.
constexpr int PARTS = 2, APART = THREADS * 8, PART = PARTS * APART;

template <class T> __device__ void add_part(float (&sum)[PARTS][8], const T* from, long start, long n, bool aligned) {
    Raw<T> raw[PARTS];
#pragma unroll
    for (int d = 0; d < PARTS; ++d)
        if (aligned && start + d * APART + 8 <= n) raw[d] = fetch(from, start + d * APART);
#pragma unroll
    for (int d = 0; d < PARTS; ++d) {
        const long at = start + d * APART;
        float v[8] = {};
        if (aligned && at + 8 <= n) unpack(v, raw[d]);
        else
            for (int k = 0; k < 8 && at + k < n; ++k) v[k] = one(from, at + k);
#pragma unroll
        for (int k = 0; k < 8; ++k) sum[d][k] += v[k];
    }
}

// The last piece that begins at this block or before.
__device__ inline int piece_of_block(const Pieces& pieces) {
    int found = 0;
#pragma unroll
    for (int step = PIECES / 2; step > 0; step /= 2)
        if (pieces.at[found + step].first <= blockIdx.x) found += step;
    return found;
}

__device__ inline void sum_piece(const Piece& piece) {
    const long start = (long)(blockIdx.x - piece.first) * PART + threadIdx.x * 8;
    bool aligned = (unsigned long)piece.to % 16 == 0;
#pragma unroll
    for (int s = 0; s < SOURCES; ++s) aligned = aligned && (unsigned long)piece.from[s] % 16 == 0;
    float sum[PARTS][8] = {};
#pragma unroll
    for (int s = 0; s < SOURCES; ++s) {
        if (!piece.from[s]) break;
        if (piece.halves >> s & 1) add_part(sum, (const bf16*)piece.from[s], start, piece.n, aligned);
        else add_part(sum, (const float*)piece.from[s], start, piece.n, aligned);
    }
#pragma unroll
    for (int d = 0; d < PARTS; ++d) {
        const long at = start + d * APART;
        if (aligned && at + 8 <= piece.n) store(piece.to, at, sum[d]);
        else
            for (int k = 0; k < 8 && at + k < piece.n; ++k) piece.to[at + k] = sum[d][k];
    }
}
