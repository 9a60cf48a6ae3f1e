// Hopper's convolutions (conv_sm90.cu, conv_down_sm90.cu) on a CPU: not their source, which is
// instructions that only Hopper has, but what it promises, written plainly. The kernels themselves
// are held to the same promise where there is such a GPU; here it is for the code that calls them.
#include "host.h"

#include "../conv_down_shape.h"
#include "../eight.h"
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Channels-last images in fp32.
struct Images {
    int n, side, c;
    std::vector<float> values;
    Images(int n, int side, int c) : n(n), side(side), c(c), values((size_t)n * side * side * c) {}
    Images(const void* from, int n, int side, int c) : Images(n, side, c) {
        std::transform(static_cast<const bf16*>(from), static_cast<const bf16*>(from) + values.size(), values.begin(), [](bf16 b) { return up(b); });
    }
    size_t pixel(int image, int h, int w) const { return ((size_t)image * side + h) * side + w; }
    float* at(int image, int h, int w) { return &values[pixel(image, h, w) * c]; }
};

// A filter [K][kernel][kernel][C] that moves by `stride`.
struct Filter {
    int kernel, stride, k, c;
    std::vector<float> values; // [kernel][kernel][C][K]
    Filter(const void* from, int kernel, int stride, int k, int c) : kernel(kernel), stride(stride), k(k), c(c), values((size_t)k * kernel * kernel * c) {
        const bf16* weights = static_cast<const bf16*>(from);
        for (int o = 0; o < k; ++o)
            for (int i = 0; i < kernel * kernel * c; ++i) values[(size_t)i * k + o] = up(weights[(size_t)o * kernel * kernel * c + i]);
    }
    const float* tap(int y, int x) const { return &values[(size_t)(y * kernel + x) * c * k]; }

    // Calls `meet` with each pixel of `small`, the pixel of `large` that a tap sees from there, and
    // the tap.
    template <class F> void each(Images& large, Images& small, F meet) const {
        for (int n = 0; n < small.n; ++n)
            for (int h = 0; h < small.side; ++h)
                for (int w = 0; w < small.side; ++w)
                    for (int y = 0; y < kernel; ++y)
                        for (int x = 0; x < kernel; ++x) {
                            const int row = h * stride + y - kernel / 2, column = w * stride + x - kernel / 2;
                            if (row < 0 || column < 0 || row >= large.side || column >= large.side) continue;
                            meet(large.at(n, row, column), small.at(n, h, w), tap(y, x));
                        }
    }
    void forward(Images& from, Images& to) const {
        each(from, to, [&](const float* in, float* out, const float* weights) {
            for (int i = 0; i < c; ++i, weights += k)
                for (int o = 0; o < k; ++o) out[o] += in[i] * weights[o];
        });
    }
    // Adds the input gradient.
    void backward(Images& gradient, Images& to) const {
        each(to, gradient, [&](float* in, const float* out, const float* weights) {
            for (int i = 0; i < c; ++i, weights += k) {
                float sums[8] = {};
                for (int o = 0; o < k; o += 8)
                    for (int j = 0; j < 8; ++j) sums[j] += out[o + j] * weights[o + j];
                for (float sum : sums) in[i] += sum;
            }
        });
    }
};

const std::map<std::string, Epilogue> EPILOGUES[] = {
    {{"", PLAIN}, {"_affine", AFFINE}, {"_statistics", STATISTICS}, {"_sum_statistics", SUM_STATISTICS}, {"_sum_affine", SUM_AFFINE}},
    {{"", PLAIN}, {"_mask", MASK}, {"_mask_sum", MASK_SUM}, {"_slopes", SLOPES}},
};

// How `name` goes on behind `begin`: whether it is the gradient, and the epilogue.
std::pair<bool, Epilogue> parsed(std::string name, const std::string& begin) {
    const auto ends = [&](const std::string& front) {
        if (name.compare(0, front.size(), front)) return false;
        name.erase(0, front.size());
        return true;
    };
    const std::string all = name;
    const bool known = ends(begin), turned = known && ends("_turned");
    const auto found = EPILOGUES[turned].find(name);
    if (!known || found == EPILOGUES[turned].end()) throw std::runtime_error("there is no convolution called " + all);
    return {turned, found->second};
}

// What an epilogue (conv_shape.h) is given besides sums.
struct Given {
    const void *beside, *other;
    const float *scale, *shift, *mean;
    const void* partial;

    void check(Epilogue e) const {
        const auto only = [&](const char* what, const void* given, bool used) {
            if ((given != nullptr) != used) throw std::runtime_error(std::string(what) + (used ? " is missing" : " is not used"));
        };
        only("what is beside", beside, e == SUM_STATISTICS || e == SUM_AFFINE || e == MASK || e == MASK_SUM || e == SLOPES);
        if (e != SUM_AFFINE) only("the other one", other, e == MASK_SUM);
        only("scale", scale, e == AFFINE || e == SUM_AFFINE || e == MASK || e == MASK_SUM || e == SLOPES);
        only("shift", shift, e == AFFINE || e == SUM_AFFINE || e == SLOPES);
        only("mean", mean, e == SLOPES);
        only("room for groups", partial, e == STATISTICS || e == SUM_STATISTICS || e == SLOPES);
    }
};

