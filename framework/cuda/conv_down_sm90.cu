// The convolutions of a ResNet's down-sampling block, 3 x 3 with padding 1 and 1 x 1 (its
// shortcut), both with stride 2 and of the same images, and their common input gradient:
// channels-last bf16 images, fp32 sums, for Hopper (sm_90a).
//
// The technique is conv_sm90.cu's. A large image is read and written as four quarters, each of the
// pixels of one parity of rows and one of columns: in a quarter the stride is one. The copy engine
// knows each as a map of its own.
//
// Forward, a column of the filter meets one parity of columns, its first and last row the odd rows
// (one load of R + 1 rows), its middle row the even ones. The shortcut is a tenth tap, of the slab
// with even rows and columns, with sums of its own. The two warpgroups take the halves of 128
// channels.
//
// Turned, each quarter of the gradient has 1, 2, 2 or 4 taps, and the one that the shortcut saw one
// more, so that nothing is zeroed or added afterwards. The two warpgroups take the even and the odd
// rows of the same 64 channels: four and six taps, which is no loss, since one alone keeps the
// multiprocessor's units busy.
//
// Every sum is taken in a fixed order. On a CPU host/convolutions.cpp stands in for it. Why it is
// as it is: docs/decisions/0016-convolution.md.

#include "cluster_sum.h"
#include "conv_down_shape.h"
#include "epilogue.h"
#include "hopper.h"
#include "in_turn.h"

// Small images: of the 3 x 3 convolution and of the shortcut. Their weights. Large images, by
// (row's parity, column's parity), and what is beside them.
struct Maps {
    Map small[2], weights[2], large[4], beside[4];
};

// Which tap (ky * 3 + kx, or 9: the shortcut's) comes when, of a chunk of channels: as
// `multiply_chunk` has them.
template <class S> __device__ __forceinline__ int tap_of(int group, int i) {
    constexpr u64 forward = 0x5829471360, even = 0x3954, odd = 0x062817; // the first is the last digit
    return (S::TURNED ? group ? odd : even : forward) >> (4 * i) & 15;
}

// A tile's pixels and channels, which change fastest.
template <class S> struct DownTile {
    int pixels, n, h, c;
    __device__ __forceinline__ explicit DownTile(int number) {
        constexpr int across = S::C / S::CHANNELS;
        pixels = number / across;
        n = pixels / S::DOWN * S::NI, h = pixels % S::DOWN * S::R, c = number % across * S::CHANNELS;
    }
};

// What a warpgroup multiplies: the slots that hold it, and those to hand back once the products
// that read them have ended.
template <class S> struct Feed {
    u32 base, full, empty, wfull, wempty;
    bool leader;
    Slot<S::STAGES> slab = Slot<S::STAGES>(0);
    Slot<S::WEIGHTS> tap = Slot<S::WEIGHTS>(0);
    int slab_before = -1, tap_before = -1;

    __device__ __forceinline__ void release() {
        if (leader && tap_before >= 0) barrier_arrive(wempty + 8 * tap_before);
        if (leader && slab_before >= 0) barrier_arrive(empty + 8 * slab_before);
        tap_before = slab_before = -1;
    }

    __device__ __forceinline__ void open() const { barrier_wait(full + 8 * slab.at, slab.parity); }
    __device__ __forceinline__ void close() { slab_before = slab.at, slab.next(); }
    __device__ __forceinline__ void skip() {
        open();
        if (leader) barrier_arrive(empty + 8 * slab.at);
        slab.next();
    }

    // sums += the next tap's weights · the open slab's pixels from this row on.
    __device__ __forceinline__ void multiply_tap(float (&sums)[S::PX / 2], int row, u32 weights) {
        barrier_wait(wfull + 8 * tap.at, tap.parity);
        const u64 a = matrix(weights + tap.at * S::TAP), b = matrix(base + slab.at * S::SLAB + row * S::ROW);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int k = 0; k < 4; ++k) multiply<S::TURNED>(sums, a + (S::TURNED ? 128 : 2) * k, b + 2 * k); // 16 rows, or 16 numbers, in 16 bytes
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        release(); // the product before this one is done
        tap_before = tap.at, tap.next();
    }
};

