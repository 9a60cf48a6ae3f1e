// A first convolution and its input gradient: C channels in, 3 or 1, at most 64 out, 3 x 3, stride
// 1, padding 1. Libraries' kernels are made for many channels.
//
//     out[y, x, o] = the sum over taps (i, j) and channels c of in[y + i - 1, x + j - 1, c] * w[o,
//     c, i, j]
//     dx[y, x, c]  = the sum over taps (i, j) and outputs  o of dy[y + 1 - i, x + 1 - j, o] * w[o,
//     c, i, j]
//
// Eight threads side by side, with eight outputs each, have RUN pixels of a row; a block has RUNS
// such runs at a time, `at_once` times. With three channels that is 1728 fused products for each
// thread and run, which take about 8 us for 128 images of 32 x 32 on 132 multiprocessors;
// everything else should hide behind them. Weights lie in shared memory as a thread reads them,
// with accesses of 16 bytes.
#pragma once
#include "batch_norm.h"

constexpr int LANES = 8, RUN = 8, RUNS = THREADS / LANES;

// [tap row, tap column, channel][which four of a thread's eight outputs][thread]
template <int C> using Weights = Four[9 * C][2][LANES];

template <int C, class T> __device__ void lay_out(Weights<C>& to, const T* w, int outputs, int by_channel, int by_row, int by_column) {
    constexpr int EACH = (9 * C * 64 + THREADS - 1) / THREADS;
    const int o = threadIdx.x % 64, from = o < outputs ? o : 0;
    float v[EACH];
#pragma unroll
    for (int n = 0; n < EACH; ++n) { // all asked for before the first is used
        int of = min(n * (THREADS / 64) + (int)threadIdx.x / 64, 9 * C - 1);
        v[n] = one(w, from * 9 * C + of % C * by_channel + of / C % 3 * by_column + of / (3 * C) * by_row);
    }
#pragma unroll
    for (int n = 0; n < EACH; ++n) {
        int of = n * (THREADS / 64) + (int)threadIdx.x / 64;
        if (of < 9 * C) to[of][o / 4 % 2][o / 8].v[o % 4] = o < outputs ? v[n] : 0.f;
    }
    __syncthreads();
}

// Some pixels of a row; `row` counts through all images.
struct Run {
    bool is_one;
    int row, y, x;

    __device__ Run(int turn, int at_once, int rows, int height, int width) {
        unsigned in_row = (unsigned)(width + RUN - 1) / RUN, number = (blockIdx.x * at_once + turn) * RUNS + threadIdx.x / LANES;
        row = (int)(number / in_row), x = (int)(number % in_row) * RUN;
        is_one = row < rows;
        y = (int)((unsigned)row % (unsigned)height);
    }
};

template <int C, class T>
__device__ void first_conv(const T* __restrict__ in, const T* __restrict__ w, T* __restrict__ out, int height, int width, int outputs,
                           int by_channel, int by_row, int by_column, int rows, int at_once) {
    // The numbers of three rows that a run needs. A Four more, so that the runs of a warp are in
    // different banks.
    constexpr int NEEDED = (RUN + 2) * C, ROW = (NEEDED + LANES - 1) / LANES * LANES;
    __shared__ Weights<C> weights;
    __shared__ Four around[RUNS][3 * ROW / 4 + 1];
    const int lane = threadIdx.x % LANES;
    float* mine = around[threadIdx.x / LANES][0].v;
    lay_out<C>(weights, w, outputs, by_channel, by_row, by_column);
    for (int turn = 0; turn < at_once; ++turn) {
        const Run run(turn, at_once, rows, height, width);
        float v[3][ROW / LANES];
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            bool inside = run.is_one && run.y + i >= 1 && run.y + i <= height;
            const T* line = in + (long)(run.row + i - 1) * width * C;
#pragma unroll
            for (int n = 0; n < ROW / LANES; ++n) {
                int number = n * LANES + lane, at = (run.x - 1) * C + number;
                v[i][n] = inside && number < NEEDED && at >= 0 && at < width * C ? one(line, at) : 0.f;
            }
        }
        __syncwarp(); // the threads of a run are in one warp, and have read what was there
#pragma unroll
        for (int i = 0; i < 3; ++i)
#pragma unroll
            for (int n = 0; n < ROW / LANES; ++n) mine[i * ROW + n * LANES + lane] = v[i][n];
        __syncwarp();
        float sum[RUN][8] = {};
#pragma unroll 1
        for (int i = 0; i < 3; ++i) {
            Four p[ROW / 4];
#pragma unroll
            for (int n = 0; n < ROW / 4; ++n) p[n] = reinterpret_cast<const Four*>(mine + i * ROW)[n];
#pragma unroll
            for (int of = 0; of < 3 * C; ++of) {
                const Four low = weights[i * 3 * C + of][0][lane], high = weights[i * 3 * C + of][1][lane];
#pragma unroll
                for (int pixel = 0; pixel < RUN; ++pixel) {
                    float value = p[(pixel * C + of) / 4].v[(pixel * C + of) % 4];
#pragma unroll
                    for (int k = 0; k < 4; ++k) {
                        sum[pixel][k] = fmaf(value, low.v[k], sum[pixel][k]);
                        sum[pixel][k + 4] = fmaf(value, high.v[k], sum[pixel][k + 4]);
                    }
                }
            }
        }
        if (!run.is_one || lane * 8 >= outputs) continue;
        const long first = (long)run.row * width + run.x;
#pragma unroll
        for (int pixel = 0; pixel < RUN; ++pixel)
            if (run.x + pixel < width) store(out, (first + pixel) * outputs + lane * 8, sum[pixel]);
    }
}

