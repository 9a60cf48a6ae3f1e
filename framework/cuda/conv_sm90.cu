// 3 x 3 convolution, stride 1, padding 1, of channels-last bf16 images with fp32 sums, and its
// input gradient, for Hopper (sm_90a).
//
// An implicit product by wgmma. Rows are output channels and columns are pixels, so that a
// warpgroup holds 64 channels x PX pixels. A tile's pixels are ordered (row, image, column): moving
// a tap of the filter up or down is then a shift by NI * W pixels, a multiple of the 1024 bytes of
// a swizzle's atom, so that one load of R + 2 rows serves the three taps of a column of the filter,
// and three loads (moved left, not moved, moved right; the copy engine puts zero beyond the border)
// serve all nine.
//
// Weights are [K][3][3][C] as parameters lie in memory. The input gradient reads the same memory:
// its taps are in reverse order, and its matrix is the transposed, which wgmma reads as it is. Sums
// are in a fixed order, so the same input gives the same bits.
//
// A block is a warpgroup that loads (one thread pixels, one thread weights, each through a ring of
// slots with barriers "full" and "empty") and two that multiply. Images beyond the batch are read
// as zeros and not written, by the copy engine's bounds.
//
// On a CPU host/convolutions.cpp stands in for it. Why it is as it is:
// docs/decisions/0016-convolution.md.

#include "cluster_sum.h"
#include "epilogue.h"
#include "hopper.h"
#include "in_turn.h"

// A tile's pixels and channels, which change fastest.
template <class S> struct Tile {
    int pixels, n, h, c;
    __device__ __forceinline__ explicit Tile(int number) {
        constexpr int across = S::C / S::CHANNELS;
        pixels = number / across;
        n = pixels / S::DOWN * S::NI, h = pixels % S::DOWN * S::R, c = number % across * S::CHANNELS;
    }
};

