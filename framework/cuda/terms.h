// The terms of losses, a number for each row of k logits, and their gradients: of `by`, which is
// the gradient of each number, the numbers `apart` from each other (0: one for all rows). The
// formulas are beside their plain forms in framework/src/loss/terms.rs; threads are as in
// slopes.h.
#pragma once
#include "slopes.h"

// softmax of a row, and its logarithm.
struct Chances {
    const float* z;
    float peak, mass;

    __device__ Chances(const Row& at, const float* z) : z(z + at.row * at.k), peak(at.peak(z, -1)), mass(at.mass(z, peak, -1)) {}
    __device__ float log(int j) const { return z[j] - peak - logf(mass); }
    // Of a label that is no class nothing is read; the run stops at what is not a number.
    __device__ float of_label(const Row& at, int label) const { return label >= 0 && label < at.k ? log(label) : __uint_as_float(0x7fc00000u); }
    __device__ float operator[](int j) const { return expf(z[j] - peak) / mass; }
};

// -log softmax(z) at the label.
__device__ inline void cross_entropy_of(const float* z, const long* y, float* out, long rows, int classes) {
    const Row at(rows, classes);
    const Chances p(at, z);
    if (at.k > 0 && at.lane == 0) out[at.row] = -p.of_label(at, at.label(y));
}
__device__ inline void cross_entropy_backward_of(const float* z, const long* y, const float* by, int apart, float* out, long rows, int classes) {
    const Row at(rows, classes);
    const Chances p(at, z);
    const int label = at.label(y);
    for (int j = at.lane; j < at.k; j += ABREAST) out[at.row * at.k + j] = by[at.row * apart] * (p[j] - (j == label ? 1.f : 0.f));
}

// softmax(z) at the label.
__device__ inline void label_probability_of(const float* z, const long* y, float* out, long rows, int classes) {
    const Row at(rows, classes);
    const Chances p(at, z);
    if (at.k > 0 && at.lane == 0) out[at.row] = expf(p.of_label(at, at.label(y)));
}
__device__ inline void label_probability_backward_of(const float* z, const long* y, const float* by, int apart, float* out, long rows, int classes) {
    const Row at(rows, classes);
    const Chances p(at, z);
    const int label = at.label(y);
    const float chance = expf(p.of_label(at, label));
    for (int j = at.lane; j < at.k; j += ABREAST) out[at.row * at.k + j] = by[at.row * apart] * chance * ((j == label ? 1.f : 0.f) - p[j]);
}

// log(q + floor).
__device__ inline float log_above(const Chances& q, int j, float floor) { return floor > 0.f ? logf(q[j] + floor) : q.log(j); }

// The sum over classes of p (log p - log(q + floor)).
__device__ inline float kl_of_row(const Row& at, const Chances& p, const Chances& q, float floor) {
    float sum = 0.f;
    for (int j = at.lane; j < at.k; j += ABREAST) sum = fmaf(p[j], p.log(j) - log_above(q, j, floor), sum);
    return total(sum);
}
__device__ inline void kl_of(const float* p_logits, const float* q_logits, float floor, float* out, long rows, int classes) {
    const Row at(rows, classes);
    const Chances p(at, p_logits), q(at, q_logits);
    const float sum = kl_of_row(at, p, q, floor);
    if (at.k > 0 && at.lane == 0) out[at.row] = sum;
}

// `dp` and `dq` may be null. With r = q / (q + floor): dp = p (log p - log(q + floor) - KL), dq = q
// * (the sum of p r) - p r.
__device__ inline void kl_backward_of(const float* p_logits, const float* q_logits, float floor, const float* by, int apart, float* dp, float* dq, long rows,
                                      int classes) {
    const Row at(rows, classes);
    const Chances p(at, p_logits), q(at, q_logits);
    const auto share = [&](int j) { return floor > 0.f ? p[j] * q[j] / (q[j] + floor) : p[j]; };
    const float whole = kl_of_row(at, p, q, floor);
    float shares = 0.f;
    for (int j = at.lane; j < at.k; j += ABREAST) shares += share(j);
    shares = total(shares);
    for (int j = at.lane; j < at.k; j += ABREAST) {
        const long i = at.row * at.k + j;
        const float g = by[at.row * apart];
        if (dp) dp[i] = g * p[j] * (p.log(j) - log_above(q, j, floor) - whole);
        if (dq) dq[i] = g * (q[j] * shares - share(j));
    }
}
