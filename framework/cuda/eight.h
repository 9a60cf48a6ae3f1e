// Eight numbers at a time, with accesses of 16 bytes, as bf16 or fp32 in memory and fp32 in
// registers.
#pragma once

typedef unsigned short bf16;

struct alignas(16) Eight { unsigned v[4]; }; // bf16, the lower half of a word first
struct alignas(16) Four { float v[4]; };

__device__ inline float up(bf16 b) { return __uint_as_float((unsigned)b << 16); }
#ifndef FOIL_HOST // which brings its own
__device__ inline bf16 down(float f) {
    bf16 b;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b) : "f"(f));
    return b;
}
__device__ inline unsigned down(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
#endif

// Eight numbers as they lie in memory: several can be on their way before the first is needed.
template <class T> struct Raw;
template <> struct Raw<bf16> { Eight e; };
template <> struct Raw<float> { Four a, b; };

// So many fill 32 registers.
template <class T> constexpr int IN_FLIGHT = 16 / sizeof(T);

__device__ inline Raw<bf16> fetch(const bf16* from, long i) { return {*reinterpret_cast<const Eight*>(from + i)}; }
__device__ inline Raw<float> fetch(const float* from, long i) {
    return {*reinterpret_cast<const Four*>(from + i), *reinterpret_cast<const Four*>(from + i + 4)};
}
__device__ inline void unpack(float (&to)[8], const Raw<bf16>& from) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        to[2 * k] = __uint_as_float(from.e.v[k] << 16);
        to[2 * k + 1] = __uint_as_float(from.e.v[k] & 0xffff0000);
    }
}
__device__ inline void unpack(float (&to)[8], const Raw<float>& from) {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = from.a.v[k], to[k + 4] = from.b.v[k];
}

template <class T> __device__ inline void load(float (&to)[8], const T* from, long i) { unpack(to, fetch(from, i)); }
__device__ inline void store(bf16* to, long i, const float (&from)[8]) {
    Eight e;
#pragma unroll
    for (int k = 0; k < 4; ++k) e.v[k] = down(from[2 * k], from[2 * k + 1]);
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
    Raw<bf16> kept;
#pragma unroll
    for (int k = 0; k < 4; ++k) kept.e.v[k] = down(v[2 * k], v[2 * k + 1]);
    unpack(v, kept);
}
__device__ inline void keep(float (&)[8], const float*) {}

// Not fmaxf, which would hide a NaN.
__device__ inline float relu(float f) { return f < 0.f ? 0.f : f; }
