// Gradients of many parameters, and of several passes, into one flat tensor in one launch.
#pragma once
#include "batch_norm.h"

constexpr int SOURCES = 4, PIECES = 64;

// A piece of the flat tensor and what it is the sum of, null after the last; bit s of `halves` says that from[s] is bf16.
struct Piece {
    float* to;
    const void* from[SOURCES];
    long n, halves;
};
struct Pieces {
    Piece at[PIECES];
};

template <class T> __device__ void add_eight(float (&sum)[8], const T* from, long i, int count, bool aligned) {
    float v[8] = {};
    if (aligned && count == 8) load(v, from, i);
    else
        for (int k = 0; k < count; ++k) v[k] = one(from, i + k);
#pragma unroll
    for (int k = 0; k < 8; ++k) sum[k] += v[k];
}

// Blocks of one blockIdx.y share a piece.
__device__ inline void sum_piece(const Piece& piece) {
    bool aligned = (unsigned long)piece.to % 16 == 0;
    for (int s = 0; s < SOURCES; ++s) aligned = aligned && (unsigned long)piece.from[s] % 16 == 0;
    for (long i = ((long)blockIdx.x * THREADS + threadIdx.x) * 8; i < piece.n; i += (long)gridDim.x * THREADS * 8) {
        int count = piece.n - i < 8 ? (int)(piece.n - i) : 8;
        float sum[8] = {};
#pragma unroll
        for (int s = 0; s < SOURCES; ++s) {
            if (!piece.from[s]) break;
            if (piece.halves >> s & 1) add_eight(sum, (const bf16*)piece.from[s], i, count, aligned);
            else add_eight(sum, (const float*)piece.from[s], i, count, aligned);
        }
        if (aligned && count == 8) store(piece.to, i, sum);
        else
            for (int k = 0; k < count; ++k) piece.to[i + k] = sum[k];
    }
}
