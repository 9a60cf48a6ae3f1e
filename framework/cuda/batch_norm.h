// Batch norm with the batch's own statistics, over `rows` of `c` channels: channel j of row i is
// element i * c + j.
//
// A block has THREADS threads: `lanes` = 1 << bits side by side with eight channels each, times
// THREADS / lanes rows. It goes through `height` rows of lanes * 8 channels: blockIdx.x says which
// rows, blockIdx.y which channels. Sums over rows are taken by thread, by block, and over blocks by
// the block that comes last; which one that is changes nothing, so that the result has the same
// bits each time.
//
// At batch 128 these take as long as their loads wait, not as memory is wide: a thread asks for
// several rows before it uses the first.
#pragma once
#include "eight.h"

constexpr int THREADS = 256;

// This thread's part of the whole.
struct Slab {
    int bits, lane, row, step, channel, first, end;

    __device__ Slab(int rows, int bits, int height)
        : bits(bits), lane((int)threadIdx.x & ((1 << bits) - 1)), row((int)threadIdx.x >> bits), step(THREADS >> bits),
          channel((((int)blockIdx.y << bits) + lane) * 8), first((int)blockIdx.x * height + row), end((int)(blockIdx.x + 1) * height) {
        if (end > rows) end = rows;
    }
    // The first of eight elements.
    __device__ long at(int i, int c) const { return (long)i * c + channel; }
};

// Two sums for each of K channels, over n rows.
template <int K> struct Sums {
    float a[K] = {}, b[K] = {}, n = 0.f;

    __device__ void add(const Sums& other) {
#pragma unroll
        for (int k = 0; k < K; ++k) a[k] += other.a[k], b[k] += other.b[k];
        n += other.n;
    }
};

// Mean and sum of squared deviations for each of K channels, over n rows (Chan, Golub, LeVeque
// 1979).
template <int K> struct Moments {
    float a[K] = {}, b[K] = {}, n = 0.f;

    __device__ void add(const Moments& other) {
        float all = n + other.n, share = __fdividef(other.n, fmaxf(all, 1.f)); // two units of the last place off at most
#pragma unroll
        for (int k = 0; k < K; ++k) {
            float apart = other.a[k] - a[k];
            a[k] = fmaf(apart, share, a[k]);
            b[k] += fmaf(apart * apart, n * share, other.b[k]);
        }
        n = all;
    }
};

// Where a block's sum of one channel is: with the first of the 32 / lanes threads that share in it.
struct Owner {
    int sharers, slot, share, channel;

    __device__ explicit Owner(const Slab& at)
        : sharers(32 >> at.bits), slot((int)threadIdx.x >> (5 - at.bits)), share((int)threadIdx.x & (sharers - 1)),
          channel((((int)blockIdx.y << at.bits) + (slot & ((1 << at.bits) - 1))) * 8 + (slot >> at.bits)) {}
    __device__ bool owns() const { return share == 0; }
};

// Adds up what the threads of a block hold for the same channels; owners have it afterwards.
template <template <int> class Part> __device__ Part<1> gather(const Part<8>& mine, const Slab& at, const Owner& of) {
    // The numbers of a channel lie side by side, and of the next one so much further that the
    // threads of a warp read and write different banks.
    __shared__ float board[2][8 * (THREADS + 32)], counts[THREADS];
    const int pitch = at.step + of.sharers;
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        int to = ((k << at.bits) + at.lane) * pitch + at.row;
        board[0][to] = mine.a[k], board[1][to] = mine.b[k];
    }
    if (at.lane == 0) counts[at.row] = mine.n;
    __syncthreads();
    Part<1> parts[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        int row = i * of.sharers + of.share, from = of.slot * pitch + row;
        parts[i].a[0] = board[0][from], parts[i].b[0] = board[1][from], parts[i].n = counts[row];
    }
#pragma unroll
    for (int half = 4; half > 0; half /= 2)
#pragma unroll
        for (int i = 0; i < half; ++i) parts[i].add(parts[i + half]);
    for (int by = of.sharers / 2; by > 0; by /= 2) {
        Part<1> other;
        other.a[0] = __shfl_down_sync(~0u, parts[0].a[0], by);
        other.b[0] = __shfl_down_sync(~0u, parts[0].b[0], by);
        other.n = __shfl_down_sync(~0u, parts[0].n, by);
        parts[0].add(other);
    }
    return parts[0];
}