// Half of eight numbers.
__device__ inline void unpack(float (&to)[4], const Raw<bf16>& from, int half) {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        unsigned both = from.e.v[half * 2 + k];
        to[2 * k] = __uint_as_float(both << 16), to[2 * k + 1] = __uint_as_float(both & 0xffff0000);
    }
}
__device__ inline void unpack(float (&to)[4], const Raw<float>& from, int half) {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = (half ? from.b : from.a).v[k];
}

template <int C, class T>
__device__ void first_conv_backward(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, int height, int width, int outputs,
                                    int by_channel, int by_row, int by_column, int rows, int at_once) {
    __shared__ Weights<C> weights;
    const int lane = threadIdx.x % LANES, o = lane * 8;
    lay_out<C>(weights, w, outputs, by_channel, by_row, by_column);
    for (int turn = 0; turn < at_once; ++turn) {
        const Run run(turn, at_once, rows, height, width);
        float sum[RUN][C] = {};
#pragma unroll 1
        for (int i = 0; i < 3; ++i) {
            bool inside = run.is_one && o < outputs && run.y + 1 >= i && run.y + 1 - i < height;
            const T* line = dy + ((long)(run.row + 1 - i) * width + run.x - 1) * outputs + o;
            Raw<T> raw[RUN + 2];
#pragma unroll
            for (int n = 0; n < RUN + 2; ++n) {
                int x = run.x - 1 + n;
                raw[n] = {};
                if (inside && x >= 0 && x < width) raw[n] = fetch(line, n * outputs);
            }
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                Four weight[3 * C];
#pragma unroll
                for (int of = 0; of < 3 * C; ++of) weight[of] = weights[i * 3 * C + of][half][lane];
#pragma unroll
                for (int n = 0; n < RUN + 2; ++n) {
                    float v[4];
                    unpack(v, raw[n], half);
#pragma unroll
                    for (int j = 0; j < 3; ++j) {
                        int pixel = n - 2 + j;
                        if (pixel < 0 || pixel >= RUN) continue;
#pragma unroll
                        for (int c = 0; c < C; ++c)
#pragma unroll
                            for (int k = 0; k < 4; ++k) sum[pixel][c] = fmaf(v[k], weight[j * C + c].v[k], sum[pixel][c]);
                    }
                }
            }
        }
        // Each thread gives half of its pixels away for the other half of another's, three times:
        // thread n has all of pixel n then.
#pragma unroll
        for (int half = RUN / 2; half > 0; half /= 2) {
            bool upper = lane & half;
#pragma unroll
            for (int pixel = 0; pixel < half; ++pixel)
#pragma unroll
                for (int c = 0; c < C; ++c) {
                    float here = sum[pixel][c], there = sum[pixel + half][c];
                    sum[pixel][c] = (upper ? there : here) + __shfl_xor_sync(~0u, upper ? here : there, half);
                }
        }
        if (!run.is_one || run.x + lane >= width) continue;
        const long first = ((long)run.row * width + run.x + lane) * C;
#pragma unroll
        for (int c = 0; c < C; ++c) put(dx, first + c, sum[0][c]);
    }
}
