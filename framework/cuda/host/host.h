// What kernels see of CUDA, on a CPU. The blocks of a launch run one after the other, the threads
// of a block as fibers that change places at barriers, in a shuffled order after each, so that a
// barrier that is missing shows as a wrong number.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#define FOIL_HOST
#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define __syncthreads() host::barrier(__LINE__)

struct Index {
    unsigned x = 0, y = 0;
};
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

namespace host {
void barrier(int line);
}

inline float __uint_as_float(unsigned bits) {
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
}

// To the nearest bf16, of two equally near the even one; every NaN becomes one NaN.
inline unsigned short down(float f) {
    unsigned bits;
    std::memcpy(&bits, &f, sizeof bits);
    if (f != f) return 0x7fff;
    return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline unsigned down(float low, float high) { return down(low) | (unsigned)down(high) << 16; }

inline float __fdividef(float a, float b) { return a / b; }
using std::min;

inline double rsqrt(double d) { return 1. / std::sqrt(d); }

inline unsigned take(unsigned* counter, unsigned last) {
    unsigned before = *counter;
    *counter = before >= last ? 0 : before + 1;
    return before;
}

#define __syncwarp() __syncthreads()

// Every thread of a block must come here, not only a warp's. Two boards in turn, so that one
// barrier is enough.
inline float exchanged(float mine, unsigned with) {
    static thread_local float boards[2][1024];
    static thread_local bool second[1024];
    const unsigned me = threadIdx.x;
    float* board = boards[second[me] = !second[me]];
    board[me] = mine;
    __syncthreads();
    return with < 32 ? board[me / 32 * 32 + with] : mine;
}
inline float __shfl_down_sync(unsigned, float mine, unsigned by) { return exchanged(mine, threadIdx.x % 32 + by); }
inline float __shfl_xor_sync(unsigned, float mine, unsigned by) { return exchanged(mine, threadIdx.x % 32 ^ by); }