// A block takes every gridDim.x-th tile, or one where a cluster shares it.
template <class S, bool TURNED, int E>
__device__ __forceinline__ void convolve(const Map& in, const Map& weights, const Map& out, const Map& beside, const Map& other, const Extra& extra, int tiles) {
    extern __shared__ unsigned char memory[];
    const u32 base = ((u32)__cvta_generic_to_shared(memory) + 1023) & ~1023u;
    const u32 full = base + S::AT_BARRIERS, empty = full + 8 * S::STAGES, wfull = empty + 8 * S::STAGES, wempty = wfull + 8 * S::WEIGHTS;
    const u32 order = wempty + 8 * S::WEIGHTS, arrived = order + 16;
    const int role = __shfl_sync(~0u, threadIdx.x / 128, 0); // uniform across a warp, and known to be
    if (threadIdx.x == 0) {
        constexpr int warps = S::ALTERNATE ? 4 : 8;
        for (int i = 0; i < S::STAGES; ++i) barrier_init(full + 8 * i, 1), barrier_init(empty + 8 * i, warps);
        for (int i = 0; i < S::WEIGHTS; ++i) barrier_init(wfull + 8 * i, 1), barrier_init(wempty + 8 * i, warps);
        for (int i = 0; i < 2; ++i) barrier_init(order + 8 * i, 4), barrier_init(arrived + 8 * i, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    in_turn();

    constexpr int chunks = S::C / 64 / S::SPLIT, slabs = chunks * 3;
    const int rank = blockIdx.x % S::SPLIT, first = blockIdx.x / S::SPLIT, stride = S::SPLIT > 1 ? tiles : gridDim.x;
    const int chunk0 = rank * chunks;

    if (role == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0) {
            Slot<S::STAGES> slot(1);
            for (int tile = first; tile < tiles; tile += stride) {
                const Tile<S> at(tile);
                for (int i = 0; i < slabs; ++i, slot.next()) {
                    barrier_wait(empty + 8 * slot.at, slot.parity);
                    barrier_expect(full + 8 * slot.at, S::SLAB);
                    load_images(base + slot.at * S::SLAB, &in, full + 8 * slot.at, (chunk0 + i / 3) * 64, i % 3 - 1, at.n, at.h - 1);
                }
            }
        } else if (threadIdx.x == 32) {
            Slot<S::WEIGHTS> slot(1);
            for (int tile = first; tile < (S::ALTERNATE ? first + 1 : tiles); tile += stride) {
                const int c = Tile<S>(tile).c;
                for (int i = 0; i < slabs * 3; ++i, slot.next()) {
                    const int from = (chunk0 + i / 9) * 64, tap = i % 3 * 3 + i / 3 % 3; // down the filter's columns
                    const u32 to = base + S::AT_WEIGHTS + slot.at * S::TAP, barrier = wfull + 8 * slot.at;
                    barrier_wait(wempty + 8 * slot.at, slot.parity);
                    barrier_expect(barrier, S::TAP);
#pragma unroll
                    for (int half = 0; half < S::CHANNELS; half += 64) {
                        const int column = TURNED ? (8 - tap) * S::C + c + half : tap * S::C + from, row = TURNED ? from : c + half;
                        load_weights(to + half * 128, &weights, barrier, column, row);
                    }
                }
            }
        }
        if (S::SPLIT > 1) { // as often as the others
            __syncwarp();
            cluster_barrier();
            cluster_barrier();
        }
        return;
    }

    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    const int group = role - 1, thread = threadIdx.x % 128;
    const bool leader = thread % 32 == 0;
    Slot<S::STAGES> slot(0);
    Slot<S::WEIGHTS> tap(0);
    const u32 stage = base + S::AT_OUT + group * S::WRITTEN * 128;
    int turn = 0;
    u32 arrival = 0;
    for (int tile = first; tile < tiles; tile += stride, ++turn) {
        if (S::ALTERNATE && turn % 2 != group) { // the other's tile
            for (int i = 0; i < slabs; ++i) slot.next();
            continue;
        }
        const Tile<S> at(tile);
        const int h = at.h + rank * (S::R / S::SPLIT), c = at.c + (S::ALTERNATE ? 0 : group * 64), part = at.pixels * S::SPLIT + rank;
        if (HAS_BESIDE<E> && thread == 0) { // what is beside the tile comes while it is multiplied
            wait_until_read();
            barrier_expect(arrived + 8 * group, S::WRITTEN * 128);
            load_images(stage, &beside, arrived + 8 * group, c, 0, at.n, h);
        }
        // Of the first only signs are kept, so that its place is free for the other, which comes
        // while the rest is multiplied.
        Open<S> open;
        const auto look = [&] {
            barrier_wait(arrived + 8 * group, arrival), arrival ^= 1;
            find_open(open, stage, thread);
            group_barrier(group);
            if (thread != 0) return;
            barrier_expect(arrived + 8 * group, S::WRITTEN * 128);
            load_images(stage, &other, arrived + 8 * group, c, 0, at.n, h);
        };
        if (E == MASK_SUM && S::ALTERNATE) look();
        // Products go in turn: a warpgroup that began before the other's were issued would be two
        // rounds behind a slot's barrier.
        if (S::ALTERNATE && turn > 0) barrier_wait(order + 8 * group, (turn - 1) / 2 % 2);
        float sums[S::PX / 2];
#pragma unroll
        for (int i = 0; i < S::PX / 2; ++i) sums[i] = 0.f;
        int slot_before = 0, tap_before = 0;
        for (int i = 0; i < slabs; ++i, slot.next()) {
            if (E == MASK_SUM && !S::ALTERNATE && i == 1) look(); // while the first are multiplied
            barrier_wait(full + 8 * slot.at, slot.parity);
#pragma unroll
            for (int row = 0; row < 3; ++row) {
                if (S::ALTERNATE) tap.at = i * 3 + row; // the weights that stay
                barrier_wait(wfull + 8 * tap.at, tap.parity);
                const u64 a = matrix(base + S::AT_WEIGHTS + tap.at * S::TAP + (S::ALTERNATE ? 0 : group * 8192));
                const u64 b = matrix(base + slot.at * S::SLAB + row * S::ROW);
                asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
                for (int k = 0; k < 4; ++k) multiply<TURNED>(sums, a + (TURNED ? 128 : 2) * k, b + 2 * k); // 16 rows, or 16 numbers, in 16 bytes
                asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
                asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
                if (i + row > 0 && leader) { // the product before this one is done
                    if (!S::ALTERNATE) barrier_arrive(wempty + 8 * tap_before);
                    if (row == 0) barrier_arrive(empty + 8 * slot_before);
                }
                tap_before = tap.at;
                if (!S::ALTERNATE) tap.next();
            }
            slot_before = slot.at;
        }
        if (S::ALTERNATE && leader) barrier_arrive(order + 8 * (1 - group));
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
        for (int i = 0; i < S::PX / 2; ++i) asm volatile("" : "+f"(sums[i])::"memory"); // not read before the wait
        if (leader) {
            if (!S::ALTERNATE) barrier_arrive(wempty + 8 * tap_before);
            barrier_arrive(empty + 8 * slot_before);
        }
        if (HAS_BESIDE<E>) barrier_wait(arrived + 8 * group, arrival), arrival ^= 1;
        if constexpr (S::SPLIT > 1) {
            float own[S::WRITTEN / 2];
            cluster_barrier();
            give<S>(sums, base, rank, group, thread);
            cluster_barrier();
            take<S>(own, sums, base, rank, group, thread);
            write<S, E>(own, stage, &out, extra, group, thread, c, at.n, h, part, &other, open);
        } else {
            write<S, E>(sums, stage, &out, extra, group, thread, c, at.n, h, part, &other, open);
        }
    }
    if (thread == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

#define FOIL_CONV(NAME, SHAPE, TURNED, EPILOGUE)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, 1)                                                                                         \
        NAME(const __grid_constant__ Map in, const __grid_constant__ Map weights, const __grid_constant__ Map out, const __grid_constant__ Map beside, \
             const __grid_constant__ Map other, const Extra extra, int tiles) {                                                                      \
        convolve<SHAPE, TURNED, EPILOGUE>(in, weights, out, beside, other, extra, tiles);                                                            \
    }
#define FOIL_CONVS(SIDE)                                                                                                                             \
    FOIL_CONV(conv_##SIDE, Conv##SIDE, false, PLAIN)                                                                                                 \
    FOIL_CONV(conv_##SIDE##_affine, Conv##SIDE, false, AFFINE)                                                                                       \
    FOIL_CONV(conv_##SIDE##_statistics, Conv##SIDE, false, STATISTICS)                                                                               \
    FOIL_CONV(conv_##SIDE##_sum_statistics, Conv##SIDE, false, SUM_STATISTICS)                                                                       \
    FOIL_CONV(conv_##SIDE##_sum_affine, Conv##SIDE, false, SUM_AFFINE)                                                                               \
    FOIL_CONV(conv_##SIDE##_turned, Conv##SIDE, true, PLAIN)                                                                                         \
    FOIL_CONV(conv_##SIDE##_turned_mask, Conv##SIDE, true, MASK)                                                                                     \
    FOIL_CONV(conv_##SIDE##_turned_mask_sum, Conv##SIDE, true, MASK_SUM)                                                                             \
    FOIL_CONV(conv_##SIDE##_turned_slopes, Conv##SIDE, true, SLOPES)

FOIL_CONVS(32)
FOIL_CONVS(16)
FOIL_CONVS(8)
FOIL_CONVS(4)