#ifndef FOIL_HOST // which brings its own
// Counts up to `last`, then from 0 again; returns the count before. What this thread knows to be
// written before is written for those who come later.
__device__ inline unsigned take(unsigned* counter, unsigned last) {
    unsigned before;
    asm volatile("atom.acq_rel.gpu.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(counter), "r"(last) : "memory");
    return before;
}
#endif

// Puts this block's sums where the last block finds them; whether this is the last. `partial` is
// [gridDim.x][c][2]; `tickets` has a zero for each blockIdx.y, and has it again afterwards.
template <class Part> __device__ bool is_last(const Part& sums, const Owner& of, float* partial, unsigned* tickets, int c) {
    __shared__ bool last;
    if (of.owns()) {
        float* here = partial + ((long)blockIdx.x * c + of.channel) * 2;
        here[0] = sums.a[0], here[1] = sums.b[0];
    }
    // One thread's ticket is enough for what the barriers order before and after it.
    __syncthreads();
    if (threadIdx.x == 0) last = take(tickets + blockIdx.y, gridDim.x - 1) == gridDim.x - 1;
    __syncthreads();
    return last;
}

// Adds up what all blocks found of `height` rows each; owners have it afterwards.
template <template <int> class Part>
__device__ Part<1> gather_all(const float* partial, const Slab& at, const Owner& of, int blocks, int rows, int c, int height) {
    constexpr int DEPTH = 4; // 64 registers; two rounds for 256 blocks of 64 channels
    Part<8> mine;
    for (int block = at.row; block < blocks; block += DEPTH * at.step) {
        Part<8> parts[DEPTH];
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            int other = block + d * at.step;
            if (other >= blocks) continue;
            const float* there = partial + at.at(other, c) * 2;
            float v[2][8];
            load(v[0], there, 0), load(v[1], there, 8);
#pragma unroll
            for (int k = 0; k < 8; ++k) parts[d].a[k] = v[k / 4][k % 4 * 2], parts[d].b[k] = v[k / 4][k % 4 * 2 + 1];
            int left = rows - other * height;
            parts[d].n = (float)(left < height ? left : height);
        }
#pragma unroll
        for (int d = 0; d < DEPTH; ++d)
            if (block + d * at.step < blocks) mine.add(parts[d]);
    }
    return gather(mine, at, of);
}

// What a thread finds of the rows of x, or of sum = x + y as it is stored. Means are differences to
// row 0.
template <bool HAS_Y, class T>
__device__ Moments<8> moments(const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ sum, const Slab& at, int c) {
    constexpr int DEPTH = IN_FLIGHT<T> / (HAS_Y ? 2 : 1);
    auto read = [&](float(&v)[8], const Raw<T>& from, const Raw<T>& and_from) {
        unpack(v, from);
        if (HAS_Y) {
            float w[8];
            unpack(w, and_from);
#pragma unroll
            for (int k = 0; k < 8; ++k) v[k] += w[k];
            keep(v, x);
        }
    };
    Moments<8> mine;
    float origin[8], pivot[8], s[8] = {}, q[8] = {};
    const Raw<T> origin_x = fetch(x, at.channel), origin_y = fetch(HAS_Y ? y : x, at.channel);
    for (int start = at.first; start < at.end; start += DEPTH * at.step) {
        Raw<T> xs[DEPTH], ys[DEPTH];
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            int row = start + d * at.step;
            if (row >= at.end) continue;
            xs[d] = fetch(x, at.at(row, c));
            if (HAS_Y) ys[d] = fetch(y, at.at(row, c));
        }
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            int row = start + d * at.step;
            if (row >= at.end) continue;
            float v[8];
            read(v, xs[d], ys[d]);
            if (HAS_Y) store(sum, at.at(row, c), v);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                if (row == at.first) pivot[k] = v[k];
                float apart = v[k] - pivot[k];
                s[k] += apart;
                q[k] = fmaf(apart, apart, q[k]);
            }
            mine.n += 1.f;
        }
    }
    if (mine.n == 0.f) return mine;
    read(origin, origin_x, origin_y);
    float part = __fdividef(1.f, mine.n);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float mean = s[k] * part;
        mine.a[k] = pivot[k] - origin[k] + mean;
        mine.b[k] = relu(fmaf(-s[k], mean, q[k]));
    }
    return mine;
}