// The taps of 64 channels, in the order of `tap_of`.
template <class S> __device__ __forceinline__ void multiply_chunk(Feed<S>& feed, float (&sums)[2][S::PX / 2], int group, u32 weights) {
    if (!S::TURNED) {
#pragma unroll
        for (int column = 0; column < 3; ++column) {
            feed.open();
            feed.multiply_tap(sums[0], 0, weights);
            feed.multiply_tap(sums[0], 1, weights);
            feed.close();
            feed.open();
            feed.multiply_tap(sums[0], 0, weights);
            if (column == 1) feed.multiply_tap(sums[1], 0, weights);
            feed.close();
        }
    } else if (group == 0) { // even rows
        feed.open();
        feed.multiply_tap(sums[0], 0, weights);
        feed.multiply_tap(sums[1], 0, weights);
        feed.close();
        feed.open();
        feed.multiply_tap(sums[0], 0, weights);
        feed.close();
        feed.open();
        feed.multiply_tap(sums[1], 0, weights);
        feed.close();
    } else {
        feed.open();
        feed.multiply_tap(sums[0], 0, weights);
        feed.multiply_tap(sums[0], 1, weights);
        feed.multiply_tap(sums[1], 0, weights);
        feed.multiply_tap(sums[1], 1, weights);
        feed.close();
        feed.skip(); // the shortcut's
        feed.open();
        feed.multiply_tap(sums[1], 0, weights);
        feed.multiply_tap(sums[1], 1, weights);
        feed.close();
    }
}

