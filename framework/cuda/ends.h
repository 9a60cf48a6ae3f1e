// The two ends of a network: images in [0, 1] to what its first layer sees, and the last
// activations to logits, with their gradients.
#pragma once
#include "batch_norm.h"

// out = (x - mean) / std, by channel, channels-last. Rounded after each of the two, as libtorch's
// operators do.
template <class T> __device__ void normalize(const float* x, const float* mean, const float* std, T* out, long n, int c) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) put(out, i, (x[i] - mean[i % c]) / std[i % c]);
}

// The most channels of the last activations.
constexpr int WIDEST = 8 * THREADS;

// Eight channels side by side are a lane; the pixels of an image are shared by as many threads a
// lane as there are.
struct Lanes {
    int lane, part, parts;
    bool works;

    __device__ Lanes(int c) : lane((int)threadIdx.x % (c / 8)), part((int)threadIdx.x / (c / 8)), parts(THREADS / (c / 8)), works(part < parts) {}
};

// logits = weight * (mean of x over the pixels) + bias: a block for each image. `weight` is [k][c].
template <class T>
__device__ void mean_linear(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias, float* __restrict__ logits, int pixels,
                            int c, int k) {
    __shared__ float board[WIDEST];
    const Lanes at(c);
    const T* image = x + (long)blockIdx.x * pixels * c;
    float sum[8] = {};
    if (at.works) {
#pragma unroll 4
        for (int pixel = at.part; pixel < pixels; pixel += at.parts) {
            float v[8];
            load(v, image, (long)pixel * c + at.lane * 8);
#pragma unroll
            for (int n = 0; n < 8; ++n) sum[n] += v[n];
        }
#pragma unroll
        for (int n = 0; n < 8; ++n) board[at.part * c + at.lane * 8 + n] = sum[n];
    }
    __syncthreads();
    // Each channel's sum is one thread's, so that what it overwrites is only its own.
    for (int j = threadIdx.x; j < c; j += THREADS) {
        float all = 0.f;
        for (int part = 0; part < at.parts; ++part) all += board[part * c + j];
        board[j] = all / (float)pixels;
    }
    __syncthreads();
    // A product is the work of 32 threads, which meet in shared memory.
    constexpr int AT_ONCE = THREADS / 32;
    __shared__ float shares[THREADS];
    const int share = threadIdx.x % 32;
    for (int first = 0; first < k; first += AT_ONCE) {
        int output = first + (int)threadIdx.x / 32;
        float product = 0.f;
        if (output < k) {
            for (int j = share * 8; j < c; j += 256) {
                float w[8];
                load(w, weight, (long)output * c + j);
#pragma unroll
                for (int n = 0; n < 8; ++n) product = fmaf(w[n], board[j + n], product);
            }
        }
        shares[threadIdx.x] = product;
        __syncthreads();
        output = first + (int)threadIdx.x;
        if (threadIdx.x < AT_ONCE && output < k) {
            float all = 0.f;
#pragma unroll
            for (int n = 0; n < 32; ++n) all += shares[threadIdx.x * 32 + n];
            logits[(long)blockIdx.x * k + output] = all + one(bias, output);
        }
        __syncthreads();
    }
}

// Its gradient with respect to x: (d_logits * weight) / pixels at each pixel. With `scale` that
// times it where `x`, which came out of a ReLU, is positive, else 0; both may be null.
template <class T>
__device__ void mean_linear_backward(const float* __restrict__ d_logits, const T* __restrict__ weight, const T* __restrict__ x,
                                     const float* __restrict__ scale, T* __restrict__ out, int pixels, int c, int k) {
    const Lanes at(c);
    if (!at.works) return;
    const float* slope = d_logits + (long)blockIdx.x * k;
    float sum[8] = {};
#pragma unroll 4
    for (int output = 0; output < k; ++output) {
        float w[8];
        load(w, weight, (long)output * c + at.lane * 8);
#pragma unroll
        for (int n = 0; n < 8; ++n) sum[n] = fmaf(w[n], slope[output], sum[n]);
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) sum[n] /= (float)pixels;
    if (scale) {
        float s[8];
        load(s, scale, at.lane * 8);
#pragma unroll
        for (int n = 0; n < 8; ++n) sum[n] *= s[n];
    }
    const long image = (long)blockIdx.x * pixels * c;
#pragma unroll 4
    for (int pixel = at.part; pixel < pixels; pixel += at.parts) {
        const long i = image + (long)pixel * c + at.lane * 8;
        float v[8], o[8];
        if (scale) load(v, x, i);
#pragma unroll
        for (int n = 0; n < 8; ++n) o[n] = !scale || v[n] > 0.f ? sum[n] : 0.f;
        store(out, i, o);
    }
}
