// Every matrix of a batch transposed: images between channels-last and one channel after the other.
#pragma once
#include "batch_norm.h"

constexpr int SIDE = 32;

// `in` is [gridDim.y][rows][columns], `out` [gridDim.y][columns][rows]; a block has a square of one
// of them, by shared memory, so that both sides are touched in order.
template <class T> __device__ void transpose(const T* __restrict__ in, T* __restrict__ out, int rows, int columns) {
    __shared__ T square[SIDE][SIDE + 1];
    const int across = (columns + SIDE - 1) / SIDE, row = (int)blockIdx.x / across * SIDE, column = (int)blockIdx.x % across * SIDE;
    const int x = (int)threadIdx.x % SIDE, first = (int)threadIdx.x / SIDE;
    const long matrix = (long)blockIdx.y * rows * columns;
    for (int y = first; y < SIDE; y += THREADS / SIDE)
        if (row + y < rows && column + x < columns) square[y][x] = in[matrix + (long)(row + y) * columns + column + x];
    __syncthreads();
    for (int y = first; y < SIDE; y += THREADS / SIDE)
        if (column + y < columns && row + x < rows) out[matrix + (long)(column + y) * rows + row + x] = square[x][y];
}
