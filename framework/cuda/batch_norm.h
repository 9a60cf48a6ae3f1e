// Batch norm with the batch's own statistics, over `rows` of `c` channels: channel j of row i is element i * c + j.
//
// A block has THREADS threads: `lanes` (a power of two) side by side with eight channels each, times THREADS / lanes rows. It goes through `height` rows of
// lanes * 8 channels: blockIdx.x says which rows, blockIdx.y which channels. Sums over rows are taken by thread, by block, and over blocks by
// the block that comes last; which one that is changes nothing, so that the result has the same bits each time.
#pragma once
#include "eight.h"

constexpr int THREADS = 256;

// This thread's part of the whole.
struct Slab {
    int row, step, channel;
    long first, end;

    __device__ Slab(long rows, int lanes, int height)
        : row((int)threadIdx.x / lanes), step(THREADS / lanes), channel(((int)blockIdx.y * lanes + (int)threadIdx.x % lanes) * 8),
          first((long)blockIdx.x * height + row), end((long)(blockIdx.x + 1) * height) {
        if (end > rows) end = rows;
    }
};

// Two sums for each of eight channels, over n rows.
struct Sums {
    float a[8] = {}, b[8] = {}, n = 0.f;

    __device__ void add(const Sums& other) {
#pragma unroll
        for (int k = 0; k < 8; ++k) a[k] += other.a[k], b[k] += other.b[k];
        n += other.n;
    }
};

// Mean and sum of squared deviations for each of eight channels, over n rows (Chan, Golub, LeVeque 1979).
struct Moments {
    float a[8] = {}, b[8] = {}, n = 0.f;

    __device__ void add(const Moments& other) {
        float all = n + other.n, share = all > 0.f ? other.n / all : 0.f;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            float apart = other.a[k] - a[k];
            a[k] = fmaf(apart, share, a[k]);
            b[k] += fmaf(apart * apart, n * share, other.b[k]);
        }
        n = all;
    }
};

// Adds up what the threads of a block hold for the same channels; those of row 0 have it afterwards.
template <class Part> __device__ void gather(Part& mine, int lanes) {
    __shared__ float board[17][THREADS];
    int row = threadIdx.x / lanes;
    // Each round reads what was written after the round before had read elsewhere, so that one barrier a round is enough.
    for (int half = THREADS / lanes / 2; half > 0; half /= 2) {
        if (row >= half && row < 2 * half) {
#pragma unroll
            for (int k = 0; k < 8; ++k) board[k][threadIdx.x] = mine.a[k], board[8 + k][threadIdx.x] = mine.b[k];
            board[16][threadIdx.x] = mine.n;
        }
        __syncthreads();
        if (row < half) {
            int from = threadIdx.x + half * lanes;
            Part other;
#pragma unroll
            for (int k = 0; k < 8; ++k) other.a[k] = board[k][from], other.b[k] = board[8 + k][from];
            other.n = board[16][from];
            mine.add(other);
        }
    }
}

// Adds up what all blocks hold: true for row 0 of the last block, which then has it. `partial` is [gridDim.x][2][c]; `tickets` has a zero for each
// blockIdx.y, and has it again afterwards.
template <class Part>
__device__ bool gather_all(Part& mine, const Slab& at, float* partial, unsigned* tickets, long rows, int c, int lanes, int height) {
    __shared__ bool last;
    gather(mine, lanes);
    if (at.row == 0) {
        float* here = partial + (long)blockIdx.x * 2 * c + at.channel;
        store(here, 0, mine.a), store(here, c, mine.b);
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicInc(tickets + blockIdx.y, gridDim.x - 1) == gridDim.x - 1;
    __syncthreads();
    if (!last) return false;
    __threadfence();
    mine = Part();
#pragma unroll 2
    for (int block = at.row; block < (int)gridDim.x; block += at.step) {
        Part other;
        const float* there = partial + (long)block * 2 * c + at.channel;
        load(other.a, there, 0), load(other.b, there, c);
        long left = rows - (long)block * height;
        other.n = (float)(left < height ? left : height);
        mine.add(other);
    }
    gather(mine, lanes);
    return at.row == 0;
}

// The statistics of x, or of sum = x + y if there is a y, as it is stored; moves the running ones. `factors` is [4][c]: scale, shift, mean, 1 / deviation.
//
// A thread's squares are of differences to the first number it sees, which is one of those it sums: the sum of squares is then at most n + 1 times that
// of the deviations from the mean, and cancels by no more, whatever the numbers are. Means are kept as differences to row 0, so that a large one costs no digits.
template <class T>
__device__ void batch_statistics(const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ sum, const float* weight, const float* bias, float* running_mean, float* running_var,
                                 float momentum, float eps, float* factors, float* partial, unsigned* tickets, long rows, int c, int lanes,
                                 int height) {
    Slab at(rows, lanes, height);
    auto read = [&](float(&v)[8], long row) {
        load(v, x, row * c + at.channel);
        if (y) {
            float w[8];
            load(w, y, row * c + at.channel);
#pragma unroll
            for (int k = 0; k < 8; ++k) v[k] += w[k];
            keep(v, x);
        }
    };
    float pivot[8], v[8], s[8] = {}, q[8] = {};
    Moments mine;
    if (at.first < at.end) {
        read(pivot, at.first);
        if (y) store(sum, at.first * c + at.channel, pivot);
        mine.n = 1.f;
    }
#pragma unroll 4
    for (long row = at.first + at.step; row < at.end; row += at.step) {
        read(v, row);
        if (y) store(sum, row * c + at.channel, v);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            float d = v[k] - pivot[k];
            s[k] += d;
            q[k] = fmaf(d, d, q[k]);
        }
        mine.n += 1.f;
    }
    float origin[8];
    read(origin, 0);
    if (mine.n > 0.f) {
        float part = 1.f / mine.n;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            float mean = s[k] * part;
            mine.a[k] = pivot[k] - origin[k] + mean;
            mine.b[k] = relu(fmaf(-s[k], mean, q[k]));
        }
    }
    if (!gather_all(mine, at, partial, tickets, rows, c, lanes, height)) return;
    read(origin, 0);
    double n = (double)rows;
    for (int k = 0; k < 8; ++k) {
        int j = at.channel + k;
        double mean = (double)origin[k] + mine.a[k], var = mine.b[k] / n, inverse = 1. / sqrt(var + eps);
        float scale = (float)(weight[j] * inverse);
        factors[j] = scale;
        factors[c + j] = (float)(bias[j] - mean * scale);
        factors[2 * c + j] = (float)mean;
        factors[3 * c + j] = (float)inverse;
        running_mean[j] = (float)((1. - momentum) * running_mean[j] + momentum * mean);
        running_var[j] = (float)((1. - momentum) * running_var[j] + momentum * (mine.b[k] / (n - 1.)));
    }
}

