// foil's kernels: what the host calls by name (framework/torch/src/cuda/kernels.rs declares them).
// They are machine code for compute capabilities 8.x and 9.0 when foil is built; for later devices
// the driver compiles them. Arithmetic is fp32.
//
// Each begins with `in_turn`, and has a test that runs this very source on a CPU
// (framework/cuda/host).
#include "batch_norm.h"
#include "ends.h"
#include "first_conv.h"
#include "images.h"
#include "in_turn.h"
#include "noise.h"
#include "pieces.h"
#include "pointwise.h"
#include "slopes.h"
#include "terms.h"
#include "transpose.h"
#include "winograd.h"

// At most 128 registers, so that two blocks fit on a multiprocessor, and the 256 of a launch run at
// once on 128 of them.
#define TWO_AT_ONCE __launch_bounds__(THREADS, 2)

extern "C" {
__global__ void affine_relu_bf16(const bf16* x, const float* s, const float* t, bf16* o, long n, int c, long apart) {
    in_turn();
    affine_relu(x, s, t, o, n, c, apart);
}
__global__ void affine_relu_f32(const float* x, const float* s, const float* t, float* o, long n, int c, long apart) {
    in_turn();
    affine_relu(x, s, t, o, n, c, apart);
}
__global__ void add_affine_relu_bf16(const bf16* x, const bf16* y, const float* s, const float* t, bf16* h, bf16* o, long n, int c) {
    in_turn();
    add_affine_relu(x, y, s, t, h, o, n, c);
}
__global__ void add_affine_relu_f32(const float* x, const float* y, const float* s, const float* t, float* h, float* o, long n, int c) {
    in_turn();
    add_affine_relu(x, y, s, t, h, o, n, c);
}
__global__ void affine_relu_backward_bf16(const bf16* g, const bf16* a, const float* s, const bf16* r, bf16* o, long n, int c) {
    in_turn();
    affine_relu_backward(g, a, s, r, o, n, c);
}
__global__ void affine_relu_backward_f32(const float* g, const float* a, const float* s, const float* r, float* o, long n, int c) {
    in_turn();
    affine_relu_backward(g, a, s, r, o, n, c);
}
__global__ void join_relu_bf16(const bf16* x, const float* s, const float* t, const bf16* y, const float* ys, const float* yt, bf16* o, long n,
        int c) {
    in_turn();
    join_relu(x, s, t, y, ys, yt, o, n, c);
}
__global__ void join_relu_f32(const float* x, const float* s, const float* t, const float* y, const float* ys, const float* yt, float* o, long n,
        int c) {
    in_turn();
    join_relu(x, s, t, y, ys, yt, o, n, c);
}
__global__ void join_relu_backward_bf16(const bf16* g, const bf16* r, const bf16* a, const float* s, const float* ys, bf16* m, bf16* x, bf16* y,
        long n, int c) {
    in_turn();
    join_relu_backward(g, r, a, s, ys, m, x, y, n, c);
}
__global__ void join_relu_backward_f32(const float* g, const float* r, const float* a, const float* s, const float* ys, float* m, float* x,
        float* y, long n, int c) {
    in_turn();
    join_relu_backward(g, r, a, s, ys, m, x, y, n, c);
}

TWO_AT_ONCE __global__ void batch_statistics_bf16(const bf16* x, const bf16* y, bf16* sum, const float* w, const float* b, float* mean, float* var,
        float momentum, float eps, float* factors, float* partial, unsigned* tickets, int rows, int c, int bits, int height) {
    in_turn();
    batch_statistics(x, y, sum, w, b, mean, var, momentum, eps, factors, partial, tickets, rows, c, bits, height);
}
TWO_AT_ONCE __global__ void batch_statistics_f32(const float* x, const float* y, float* sum, const float* w, const float* b, float* mean, float* var,
        float momentum, float eps, float* factors, float* partial, unsigned* tickets, int rows, int c, int bits, int height) {
    in_turn();
    batch_statistics(x, y, sum, w, b, mean, var, momentum, eps, factors, partial, tickets, rows, c, bits, height);
}
TWO_AT_ONCE __global__ void batch_slopes_bf16(const bf16* g, const bf16* x, const float* factors, int has_relu, float* slopes, float* learned,
        float* partial, unsigned* tickets, int rows, int c, int bits, int height) {
    in_turn();
    batch_slopes(g, x, factors, has_relu, slopes, learned, partial, tickets, rows, c, bits, height);
}
TWO_AT_ONCE __global__ void batch_slopes_f32(const float* g, const float* x, const float* factors, int has_relu, float* slopes, float* learned,
        float* partial, unsigned* tickets, int rows, int c, int bits, int height) {
    in_turn();
    batch_slopes(g, x, factors, has_relu, slopes, learned, partial, tickets, rows, c, bits, height);
}
__global__ void batch_statistics_of_groups(const float* groups, const float* w, const float* b, float* mean, float* var, float momentum, float eps,
        float* factors, int rows, int c, int bits, int height) {
    in_turn();
    batch_statistics_of(groups, w, b, mean, var, momentum, eps, factors, rows, c, bits, height);
}
__global__ void batch_slopes_of_groups(const float* groups, const float* factors, float* slopes, float* learned, int rows, int c, int bits,
        int height) {
    in_turn();
    batch_slopes_of(groups, factors, slopes, learned, rows, c, bits, height);
}
TWO_AT_ONCE __global__ void batch_backward_bf16(const bf16* g, const bf16* x, const bf16* r, const float* factors, const float* slopes, int has_relu, bf16* o,
        int rows, int c, int bits, int height) {
    in_turn();
    batch_backward(g, x, r, factors, slopes, has_relu, o, rows, c, bits, height);
}
TWO_AT_ONCE __global__ void batch_backward_f32(const float* g, const float* x, const float* r, const float* factors, const float* slopes, int has_relu,
        float* o, int rows, int c, int bits, int height) {
    in_turn();
    batch_backward(g, x, r, factors, slopes, has_relu, o, rows, c, bits, height);
}

TWO_AT_ONCE __global__ void first_conv_bf16(const bf16* x, const bf16* w, bf16* out, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv<3>(x, w, out, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
TWO_AT_ONCE __global__ void first_conv_gray_bf16(const bf16* x, const bf16* w, bf16* out, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv<1>(x, w, out, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
TWO_AT_ONCE __global__ void first_conv_f32(const float* x, const float* w, float* out, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv<3>(x, w, out, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
TWO_AT_ONCE __global__ void first_conv_gray_f32(const float* x, const float* w, float* out, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv<1>(x, w, out, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
TWO_AT_ONCE __global__ void first_conv_backward_bf16(const bf16* dy, const bf16* w, bf16* dx, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv_backward<3>(dy, w, dx, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
TWO_AT_ONCE __global__ void first_conv_gray_backward_bf16(const bf16* dy, const bf16* w, bf16* dx, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv_backward<1>(dy, w, dx, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
__launch_bounds__(THREADS, 1) __global__ void first_conv_backward_f32(const float* dy, const float* w, float* dx, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv_backward<3>(dy, w, dx, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}
__launch_bounds__(THREADS, 1) __global__ void first_conv_gray_backward_f32(const float* dy, const float* w, float* dx, int height, int width, int outputs,
        int by_channel, int by_row, int by_column, int rows, int at_once) {
    in_turn();
    first_conv_backward<1>(dy, w, dx, height, width, outputs, by_channel, by_row, by_column, rows, at_once);
}

TWO_AT_ONCE __global__ void winograd_images(const float* x, float* o, int height, int width, int c, int tiles) {
    in_turn();
    tiles_of_images(x, o, height, width, c, tiles);
}
TWO_AT_ONCE __global__ void winograd_weights(const float* w, float* o, int outputs, int c, int by_output, int by_channel, int by_row, int by_column,
        int turned) {
    in_turn();
    tiles_of_weights(w, o, outputs, c, by_output, by_channel, by_row, by_column, turned);
}
TWO_AT_ONCE __global__ void winograd_affine(const float* p, const float* y, float* sum, const float* s, const float* t, float* o, int height,
        int width, int c, int tiles) {
    in_turn();
    affine_of_tiles(p, y, sum, s, t, o, height, width, c, tiles);
}
TWO_AT_ONCE __global__ void winograd_masked(const float* p, const float* a, const float* y, const float* s, float* o, int height, int width, int c,
        int tiles) {
    in_turn();
    masked_of_tiles(p, a, y, s, o, height, width, c, tiles);
}

__global__ void normalize_bf16(const float* x, const float* mean, const float* std, bf16* o, long n, int c) {
    in_turn();
    normalize(x, mean, std, o, n, c);
}
__global__ void normalize_f32(const float* x, const float* mean, const float* std, float* o, long n, int c) {
    in_turn();
    normalize(x, mean, std, o, n, c);
}

// out = gradient / std, by channel: the gradient of the above.
__global__ void normalize_backward(const bf16* gradient, const float* std, float* out, long n, int c) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = up(gradient[i]) / std[i % c];
}

__global__ void mean_linear_bf16(const bf16* x, const bf16* w, const bf16* b, float* z, int pixels, int c, int k) {
    in_turn();
    mean_linear(x, w, b, z, pixels, c, k);
}
__global__ void mean_linear_f32(const float* x, const float* w, const float* b, float* z, int pixels, int c, int k) {
    in_turn();
    mean_linear(x, w, b, z, pixels, c, k);
}
__global__ void mean_linear_backward_bf16(const float* d, const bf16* w, const bf16* x, const float* s, bf16* o, int pixels, int c, int k) {
    in_turn();
    mean_linear_backward(d, w, x, s, o, pixels, c, k);
}
__global__ void mean_linear_backward_f32(const float* d, const float* w, const float* x, const float* s, float* o, int pixels, int c, int k) {
    in_turn();
    mean_linear_backward(d, w, x, s, o, pixels, c, k);
}

__global__ void transpose_bf16(const bf16* in, bf16* out, int rows, int columns) {
    in_turn();
    transpose(in, out, rows, columns);
}
__global__ void transpose_f32(const float* in, float* out, int rows, int columns) {
    in_turn();
    transpose(in, out, rows, columns);
}

__global__ void ce_slope(const float* z, const long* y, float* o, long rows, int k) {
    in_turn();
    ce_slope_of(z, y, o, rows, k);
}
__global__ void kl_slope(const float* z, const float* clean, float* o, long rows, int k) {
    in_turn();
    kl_slope_of(z, clean, o, rows, k);
}
__global__ void slm_slope(const float* z, const long* y, float* o, long rows, int k) {
    in_turn();
    slm_slope_of(z, y, o, rows, k);
}
__global__ void cw_slope(const float* z, const long* y, float kappa, float* o, long rows, int k) {
    in_turn();
    cw_slope_of(z, y, kappa, o, rows, k);
}

__global__ void cross_entropy(const float* z, const long* y, float* o, long rows, int k) {
    in_turn();
    cross_entropy_of(z, y, o, rows, k);
}
__global__ void cross_entropy_backward(const float* z, const long* y, const float* g, int apart, float* o, long rows, int k) {
    in_turn();
    cross_entropy_backward_of(z, y, g, apart, o, rows, k);
}
__global__ void label_probability(const float* z, const long* y, float* o, long rows, int k) {
    in_turn();
    label_probability_of(z, y, o, rows, k);
}
__global__ void label_probability_backward(const float* z, const long* y, const float* g, int apart, float* o, long rows, int k) {
    in_turn();
    label_probability_backward_of(z, y, g, apart, o, rows, k);
}
__global__ void kl(const float* p, const float* q, float floor, float* o, long rows, int k) {
    in_turn();
    kl_of(p, q, floor, o, rows, k);
}
__global__ void kl_backward(const float* p, const float* q, float floor, const float* g, int apart, float* dp, float* dq, long rows, int k) {
    in_turn();
    kl_backward_of(p, q, floor, g, apart, dp, dq, rows, k);
}

// All batch norms with their running statistics as scale and shift; `weight`, `bias`, `mean` and
// `var` say where their numbers are in `values` and `stats`.
__global__ void fold_norms(const float* values, const float* stats, const long* weight, const long* bias, const long* mean, const long* var, float eps,
        float* scale, float* shift, long n) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float s = values[weight[i]] / sqrtf(stats[var[i]] + eps);
    scale[i] = s;
    shift[i] = fmaf(-stats[mean[i]], s, values[bias[i]]);
}

__global__ void noise_bits(const long* key, const long* index, long name, int width, long* out, long n) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = hashed(key, index, name, width, i);
}
// The upper 24 bits, as a number in [0, 1).
__global__ void noise_uniform(const long* key, const long* index, long name, int width, float* out, long n) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = (float)(hashed(key, index, name, width, i) >> 8) * 0x1p-24f;
}

__global__ void images_of_bytes(const unsigned char* bytes, const long* rows, const long* key, const long* index, float* out, long by_y, long by_x,
        long by_flip, int pad, int has_flip, int reflects, int c, int h, int w, long n) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = image_number(bytes, rows, Crop{key, index, by_y, by_x, by_flip, pad, has_flip, reflects}, c, h, w, i);
}

// out = clamp(x + alpha * sign(gradient), low, high); alpha is a scalar on the device. Here n need
// not be a multiple of eight.
__global__ void sign_step(const float* x, const float* gradient, const double* alpha, const float* low, const float* high, float* out, long n) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float g = gradient[i], a = (float)*alpha;
    float moved = x[i] + (g > 0.f ? a : g < 0.f ? -a : 0.f);
    out[i] = fminf(fmaxf(moved, low[i]), high[i]);
}

__global__ void sum_pieces(const Pieces pieces) {
    in_turn();
    sum_piece(pieces.at[piece_of_block(pieces)]);
}

// torch.optim.SGD in one pass: g += decay * v; u = momentum * u + g; v -= rate * (nesterov ? g +
// momentum * u : u).
__global__ void sgd(float* value, const float* gradient, float* velocity, const double* rate, float momentum, float decay, int nesterov, long n) {
    in_turn();
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float v = value[i], g = gradient[i] + decay * v, u = momentum * velocity[i] + g;
    velocity[i] = u;
    value[i] = v - (float)*rate * (nesterov ? g + momentum * u : u);
}
}
