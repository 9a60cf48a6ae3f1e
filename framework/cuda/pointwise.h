// One pass over memory each, for tensors that lie channels-last, so that element i belongs to
// channel i % c.
//
// The plain forms, which these must equal, are in framework/src/nn/kernels/pointwise.rs. Every
// thread handles eight elements, of `affine_relu` EACH times eight; the number of elements and of
// channels is a multiple of eight, and the caller checks it. Products and sums are fused by name
// where two kernels must agree about a sign, instead of where the compiler likes.
#pragma once
#include "eight.h"

__device__ inline long first() { return ((long)blockIdx.x * blockDim.x + threadIdx.x) * 8; }
// In 32 bits, which is several times quicker; there are fewer than 2^35 elements.
__device__ inline int channel(long i, int c) { return (int)((unsigned)(i >> 3) % (unsigned)(c >> 3)) << 3; }

// out = max(x * scale + shift, 0), by channel; `scale` may be null, which is 1. A thread's elements
// are `apart` from each other, a multiple of c; EACH * apart is n or more.
constexpr int EACH = 4;
template <class T>
__device__ void affine_relu(const T* __restrict__ x, const float* __restrict__ scale, const float* __restrict__ shift, T* __restrict__ out, long n,
                            int c, long apart) {
    const long start = first();
    if (start >= apart) return;
    Raw<T> raw[EACH];
#pragma unroll
    for (int d = 0; d < EACH; ++d)
        if (start + d * apart < n) raw[d] = fetch(x, start + d * apart);
    float s[8], t[8];
    if (scale) load(s, scale, channel(start, c));
    load(t, shift, channel(start, c));
#pragma unroll
    for (int d = 0; d < EACH; ++d) {
        if (start + d * apart >= n) continue;
        float v[8];
        unpack(v, raw[d]);
#pragma unroll
        for (int k = 0; k < 8; ++k) v[k] = relu(fmaf(v[k], scale ? s[k] : 1.f, t[k]));
        store(out, start + d * apart, v);
    }
}

// sum = x + y; out = max(sum * scale + shift, 0), of the sum as it is stored.
template <class T>
__device__ void add_affine_relu(const T* x, const T* y, const float* scale, const float* shift, T* sum, T* out, long n, int c) {
    long i = first();
    if (i >= n) return;
    float v[8], w[8], s[8], t[8];
    load(v, x, i), load(w, y, i), load(s, scale, channel(i, c)), load(t, shift, channel(i, c));
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] += w[k];
    store(sum, i, v);
    keep(v, sum);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = relu(fmaf(v[k], s[k], t[k]));
    store(out, i, v);
}

// out = [activated > 0] * gradient * scale + other; `scale` and `other` may be null, which is 1 and
// 0.
template <class T>
__device__ void affine_relu_backward(const T* gradient, const T* activated, const float* scale, const T* other, T* out, long n, int c) {
    long i = first();
    if (i >= n) return;
    float g[8], a[8], s[8], o[8];
    load(g, gradient, i), load(a, activated, i);
    if (scale) load(s, scale, channel(i, c));
    if (other) load(o, other, i);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float v = a[k] > 0.f ? (scale ? g[k] * s[k] : g[k]) : 0.f;
        g[k] = other ? v + o[k] : v;
    }
    store(out, i, g);
}

// out = max(x * scale + shift + y', 0), where y' = y * y_scale + y_shift, or y itself if `y_scale`
// is null.
template <class T>
__device__ void join_relu(const T* x, const float* scale, const float* shift, const T* y, const float* y_scale, const float* y_shift, T* out,
                          long n, int c) {
    long i = first();
    if (i >= n) return;
    float v[8], w[8], s[8], t[8];
    load(v, x, i), load(w, y, i), load(s, scale, channel(i, c)), load(t, shift, channel(i, c));
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = fmaf(v[k], s[k], t[k]);
    if (y_scale) {
        load(s, y_scale, channel(i, c)), load(t, y_shift, channel(i, c));
#pragma unroll
        for (int k = 0; k < 8; ++k) w[k] = fmaf(w[k], s[k], t[k]);
    }
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = relu(v[k] + w[k]);
    store(out, i, v);
}

// masked = [activated > 0] * (gradient + other); x = masked * scale; y = masked * y_scale. `other`
// may be null, which is 0; so may `masked`, `x` and `y`, which are then not written.
template <class T>
__device__ void join_relu_backward(const T* gradient, const T* other, const T* activated, const float* scale, const float* y_scale, T* masked,
                                   T* x, T* y, long n, int c) {
    long i = first();
    if (i >= n) return;
    float g[8], a[8], s[8];
    load(g, gradient, i);
    if (other) {
        load(a, other, i);
#pragma unroll
        for (int k = 0; k < 8; ++k) g[k] += a[k];
    }
    load(a, activated, i);
#pragma unroll
    for (int k = 0; k < 8; ++k) g[k] = a[k] > 0.f ? g[k] : 0.f;
    if (masked) store(masked, i, g);
    if (x) {
        load(s, scale, channel(i, c));
#pragma unroll
        for (int k = 0; k < 8; ++k) a[k] = g[k] * s[k];
        store(x, i, a);
    }
    if (y) {
        load(s, y_scale, channel(i, c));
#pragma unroll
        for (int k = 0; k < 8; ++k) a[k] = g[k] * s[k];
        store(y, i, a);
    }
}
