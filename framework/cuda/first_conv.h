// The input gradient of a first convolution: 3 channels in, at most 64 out, 3 x 3, stride 1, padding 1. Libraries' kernels are made for many channels.
//
// dx[row, x, c] = the sum over taps (i, j) and outputs o of dy[row + 1 - i, x + 1 - j, o] * w[o, c, i, j]. A block goes through some rows, TILE pixels at a
// time. A thread keeps the weights of one i and eight outputs in registers, and sums four pixels; 8 threads side by side read 128 bytes of dy. The 24
// threads that have parts of a pixel meet in shared memory.
#pragma once
#include "batch_norm.h"

constexpr int TILE = 32, PARTS = 24;

template <class T>
__device__ void first_conv_backward(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, int height, int width, int outputs,
                                    int by_channel, int by_row, int by_column, long rows, int at_once) {
    // One more than the numbers of a row, so that threads side by side write to different banks.
    __shared__ float board[PARTS][TILE * 3 + 1];
    const int lane = threadIdx.x % 8, piece = threadIdx.x / 8 % 8, tap = threadIdx.x / 64, o = lane * 8;
    const bool works = tap < 3 && o < outputs;
    float weight[3][3][8];
#pragma unroll
    for (int j = 0; j < 3; ++j)
#pragma unroll
        for (int c = 0; c < 3; ++c)
#pragma unroll
            for (int k = 0; k < 8; ++k)
                weight[j][c][k] = works ? one(w, (long)(o + k) * 27 + c * by_channel + tap * by_row + j * by_column) : 0.f;

    long last = (long)(blockIdx.x + 1) * at_once;
    if (last > rows) last = rows;
    for (long row = (long)blockIdx.x * at_once; row < last; ++row) {
        int from = (int)(row % height) + 1 - tap;
        bool inside = works && from >= 0 && from < height;
        const T* line = dy + (row + 1 - tap) * width * outputs + o;
        for (int start = 0; start < width; start += TILE) {
            float sum[4][3] = {};
            int x = start + piece * 4;
            if (inside) {
#pragma unroll
                for (int n = 0; n < 6; ++n) {
                    int at = x - 1 + n;
                    if (at < 0 || at >= width) continue;
                    float v[8];
                    load(v, line, (long)at * outputs);
#pragma unroll
                    for (int j = 0; j < 3; ++j) {
                        int pixel = n - 2 + j;
                        if (pixel < 0 || pixel >= 4) continue;
#pragma unroll
                        for (int c = 0; c < 3; ++c)
#pragma unroll
                            for (int k = 0; k < 8; ++k) sum[pixel][c] = fmaf(v[k], weight[j][c][k], sum[pixel][c]);
                    }
                }
            }
            if (tap < 3) {
#pragma unroll
                for (int pixel = 0; pixel < 4; ++pixel)
#pragma unroll
                    for (int c = 0; c < 3; ++c) board[tap * 8 + lane][(piece * 4 + pixel) * 3 + c] = sum[pixel][c];
            }
            __syncthreads();
            int i = threadIdx.x;
            if (i < TILE * 3 && start * 3 + i < width * 3) {
                float all = 0.f;
#pragma unroll
                for (int part = 0; part < PARTS; ++part) all += board[part][i];
                put(dx, (row * width + start) * 3 + i, all);
            }
            __syncthreads();
        }
    }
}
