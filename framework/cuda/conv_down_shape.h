// How conv_down_sm90.cu cuts a down-sampling block's convolutions up: for the kernels and for who
// launches them (conv.cpp).
#pragma once
#include "conv_shape.h"

// Small images are W x W with 2048 / W channels, and large ones 2W x 2W with half of them. A tile
// is R rows x NI images x W columns, of small images or of the quarter of large ones that has one
// parity of rows and one of columns, by CHANNELS channels. There are STAGES slots for pixels and,
// for each of the block's two warpgroups, WEIGHTS for its part of a tap's weights. SPLIT: the
// blocks of a cluster that share a tile, each with its part of the channels that are read; each
// writes its part of the rows. TURNED: the input gradient.
template <int W_, int R_, int NI_, int STAGES_, int WEIGHTS_, int SPLIT_, bool TURNED_> struct Down {
    static constexpr int W = W_, R = R_, NI = NI_, STAGES = STAGES_, WEIGHTS = WEIGHTS_, SPLIT = SPLIT_;
    static constexpr bool TURNED = TURNED_;
    static constexpr int SMALL = 2048 / W, LARGE = SMALL / 2;      // channels
    static constexpr int C = TURNED ? LARGE : SMALL;               // those written
    static constexpr int CHANNELS = TURNED ? 64 : 128, DOWN = W / R; // tiles down an image
    static constexpr int CHUNKS = (TURNED ? SMALL : LARGE) / 64 / SPLIT; // of 64 channels that a block reads
    static constexpr int PX = R * NI * W, WRITTEN = PX / SPLIT;
    static constexpr int ROW = NI * W * 128;                    // bytes from a pixel to the one below
    static constexpr int SLAB = (R + 1) * ROW, TAP = 64 * 128; // bytes of a slot
    static constexpr int AT_WEIGHTS = STAGES * SLAB, AT_OUT = AT_WEIGHTS + 2 * WEIGHTS * TAP, AT_BARRIERS = AT_OUT + 4 * WRITTEN * 128;
    static constexpr int BYTES = AT_BARRIERS + 16 * (STAGES + 2 * WEIGHTS + 1) + 1024; // and room to align
    static_assert(PX == 128 && ROW % 1024 == 0 && R % SPLIT == 0 && CHUNKS > 0, "a tile");
    static_assert(BYTES <= 232448 && (SPLIT - 1) * 4 * 64 * WRITTEN * 4 <= AT_OUT, "shared memory");
};

template <bool TURNED> using Down16 = Down<16, 8, 1, 4, 5, 1, TURNED>;
template <bool TURNED> using Down8 = Down<8, 8, 2, 4, 5, 1, TURNED>;
template <bool TURNED> using Down4 = Down<4, 4, 8, 4, 7, 2, TURNED>;
