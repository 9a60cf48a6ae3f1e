// Eight numbers at a time, with accesses of 16 bytes, as bf16 or fp32 in memory and fp32 in registers.
#pragma once

typedef unsigned short bf16;

struct alignas(16) Eight { bf16 v[8]; };
struct alignas(16) Four { float v[4]; };

__device__ inline float up(bf16 b) { return __uint_as_float((unsigned)b << 16); }
#ifndef FOIL_HOST // which brings its own
__device__ inline bf16 down(float f) {
    bf16 b;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b) : "f"(f));
    return b;
}
#endif

__device__ inline void load(float (&to)[8], const bf16* from, long i) {
    Eight e = *reinterpret_cast<const Eight*>(from + i);
#pragma unroll
    for (int k = 0; k < 8; ++k) to[k] = up(e.v[k]);
}
__device__ inline void load(float (&to)[8], const float* from, long i) {
    Four a = *reinterpret_cast<const Four*>(from + i), b = *reinterpret_cast<const Four*>(from + i + 4);
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = a.v[k], to[k + 4] = b.v[k];
}
__device__ inline void store(bf16* to, long i, const float (&from)[8]) {
    Eight e;
#pragma unroll
    for (int k = 0; k < 8; ++k) e.v[k] = down(from[k]);
    *reinterpret_cast<Eight*>(to + i) = e;
}
__device__ inline void store(float* to, long i, const float (&from)[8]) {
    Four a, b;
#pragma unroll
    for (int k = 0; k < 4; ++k) a.v[k] = from[k], b.v[k] = from[k + 4];
    *reinterpret_cast<Four*>(to + i) = a;
    *reinterpret_cast<Four*>(to + i + 4) = b;
}

// One number.
__device__ inline float one(const bf16* from, long i) { return up(from[i]); }
__device__ inline float one(const float* from, long i) { return from[i]; }
__device__ inline void put(bf16* to, long i, float f) { to[i] = down(f); }
__device__ inline void put(float* to, long i, float f) { to[i] = f; }

// The numbers as memory of that kind keeps them.
__device__ inline void keep(float (&v)[8], const bf16*) {
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = up(down(v[k]));
}
__device__ inline void keep(float (&)[8], const float*) {}

// Not fmaxf, which would hide a NaN.
__device__ inline float relu(float f) { return f < 0.f ? 0.f : f; }
