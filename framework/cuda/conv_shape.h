// How conv_sm90.cu cuts a convolution up: for the kernels and for who launches them (conv.cpp).
#pragma once

constexpr int THREADS = 384;

// What becomes of a sum v before it is written, by channel and with the number b beside it, and
// perhaps another one, o:
enum Epilogue {
    PLAIN,          // v
    AFFINE,         // max(v * scale + shift, 0)
    STATISTICS,     // v; for each group of WRITTEN pixels the mean and the sum of squared deviations of what was written
    SUM_STATISTICS, // v + b, and the same
    SUM_AFFINE,     // max(s * scale + shift, 0), where s is v + b as it is stored: in o, with `keeps_sum`
    MASK,           // v * scale where b > 0, else 0
    MASK_SUM,       // that, + o
    SLOPES          // v; for each such group the sums of o and o * (b - mean), where o is v where b * scale + shift > 0, else 0
};

template <int E> constexpr bool HAS_BESIDE = E == SUM_STATISTICS || E == SUM_AFFINE || E == MASK || E == MASK_SUM || E == SLOPES;

// What epilogues read and write: by channel, and groups [groups][C][2].
struct Extra {
    const float *scale, *shift, *mean;
    float* partial;
    int groups, keeps_sum;
};

// A tile is R rows x NI images x W columns by CHANNELS output channels, of images W x W with C
// channels; there are STAGES slots for pixels and WEIGHTS for a tap's weights. ALTERNATE: the
// block's two warpgroups take tiles in turn, one multiplying while the other writes, and all
// weights (64 x 64 channels) stay in shared memory; otherwise they take the halves of the channels.
// SPLIT: the blocks of a cluster that share a tile, each with its part of the input channels; each
// writes its part of the rows.
template <int W_, int R_, int NI_, int STAGES_, int WEIGHTS_, bool ALTERNATE_, int SPLIT_> struct Shape {
    static constexpr int W = W_, R = R_, NI = NI_, STAGES = STAGES_, WEIGHTS = WEIGHTS_, SPLIT = SPLIT_;
    static constexpr bool ALTERNATE = ALTERNATE_;
    static constexpr int C = 2048 / W, CHANNELS = ALTERNATE ? 64 : 128; // a ResNet's width for this size
    static constexpr int DOWN = W / R;                                   // tiles down an image
    static constexpr int PX = R * NI * W, WRITTEN = PX / SPLIT;
    static constexpr int ROW = NI * W * 128;                         // bytes from a tap to the one below
    static constexpr int SLAB = (R + 2) * ROW, TAP = CHANNELS * 128; // bytes of a slot
    static constexpr int AT_WEIGHTS = STAGES * SLAB, AT_OUT = AT_WEIGHTS + WEIGHTS * TAP, AT_BARRIERS = AT_OUT + 2 * WRITTEN * 128;
    static constexpr int BYTES = AT_BARRIERS + 16 * (STAGES + WEIGHTS + 2) + 1024; // and room to align
    static_assert(ROW % 1024 == 0 && BYTES <= 232448 && (SPLIT - 1) * 2 * 64 * WRITTEN * 4 <= AT_OUT, "shared memory");
    static_assert(R % SPLIT == 0 && (!ALTERNATE || (WEIGHTS == 9 && SPLIT == 1 && C == 64)), "a tile");
};

using Conv32 = Shape<32, 4, 1, 4, 9, true, 1>;
using Conv16 = Shape<16, 16, 1, 2, 5, false, 1>;
using Conv8 = Shape<8, 8, 2, 3, 8, false, 1>;
using Conv4 = Shape<4, 4, 8, 3, 8, false, 2>;