// The gradient of what came out of batch norm: 0 where the ReLU behind it, if there is one, was shut, by the arithmetic that shut it.
__device__ inline float behind(float g, float x, float scale, float shift, int has_relu) {
    return !has_relu || fmaf(x, scale, shift) > 0.f ? g : 0.f;
}

// From the two sums of the gradient, what its mean and its slope along x take away: `slopes` is [2][c], and that is x * slopes[0] + slopes[1]
// = scale * (mean(g) + xhat * mean(g * xhat)), where xhat = (x - mean) / deviation. `learned`, [2][c] or null, gets the gradients of weight and bias,
// sum(g * xhat) and sum(g).
template <class T>
__device__ void batch_slopes(const T* gradient, const T* x, const float* factors, int has_relu, float* slopes, float* learned, float* partial,
                             unsigned* tickets, long rows, int c, int lanes, int height) {
    Slab at(rows, lanes, height);
    float scale[8], shift[8], mean[8];
    load(scale, factors, at.channel), load(shift, factors, c + at.channel), load(mean, factors, 2 * c + at.channel);
    Sums mine;
#pragma unroll 2
    for (long row = at.first; row < at.end; row += at.step) {
        float g[8], v[8];
        load(g, gradient, row * c + at.channel), load(v, x, row * c + at.channel);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            float open = behind(g[k], v[k], scale[k], shift[k], has_relu);
            mine.a[k] += open;
            mine.b[k] = fmaf(open, v[k] - mean[k], mine.b[k]);
        }
    }
    if (!gather_all(mine, at, partial, tickets, rows, c, lanes, height)) return;
    for (int k = 0; k < 8; ++k) {
        int j = at.channel + k;
        double inverse = factors[3 * c + j], by = scale[k] / (double)rows, slope = by * mine.b[k] * inverse * inverse;
        slopes[j] = (float)slope;
        slopes[c + j] = (float)(by * mine.a[k] - slope * mean[k]);
        if (learned) learned[j] = (float)(mine.b[k] * inverse), learned[c + j] = mine.a[k];
    }
}

// out = scale * (g - mean(g) - xhat * mean(g * xhat)) + other, where g is the gradient behind the ReLU; `other` may be null, which is 0.
template <class T>
__device__ void batch_backward(const T* __restrict__ gradient, const T* __restrict__ x, const T* __restrict__ other, const float* factors,
                               const float* slopes, int has_relu, T* __restrict__ out, long rows, int c, int lanes, int height) {
    Slab at(rows, lanes, height);
    float scale[8], shift[8], slope[8], level[8];
    load(scale, factors, at.channel), load(shift, factors, c + at.channel);
    load(slope, slopes, at.channel), load(level, slopes, c + at.channel);
    for (long row = at.first; row < at.end; row += at.step) {
        long i = row * c + at.channel;
        float g[8], v[8], o[8] = {};
        load(g, gradient, i), load(v, x, i);
        if (other) load(o, other, i);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            float open = behind(g[k], v[k], scale[k], shift[k], has_relu);
            g[k] = fmaf(scale[k], open, -fmaf(v[k], slope[k], level[k])) + o[k];
        }
        store(out, i, g);
    }
}