// A block takes every gridDim.x-th tile, or one where a cluster shares it.
template <class S, int E> __device__ __forceinline__ void convolve_down(const Maps& maps, const Extra& extra, int tiles) {
    static_assert(S::TURNED == HAS_BESIDE<E> || E == PLAIN, "an epilogue");
    extern __shared__ unsigned char memory[];
    const u32 base = ((u32)__cvta_generic_to_shared(memory) + 1023) & ~1023u;
    const u32 full = base + S::AT_BARRIERS, empty = full + 8 * S::STAGES, wfull = empty + 8 * S::STAGES, wempty = wfull + 16 * S::WEIGHTS;
    const u32 arrived = wempty + 16 * S::WEIGHTS;
    const int role = __shfl_sync(~0u, threadIdx.x / 128, 0); // uniform across a warp, and known to be
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::STAGES; ++i) barrier_init(full + 8 * i, 1), barrier_init(empty + 8 * i, 8);
        for (int i = 0; i < 2 * S::WEIGHTS; ++i) barrier_init(wfull + 8 * i, 1), barrier_init(wempty + 8 * i, 4);
        for (int i = 0; i < 2; ++i) barrier_init(arrived + 8 * i, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    in_turn();

    const int rank = blockIdx.x % S::SPLIT, first = blockIdx.x / S::SPLIT, stride = S::SPLIT > 1 ? tiles : gridDim.x;
    const int chunk0 = rank * S::CHUNKS;

    if (role == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0) {
            constexpr int slabs = S::TURNED ? 3 : 6;
            Slot<S::STAGES> slot(1);
            for (int tile = first; tile < tiles; tile += stride) {
                const DownTile<S> at(tile);
                for (int i = 0; i < S::CHUNKS * slabs; ++i, slot.next()) {
                    const u32 to = base + slot.at * S::SLAB, barrier = full + 8 * slot.at;
                    const int c = (chunk0 + i / slabs) * 64, which = i % slabs;
                    barrier_wait(empty + 8 * slot.at, slot.parity);
                    if (S::TURNED) { // the gradient; the shortcut's; the gradient moved left
                        barrier_expect(barrier, which == 1 ? S::R * S::ROW : S::SLAB);
                        load_images(to, &maps.small[which == 1], barrier, c, which == 2, at.n, at.h);
                    } else { // down the filter's columns, odd rows and even rows
                        const int column = which / 2, odd = 1 - which % 2;
                        barrier_expect(barrier, odd ? S::SLAB : S::R * S::ROW);
                        load_images(to, &maps.large[odd * 2 + (column != 1)], barrier, c, column == 0 ? -1 : 0, at.n, at.h - odd);
                    }
                }
            }
        } else if (threadIdx.x == 32 || threadIdx.x == 64) {
            const int group = threadIdx.x / 32 - 1, taps = S::TURNED ? group ? 6 : 4 : 10;
            const u32 slots = base + S::AT_WEIGHTS + group * S::WEIGHTS * S::TAP;
            Slot<S::WEIGHTS> slot(1);
            for (int tile = first; tile < tiles; tile += stride) {
                const int c = DownTile<S>(tile).c;
                for (int chunk = chunk0; chunk < chunk0 + S::CHUNKS; ++chunk)
                    for (int i = 0; i < taps; ++i, slot.next()) {
                        const int tap = tap_of<S>(group, i), before = tap == 9 ? 0 : tap * S::LARGE;
                        const u32 barrier = wfull + 8 * (group * S::WEIGHTS + slot.at);
                        barrier_wait(wempty + 8 * (group * S::WEIGHTS + slot.at), slot.parity);
                        barrier_expect(barrier, S::TAP);
                        const int column = before + (S::TURNED ? c : chunk * 64), row = S::TURNED ? chunk * 64 : c + group * 64;
                        load_weights(slots + slot.at * S::TAP, &maps.weights[tap == 9], barrier, column, row);
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
    Feed<S> feed{base, full, empty, wfull + 8 * group * S::WEIGHTS, wempty + 8 * group * S::WEIGHTS, thread % 32 == 0};
    const u32 weights = base + S::AT_WEIGHTS + group * S::WEIGHTS * S::TAP, stage = base + S::AT_OUT + group * 2 * S::WRITTEN * 128;
    u32 arrival = 0;
    for (int tile = first; tile < tiles; tile += stride) {
        const DownTile<S> at(tile);
        const int h = at.h + rank * (S::R / S::SPLIT), c = at.c + (S::TURNED ? 0 : group * 64), part = at.pixels * S::SPLIT + rank;
        if (HAS_BESIDE<E> && thread == 0) { // what is beside the tile comes while it is multiplied
            wait_until_read();
            barrier_expect(arrived + 8 * group, 2 * S::WRITTEN * 128);
            for (int i = 0; i < 2; ++i)
                load_images(stage + i * S::WRITTEN * 128, &maps.beside[group * 2 + i], arrived + 8 * group, c, 0, at.n, h);
        }
        float sums[2][S::PX / 2];
#pragma unroll
        for (int i = 0; i < S::PX; ++i) sums[i % 2][i / 2] = 0.f;
        for (int chunk = 0; chunk < S::CHUNKS; ++chunk) multiply_chunk<S>(feed, sums, group, weights);
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
        for (int i = 0; i < S::PX; ++i) asm volatile("" : "+f"(sums[i % 2][i / 2])::"memory"); // not read before the wait
        feed.release();
        if (HAS_BESIDE<E>) barrier_wait(arrived + 8 * group, arrival), arrival ^= 1;
        constexpr u32 GIVEN = (S::SPLIT - 1) * 2 * 64 * S::WRITTEN * 4;
        if (S::SPLIT > 1) {
            cluster_barrier();
            for (int i = 0; i < 2; ++i) give<S>(sums[i], base + i * GIVEN, rank, group, thread);
            cluster_barrier();
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float own[S::WRITTEN / 2];
            take<S>(own, sums[i], base + i * GIVEN, rank, group, thread);
            const u32 from = stage + i * S::WRITTEN * 128;
            if (S::TURNED) write<S, E, 1>(own, from, &maps.large[group * 2 + i], extra, group, thread, c, at.n, h, part * 4 + group * 2 + i);
            else if (i == 0) write<S, E, 1>(own, from, &maps.small[0], extra, group, thread, c, at.n, h, part);
            else write<S, PLAIN, 1>(own, from, &maps.small[1], extra, group, thread, c, at.n, h, part);
        }
    }
    if (thread == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

#define FOIL_DOWN(NAME, SHAPE, EPILOGUE)                                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) NAME(const __grid_constant__ Maps maps, const Extra extra, int tiles) {                 \
        convolve_down<SHAPE, EPILOGUE>(maps, extra, tiles);                                                                                          \
    }
#define FOIL_DOWNS(SIDE)                                                                                                                             \
    FOIL_DOWN(down_##SIDE, Down##SIDE<false>, PLAIN)                                                                                                 \
    FOIL_DOWN(down_##SIDE##_affine, Down##SIDE<false>, AFFINE)                                                                                       \
    FOIL_DOWN(down_##SIDE##_statistics, Down##SIDE<false>, STATISTICS)                                                                               \
    FOIL_DOWN(down_##SIDE##_turned, Down##SIDE<true>, PLAIN)                                                                                         \
    FOIL_DOWN(down_##SIDE##_turned_mask, Down##SIDE<true>, MASK)                                                                                     \
    FOIL_DOWN(down_##SIDE##_turned_slopes, Down##SIDE<true>, SLOPES)

FOIL_DOWNS(16)
FOIL_DOWNS(8)
FOIL_DOWNS(4)
