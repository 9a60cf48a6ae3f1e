// One pass over memory each, for bf16 or fp32 tensors that lie channels-last, so that element i belongs to channel i % c.
//
// The plain forms, which these must equal, are in framework/src/nn/fused.rs. Every thread handles eight elements with accesses of 16 bytes;
// the number of elements and of channels is a multiple of eight, and the caller checks it. Arithmetic is fp32.
typedef unsigned short bf16;

struct alignas(16) Eight { bf16 v[8]; };
struct alignas(16) Four { float v[4]; };

__device__ float up(bf16 b) { return __uint_as_float((unsigned)b << 16); }
__device__ bf16 down(float f) {
    bf16 b;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b) : "f"(f));
    return b;
}

__device__ void load(float (&to)[8], const bf16* from, long i) {
    Eight e = *reinterpret_cast<const Eight*>(from + i);
#pragma unroll
    for (int k = 0; k < 8; ++k) to[k] = up(e.v[k]);
}
__device__ void load(float (&to)[8], const float* from, long i) {
    Four a = *reinterpret_cast<const Four*>(from + i), b = *reinterpret_cast<const Four*>(from + i + 4);
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = a.v[k], to[k + 4] = b.v[k];
}
__device__ void store(bf16* to, long i, const float (&from)[8]) {
    Eight e;
#pragma unroll
    for (int k = 0; k < 8; ++k) e.v[k] = down(from[k]);
    *reinterpret_cast<Eight*>(to + i) = e;
}
__device__ void store(float* to, long i, const float (&from)[8]) {
    Four a, b;
#pragma unroll
    for (int k = 0; k < 4; ++k) a.v[k] = from[k], b.v[k] = from[k + 4];
    *reinterpret_cast<Four*>(to + i) = a;
    *reinterpret_cast<Four*>(to + i + 4) = b;
}
// Not fmaxf, which would hide a NaN.
__device__ float relu(float f) { return f < 0.f ? 0.f : f; }
__device__ long first() { return ((long)blockIdx.x * blockDim.x + threadIdx.x) * 8; }

// out = max(x * scale + shift, 0), by channel.
template <class T> __device__ void affine_relu(const T* x, const float* scale, const float* shift, T* out, long n, int c) {
    long i = first();
    if (i >= n) return;
    float v[8], s[8], t[8];
    load(v, x, i), load(s, scale, i % c), load(t, shift, i % c);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = relu(v[k] * s[k] + t[k]);
    store(out, i, v);
}

// sum = x + y; out = max(sum * scale + shift, 0), of the sum as it is stored.
template <class T>
__device__ void add_affine_relu(const T* x, const T* y, const float* scale, const float* shift, T* sum, T* out, long n, int c) {
    long i = first();
    if (i >= n) return;
    float v[8], w[8], s[8], t[8];
    load(v, x, i), load(w, y, i), load(s, scale, i % c), load(t, shift, i % c);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] += w[k];
    store(sum, i, v);
    load(v, sum, i);
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = relu(v[k] * s[k] + t[k]);
    store(out, i, v);
}

// out = [activated > 0] * gradient * scale + other; `scale` and `other` may be null, which is 1 and 0.
template <class T>
__device__ void affine_relu_backward(const T* gradient, const T* activated, const float* scale, const T* other, T* out, long n, int c) {
    long i = first();
    if (i >= n) return;
    float g[8], a[8], s[8], o[8];
    load(g, gradient, i), load(a, activated, i);
    if (scale) load(s, scale, i % c);
    if (other) load(o, other, i);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float v = a[k] > 0.f ? (scale ? g[k] * s[k] : g[k]) : 0.f;
        g[k] = other ? v + o[k] : v;
    }
    store(out, i, g);
}

extern "C" {
__global__ void affine_relu_bf16(const bf16* x, const float* s, const float* t, bf16* o, long n, int c) { affine_relu(x, s, t, o, n, c); }
__global__ void affine_relu_f32(const float* x, const float* s, const float* t, float* o, long n, int c) { affine_relu(x, s, t, o, n, c); }
__global__ void add_affine_relu_bf16(const bf16* x, const bf16* y, const float* s, const float* t, bf16* h, bf16* o, long n, int c) {
    add_affine_relu(x, y, s, t, h, o, n, c);
}
__global__ void add_affine_relu_f32(const float* x, const float* y, const float* s, const float* t, float* h, float* o, long n, int c) {
    add_affine_relu(x, y, s, t, h, o, n, c);
}
__global__ void affine_relu_backward_bf16(const bf16* g, const bf16* a, const float* s, const bf16* r, bf16* o, long n, int c) {
    affine_relu_backward(g, a, s, r, o, n, c);
}
__global__ void affine_relu_backward_f32(const float* g, const float* a, const float* s, const float* r, float* o, long n, int c) {
    affine_relu_backward(g, a, s, r, o, n, c);
}

// out = clamp(x + alpha * sign(gradient), low, high); alpha is a scalar on the device. Here n need not be a multiple of eight.
__global__ void sign_step(const float* x, const float* gradient, const double* alpha, const float* low, const float* high, float* out, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float g = gradient[i], a = (float)*alpha;
    float moved = x[i] + (g > 0.f ? a : g < 0.f ? -a : 0.f);
    out[i] = fminf(fmaxf(moved, low[i]), high[i]);
}

// torch.optim.SGD in one pass: g += decay * v; u = momentum * u + g; v -= rate * (nesterov ? g + momentum * u : u).
__global__ void sgd(float* value, const float* gradient, float* velocity, const double* rate, float momentum, float decay, int nesterov, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = value[i], g = gradient[i] + decay * v, u = momentum * velocity[i] + g;
    velocity[i] = u;
    value[i] = v - (float)*rate * (nesterov ? g + momentum * u : u);
}
}