// What batch norm does to a channel, and what it leaves: the running statistics, and `factors`,
// [4][c]: scale, shift, mean, 1 / deviation.
struct Channel {
    float weight, bias, mean, var;

    __device__ Channel(const float* w, const float* b, const float* running_mean, const float* running_var, int j)
        : weight(w[j]), bias(b[j]), mean(running_mean[j]), var(running_var[j]) {}

    // By the moments of all rows, whose means are differences to `origin`.
    __device__ void settle(const Moments<1>& all, float origin, float momentum, float eps, float* running_mean, float* running_var, float* factors,
                           int rows, int c, int j) const {
        const double n = rows, by = 1. / (n * (n - 1.)); // one quotient for both
        const double center = (double)origin + all.a[0], inverse = rsqrt(all.b[0] * (by * (n - 1.)) + eps);
        const float scale = (float)(weight * inverse);
        factors[j] = scale;
        factors[c + j] = (float)(bias - center * scale);
        factors[2 * c + j] = (float)center;
        factors[3 * c + j] = (float)inverse;
        running_mean[j] = (float)((1. - momentum) * mean + momentum * center);
        running_var[j] = (float)((1. - momentum) * var + momentum * (all.b[0] * (by * n)));
    }
};

// The statistics of x, or of sum = x + y if there is a y, as it is stored; moves the running ones.
//
// A thread's squares are of differences to the first number it sees, which is one of those it sums:
// the sum of squares is then at most n + 1 times that of the deviations from the mean, and cancels
// by no more, whatever the numbers are. Means are kept as differences to row 0, so that a large one
// costs no digits.
template <class T>
__device__ void batch_statistics(const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ sum, const float* weight, const float* bias, float* running_mean, float* running_var,
                                 float momentum, float eps, float* factors, float* partial, unsigned* tickets, int rows, int c, int bits,
                                 int height) {
    const Slab at(rows, bits, height);
    const Owner of(at);
    const Moments<8> mine = y ? moments<true>(x, y, sum, at, c) : moments<false>(x, y, sum, at, c);
    if (!is_last(gather(mine, at, of), of, partial, tickets, c)) return;
    const int j = of.channel;
    float origin = one(x, j);
    if (y) {
        float both[8] = {origin + one(y, j)};
        keep(both, x);
        origin = both[0];
    }
    const Channel channel(weight, bias, running_mean, running_var, j);
    const Moments<1> all = gather_all<Moments>(partial, at, of, (int)gridDim.x, rows, c, height);
    if (of.owns()) channel.settle(all, origin, momentum, eps, running_mean, running_var, factors, rows, c, j);
}

// The same from means and sums of squared deviations of groups of `height` rows, [groups][c][2], by
// blocks along y alone.
__device__ inline void batch_statistics_of(const float* groups, const float* weight, const float* bias, float* running_mean, float* running_var,
                                           float momentum, float eps, float* factors, int rows, int c, int bits, int height) {
    const Slab at(rows, bits, height);
    const Owner of(at);
    const Channel channel(weight, bias, running_mean, running_var, of.channel);
    const Moments<1> all = gather_all<Moments>(groups, at, of, rows / height, rows, c, height);
    if (of.owns()) channel.settle(all, 0.f, momentum, eps, running_mean, running_var, factors, rows, c, of.channel);
}

// The gradient of what came out of batch norm: 0 where the ReLU behind it, if there is one, was
// shut, by the arithmetic that shut it.
__device__ inline float behind(float g, float x, float scale, float shift, int has_relu) {
    return !has_relu || fmaf(x, scale, shift) > 0.f ? g : 0.f;
}

// From a channel's two sums, of the gradient behind the ReLU and of it times x - mean, what
// batch_slopes tells.
struct Slope {
    double by, inverse;
    float scale, mean;

    __device__ Slope(const float* factors, int rows, int c, int j)
        : by(1. / rows), inverse(factors[3 * c + j]), scale(factors[j]), mean(factors[2 * c + j]) {}

    __device__ void settle(const Sums<1>& all, float* slopes, float* learned, int c, int j) const {
        const double share = scale * by, slope = share * all.b[0] * inverse * inverse;
        slopes[j] = (float)slope;
        slopes[c + j] = (float)(share * all.a[0] - slope * mean);
        if (learned) learned[j] = (float)(all.b[0] * inverse), learned[c + j] = all.a[0];
    }
};

