// Slopes of objectives: d(value)/d(logits) of each image's row of k logits, by 32 threads, eight
// rows to a block. The formulas are beside their plain forms in framework/src/loss/terms.rs.
#pragma once
#include "batch_norm.h"

constexpr int ABREAST = 32, ROWS_OF_BLOCK = THREADS / ABREAST;

// What `join` makes of the numbers of a row's threads; each of them has it afterwards.
template <class Join> __device__ float across(float mine, Join join) {
    __shared__ float board[THREADS];
    const int lane = threadIdx.x % ABREAST;
    __syncthreads();
    board[threadIdx.x] = mine;
    for (int half = ABREAST / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) board[threadIdx.x] = join(board[threadIdx.x], board[threadIdx.x + half]);
    }
    __syncthreads();
    return board[threadIdx.x - lane];
}
__device__ inline float largest(float mine) {
    return across(mine, [](float a, float b) { return fmaxf(a, b); });
}
__device__ inline float total(float mine) {
    return across(mine, [](float a, float b) { return a + b; });
}

// This thread's part of the whole. Threads without a row go along, since all meet at barriers.
struct Row {
    long row;
    int lane, k;

    __device__ Row(long rows, int classes)
        : row((long)blockIdx.x * ROWS_OF_BLOCK + threadIdx.x / ABREAST), lane((int)threadIdx.x % ABREAST), k(row < rows ? classes : 0) {}

    // The largest number of a row of z, and the sum of e^(z - largest); class `without` does not
    // count.
    __device__ float peak(const float* z, int without) const {
        float most = __uint_as_float(0xff800000u); // minus infinity
        for (int j = lane; j < k; j += ABREAST)
            if (j != without) most = fmaxf(most, z[row * k + j]);
        return largest(most);
    }
    __device__ float mass(const float* z, float peak, int without) const {
        float sum = 0.f;
        for (int j = lane; j < k; j += ABREAST)
            if (j != without) sum += expf(z[row * k + j] - peak);
        return total(sum);
    }
    __device__ int label(const long* y) const { return k > 0 ? (int)y[row] : -1; }
};

// softmax(z), less 1 at the label.
__device__ inline void ce_slope_of(const float* z, const long* y, float* out, long rows, int classes) {
    const Row at(rows, classes);
    float peak = at.peak(z, -1), mass = at.mass(z, peak, -1);
    int label = at.label(y);
    for (int j = at.lane; j < at.k; j += ABREAST) out[at.row * at.k + j] = expf(z[at.row * at.k + j] - peak) / mass - (j == label ? 1.f : 0.f);
}

// softmax(z) - softmax(clean).
__device__ inline void kl_slope_of(const float* z, const float* clean, float* out, long rows, int classes) {
    const Row at(rows, classes);
    float peak = at.peak(z, -1), mass = at.mass(z, peak, -1), other_peak = at.peak(clean, -1), other_mass = at.mass(clean, other_peak, -1);
    for (int j = at.lane; j < at.k; j += ABREAST) {
        long i = at.row * at.k + j;
        out[i] = expf(z[i] - peak) / mass - expf(clean[i] - other_peak) / other_mass;
    }
}

// softmax over the other classes, and -1 at the label.
__device__ inline void slm_slope_of(const float* z, const long* y, float* out, long rows, int classes) {
    const Row at(rows, classes);
    int label = at.label(y);
    float peak = at.peak(z, label), mass = at.mass(z, peak, label);
    for (int j = at.lane; j < at.k; j += ABREAST) out[at.row * at.k + j] = j == label ? -1.f : expf(z[at.row * at.k + j] - peak) / mass;
}

// Where the margin to the largest other class is at least -kappa: 1 at that class (classes that tie
// share it), and -1 at the label.
__device__ inline void cw_slope_of(const float* z, const long* y, float kappa, float* out, long rows, int classes) {
    const Row at(rows, classes);
    int label = at.label(y);
    float top = at.peak(z, label), ties = 0.f;
    for (int j = at.lane; j < at.k; j += ABREAST) ties += j != label && z[at.row * at.k + j] == top ? 1.f : 0.f;
    ties = total(ties);
    for (int j = at.lane; j < at.k; j += ABREAST) {
        long i = at.row * at.k + j;
        float open = z[at.row * at.k + label] - top + kappa >= 0.f ? 1.f : 0.f;
        out[i] = j == label ? -open : z[i] == top ? open / ties : 0.f;
    }
}