// Writes `sums` to `out`; `group` says where an image, a row and a column belong, of groups of
// `rows` pixels.
template <class F> void write(Images& sums, void* out, const Given& given, Epilogue e, int rows, F group) {
    const int c = sums.c, groups = sums.n * sums.side * sums.side / rows;
    const auto numbers = [](const void* p) { return static_cast<const bf16*>(p); };
    const auto relu = [](float v) { return v < 0.f ? 0.f : v; }; // NaN stays
    std::vector<float> first((size_t)groups * c), second(first);
    const auto each = [&](auto work) {
        for (int n = 0; n < sums.n; ++n)
            for (int h = 0; h < sums.side; ++h)
                for (int w = 0; w < sums.side; ++w)
                    for (int k = 0; k < c; ++k) work(sums.pixel(n, h, w) * c + k, k, group(n, h, w) < groups ? (int)group(n, h, w) * c + k : -1);
    };
    each([&](size_t i, int k, int at) {
        const float v = sums.values[i], b = given.beside ? up(numbers(given.beside)[i]) : 0.f;
        float made = v;
        if (e == AFFINE) made = relu(std::fma(v, given.scale[k], given.shift[k]));
        if (e == SUM_STATISTICS || e == SUM_AFFINE) made = v + b;
        if (e == MASK) made = b > 0.f ? v * given.scale[k] : 0.f;
        if (e == MASK_SUM) made = std::fma(b > 0.f ? v : 0.f, given.scale[k], up(numbers(given.other)[i]));
        if (e == SUM_AFFINE) {
            if (given.other) static_cast<bf16*>(const_cast<void*>(given.other))[i] = down(made);
            made = relu(std::fma(up(down(made)), given.scale[k], given.shift[k]));
        }
        const float stored = up(static_cast<bf16*>(out)[i] = down(made));
        if (at < 0) return;
        if (e == STATISTICS || e == SUM_STATISTICS) first[at] += stored / rows;
        if (e == SLOPES && std::fma(b, given.scale[k], given.shift[k]) > 0.f) first[at] += stored, second[at] += stored * (b - given.mean[k]);
    });
    if (e == STATISTICS || e == SUM_STATISTICS)
        each([&](size_t i, int, int at) {
            const float off = at < 0 ? 0.f : up(static_cast<bf16*>(out)[i]) - first[at];
            if (at >= 0) second[at] += off * off;
        });
    if (!given.partial) return;
    float* partial = static_cast<float*>(const_cast<void*>(given.partial));
    for (size_t i = 0; i < first.size(); ++i) partial[2 * i] = first[i], partial[2 * i + 1] = second[i];
}

// As foil_cuda_conv; pointers in its order.
template <class S> void convolve(const std::string& name, void* const* p, int n) {
    const auto [turned, epilogue] = parsed(name, "conv_" + std::to_string(S::W));
    const Given given{p[3], p[4], static_cast<float*>(p[5]), static_cast<float*>(p[6]), static_cast<float*>(p[7]), p[8]};
    given.check(epilogue);
    Images in(p[0], n, S::W, S::C), sums(n, S::W, S::C);
    const Filter filter(p[1], 3, 1, S::C, S::C);
    turned ? filter.backward(in, sums) : filter.forward(in, sums);
    write(sums, p[2], given, epilogue, S::WRITTEN, [](int n, int h, int) {
        return (n / S::NI * S::DOWN + h / S::R) * S::SPLIT + h % S::R / (S::R / S::SPLIT);
    });
}

// As foil_cuda_conv_down; pointers in its order.
template <template <bool> class D> void convolve_down(const std::string& name, void* const* p, int n) {
    using S = D<false>;
    const auto [turned, epilogue] = parsed(name, "down_" + std::to_string(S::W));
    const Given given{p[5], nullptr, static_cast<float*>(p[6]), static_cast<float*>(p[7]), static_cast<float*>(p[8]), p[9]};
    given.check(epilogue);
    const Filter filter(p[1], 3, 2, S::SMALL, S::LARGE), shortcut(p[2], 1, 2, S::SMALL, S::LARGE);
    // Groups are cut alike both ways; a gradient's are of pixels of one parity of rows and one of
    // columns.
    const auto part = [](int n, int h) { return (n / S::NI * S::DOWN + h / S::R) * S::SPLIT + h % S::R / (S::R / S::SPLIT); };
    if (turned) {
        Images d_out(p[3], n, S::W, S::SMALL), d_shortcut(p[4], n, S::W, S::SMALL), sums(n, 2 * S::W, S::LARGE);
        filter.backward(d_out, sums);
        shortcut.backward(d_shortcut, sums);
        return write(sums, p[0], given, epilogue, S::WRITTEN, [&](int n, int h, int w) { return part(n, h / 2) * 4 + h % 2 * 2 + w % 2; });
    }
    Images in(p[0], n, 2 * S::W, S::LARGE), sums(n, S::W, S::SMALL), side(sums);
    filter.forward(in, sums);
    shortcut.forward(in, side);
    write(sums, p[3], given, epilogue, S::WRITTEN, [&](int n, int h, int) { return part(n, h); });
    write(side, p[4], {}, PLAIN, S::WRITTEN, [](int, int, int) { return 0; });
}

} // namespace

extern "C" {

// Null, or what went wrong.
const char* foil_host_convolve(const char* name, void* const* pointers, int n, int side) {
    static thread_local std::string told;
    try {
        const bool is_down = std::string(name).compare(0, 5, "down_") == 0;
        switch (side) {
        case 32: return convolve<Conv32>(name, pointers, n), nullptr;
        case 16: return is_down ? convolve_down<Down16>(name, pointers, n) : convolve<Conv16>(name, pointers, n), nullptr;
        case 8: return is_down ? convolve_down<Down8>(name, pointers, n) : convolve<Conv8>(name, pointers, n), nullptr;
        case 4: return is_down ? convolve_down<Down4>(name, pointers, n) : convolve<Conv4>(name, pointers, n), nullptr;
        }
        throw std::runtime_error("there is no convolution for images of side " + std::to_string(side));
    } catch (const std::exception& error) {
        told = error.what();
        return told.c_str();
    }
}
}