// From the two sums of the gradient, what its mean and its slope along x take away: `slopes` is
// [2][c], and that is x * slopes[0] + slopes[1] = scale * (mean(g) + xhat * mean(g * xhat)), where
// xhat = (x - mean) / deviation. `learned`, [2][c] or null, gets the gradients of weight and bias,
// sum(g * xhat) and sum(g).
template <class T>
__device__ void batch_slopes(const T* __restrict__ gradient, const T* __restrict__ x, const float* __restrict__ factors, int has_relu, float* slopes,
                             float* learned, float* partial, unsigned* tickets, int rows, int c, int bits, int height) {
    constexpr int DEPTH = IN_FLIGHT<T> / 2;
    const Slab at(rows, bits, height);
    const Owner of(at);
    float scale[8], shift[8], mean[8];
    load(scale, factors, at.channel), load(shift, factors, c + at.channel), load(mean, factors, 2 * c + at.channel);
    Sums<8> mine;
    for (int start = at.first; start < at.end; start += DEPTH * at.step) {
        Raw<T> gs[DEPTH], xs[DEPTH];
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            int row = start + d * at.step;
            if (row < at.end) gs[d] = fetch(gradient, at.at(row, c)), xs[d] = fetch(x, at.at(row, c));
        }
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            if (start + d * at.step >= at.end) continue;
            float g[8], v[8];
            unpack(g, gs[d]), unpack(v, xs[d]);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                float open = behind(g[k], v[k], scale[k], shift[k], has_relu);
                mine.a[k] += open;
                mine.b[k] = fmaf(open, v[k] - mean[k], mine.b[k]);
            }
        }
    }
    if (!is_last(gather(mine, at, of), of, partial, tickets, c)) return;
    const Slope slope(factors, rows, c, of.channel);
    const Sums<1> all = gather_all<Sums>(partial, at, of, (int)gridDim.x, rows, c, height);
    if (of.owns()) slope.settle(all, slopes, learned, c, of.channel);
}

// The same from the two sums of groups of `height` rows, [groups][c][2], by blocks along y alone.
__device__ inline void batch_slopes_of(const float* groups, const float* factors, float* slopes, float* learned, int rows, int c, int bits, int height) {
    const Slab at(rows, bits, height);
    const Owner of(at);
    const Slope slope(factors, rows, c, of.channel);
    const Sums<1> all = gather_all<Sums>(groups, at, of, rows / height, rows, c, height);
    if (of.owns()) slope.settle(all, slopes, learned, c, of.channel);
}

// out = scale * (g - mean(g) - xhat * mean(g * xhat)) + other, where g is the gradient behind the
// ReLU; `other` may be null, which is 0.
template <class T>
__device__ void batch_backward(const T* __restrict__ gradient, const T* __restrict__ x, const T* __restrict__ other,
                               const float* __restrict__ factors, const float* __restrict__ slopes, int has_relu, T* __restrict__ out, int rows,
                               int c, int bits, int height) {
    constexpr int DEPTH = IN_FLIGHT<T> / 2;
    const Slab at(rows, bits, height);
    float scale[8], shift[8], slope[8], level[8];
    load(scale, factors, at.channel), load(shift, factors, c + at.channel);
    load(slope, slopes, at.channel), load(level, slopes, c + at.channel);
    for (int start = at.first; start < at.end; start += DEPTH * at.step) {
        Raw<T> gs[DEPTH], xs[DEPTH], others[DEPTH];
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            int row = start + d * at.step;
            if (row >= at.end) continue;
            gs[d] = fetch(gradient, at.at(row, c)), xs[d] = fetch(x, at.at(row, c));
            if (other) others[d] = fetch(other, at.at(row, c));
        }
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            int row = start + d * at.step;
            if (row >= at.end) continue;
            float g[8], v[8], o[8] = {};
            unpack(g, gs[d]), unpack(v, xs[d]);
            if (other) unpack(o, others[d]);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                float open = behind(g[k], v[k], scale[k], shift[k], has_relu);
                g[k] = fmaf(scale[k], open, -fmaf(v[k], slope[k], level[k])) + o[k];
            }
            store(out, at.at(row, c), g);
        }
    }
}
