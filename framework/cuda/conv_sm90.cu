// 3 x 3 convolution, stride 1, padding 1, of channels-last bf16 images with fp32 sums, and its input gradient, for Hopper (sm_90a).
//
// An implicit product by wgmma. Rows are output channels and columns are pixels, so that a warpgroup holds 64 channels x PX pixels. A tile's pixels
// are ordered (row, image, column): moving a tap of the filter up or down is then a shift by NI * W pixels, a multiple of the 1024 bytes of a
// swizzle's atom, so that one load of R + 2 rows serves the three taps of a column of the filter, and three loads (moved left, not moved, moved right; the
// copy engine puts zero beyond the border) serve all nine.
//
// Weights are [K][3][3][C] as parameters lie in memory. The input gradient reads the same memory: its taps are in reverse order, and its matrix
// is the transposed, which wgmma reads as it is. Sums are in a fixed order, so the same input gives the same bits.
//
// A block is a warpgroup that loads (one thread pixels, one thread weights, each through a ring of slots with barriers "full" and "empty") and two that
// multiply. Images beyond the batch are read as zeros and not written, by the copy engine's bounds.
//
// There is no form of this for the CPU: see docs/decisions/0016-convolution.md.

#include "conv_shape.h"

using u32 = unsigned;
using u64 = unsigned long long;

// A CUtensorMap; its header is the driver's.
struct alignas(64) Map {
    unsigned char bytes[128];
};

// --- barriers and the copy engine ---

__device__ __forceinline__ void barrier_init(u32 barrier, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

__device__ __forceinline__ void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Waits for the end of the round of this parity. Of two rounds with one parity it cannot tell the earlier, so nobody may be two rounds behind.
__device__ __forceinline__ void barrier_wait(u32 barrier, u32 parity) {
    u32 done = 0;
    while (!done)
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
}

__device__ __forceinline__ void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

__device__ __forceinline__ void load_images(u32 to, const Map* map, u32 barrier, int c, int w, int n, int h) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
        "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(n), "r"(h)
        : "memory");
}

__device__ __forceinline__ void load_weights(u32 to, const Map* map, u32 barrier, int column, int row) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(column), "r"(row)
                 : "memory");
}

__device__ __forceinline__ void store_images(u32 from, const Map* map, int c, int w, int n, int h) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%1, {%2, %3, %4, %5}], [%0];" ::"r"(from), "l"(map), "r"(c), "r"(w),
                 "r"(n), "r"(h)
                 : "memory");
}

// --- products ---

// A matrix of rows of 64 bf16, of which 8 are an atom of 1024 bytes with its 16-byte pieces swizzled. Read along rows or, of the transposed, across.
__device__ __forceinline__ u64 matrix(u32 address) {
    return (u64)((address & 0x3FFFF) >> 4) | ((u64)(1024 >> 4) << 16) | ((u64)(1024 >> 4) << 32) | (1ull << 62);
}

#define FOIL_8(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define FOIL_64(d, i)                                                                                                                                \
    FOIL_8(d, i), FOIL_8(d, i + 8), FOIL_8(d, i + 16), FOIL_8(d, i + 24), FOIL_8(d, i + 32), FOIL_8(d, i + 40), FOIL_8(d, i + 48), FOIL_8(d, i + 56)
#define FOIL_NAMES_64                                                                                                                                \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                                                         \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                                               \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                                               \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"                                                                 
#define FOIL_NAMES_128                                                                                                                               \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                                                         \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                                               \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                                               \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "                                                               \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                                                               \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                                                               \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "                                                   \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"                                                 

// sums += weights [64][16] · pixels [PX][16], transposed; with TURNED the weights' memory is [16][64].
template <bool TURNED> __device__ __forceinline__ void multiply(float (&sums)[64], u64 weights, u64 pixels) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FOIL_NAMES_64 "}, %64, %65, 1, 1, 1, %66, 0;\n"
                 : FOIL_64(sums, 0)
                 : "l"(weights), "l"(pixels), "n"(TURNED ? 1 : 0));
}

template <bool TURNED> __device__ __forceinline__ void multiply(float (&sums)[128], u64 weights, u64 pixels) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" FOIL_NAMES_128 "}, %128, %129, 1, 1, 1, %130, 0;\n"
                 : FOIL_64(sums, 0), FOIL_64(sums, 64)
                 : "l"(weights), "l"(pixels), "n"(TURNED ? 1 : 0));
}

// --- the kernel ---

// A slot of a ring, and the parity of its round.
template <int SLOTS> struct Slot {
    int at = 0;
    u32 parity;
    __device__ __forceinline__ explicit Slot(u32 first) : parity(first) {}
    __device__ __forceinline__ void next() {
        if (++at == SLOTS) at = 0, parity ^= 1;
    }
};

__device__ __forceinline__ u32 rounded(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ float low(u32 both) { return __uint_as_float(both << 16); }
__device__ __forceinline__ float high(u32 both) { return __uint_as_float(both & 0xffff0000u); }

// The sum over the four threads that hold one channel.
__device__ __forceinline__ float over_four(float v) {
    v += __shfl_xor_sync(~0u, v, 1);
    return v + __shfl_xor_sync(~0u, v, 2);
}

// Writes a warpgroup's 64 channels from `c` on of the pixels at image n and row h, by way of shared memory at `stage`, where what is beside them already lies.
template <class S, int E>
__device__ __forceinline__ void write(const float (&sums)[S::WRITTEN / 2], u32 stage, const Map* out, const Extra& extra, int group, int thread, int c, int n,
                                      int h, int part) {
    const int warp = thread / 32, lane = thread % 32, matrix = lane / 8, row = lane % 8;
    if (!HAS_BESIDE<E>) {
        // The copy engine must have read the tile before.
        if (thread == 0) asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
        asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    }
    const u32 to = stage + ((matrix >> 1) * 8 + row) * 128 + (((2 * warp + (matrix & 1)) ^ row) << 4);
    const int mine = c + warp * 16 + lane / 4; // and eight further
    float scale[2], shift[2], mean[2], first[2] = {}, second[2] = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        if (E == AFFINE || E == MASK || E == SLOPES) scale[i] = extra.scale[mine + i * 8];
        if (E == AFFINE || E == SLOPES) shift[i] = extra.shift[mine + i * 8];
        if (E == SLOPES) mean[i] = extra.mean[mine + i * 8];
    }
    u32 kept[S::WRITTEN / 4];
#pragma unroll
    for (int j = 0; j < S::WRITTEN / 16; ++j) {
        u32 beside[4];
        if (HAS_BESIDE<E>)
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(beside[0]), "=r"(beside[1]), "=r"(beside[2]), "=r"(beside[3])
                         : "r"(to + j * 2048)
                         : "memory");
        u32* made = kept + j * 4;
#pragma unroll
        for (int i = 0; i < 4; ++i) { // channels alternate
            const float a = sums[j * 8 + i * 2], b = sums[j * 8 + i * 2 + 1];
            const int k = i % 2;
            if (E == AFFINE) made[i] = rounded(fmaxf(fmaf(a, scale[k], shift[k]), 0.f), fmaxf(fmaf(b, scale[k], shift[k]), 0.f));
            else if (E == SUM_STATISTICS) made[i] = rounded(a + low(beside[i]), b + high(beside[i]));
            else if (E == MASK) made[i] = rounded(low(beside[i]) > 0.f ? a * scale[k] : 0.f, high(beside[i]) > 0.f ? b * scale[k] : 0.f);
            else made[i] = rounded(a, b);
            if (E == STATISTICS || E == SUM_STATISTICS) first[k] += low(made[i]) + high(made[i]);
            if (E == SLOPES) {
                const float x = low(beside[i]), y = high(beside[i]);
                const float open = fmaf(x, scale[k], shift[k]) > 0.f ? low(made[i]) : 0.f, other = fmaf(y, scale[k], shift[k]) > 0.f ? high(made[i]) : 0.f;
                first[k] += open + other;
                second[k] = fmaf(open, x - mean[k], fmaf(other, y - mean[k], second[k]));
            }
        }
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + j * 2048), "r"(made[0]), "r"(made[1]), "r"(made[2]),
                     "r"(made[3])
                     : "memory");
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    if (thread == 0) {
        store_images(stage, out, c, 0, n, h);
        asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    }
    if (E == STATISTICS || E == SUM_STATISTICS) {
        // Deviations from this group's own mean, so that a large mean costs no digits.
#pragma unroll
        for (int k = 0; k < 2; ++k) first[k] = over_four(first[k]) * (1.f / S::WRITTEN);
#pragma unroll
        for (int i = 0; i < S::WRITTEN / 4; ++i) {
            const int k = i % 2;
            const float a = low(kept[i]) - first[k], b = high(kept[i]) - first[k];
            second[k] = fmaf(a, a, fmaf(b, b, second[k]));
        }
    }
    if (E == SLOPES) {
#pragma unroll
        for (int k = 0; k < 2; ++k) first[k] = over_four(first[k]);
    }
    if (E == STATISTICS || E == SUM_STATISTICS || E == SLOPES) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            second[k] = over_four(second[k]);
            if (lane % 4 || part >= extra.groups) continue;
            float* group = extra.partial + ((long)part * S::C + mine + k * 8) * 2;
            group[0] = first[k], group[1] = second[k];
        }
    }
}

// Adds what the cluster's blocks found of one tile; each keeps its part of the pixels. `memory` is that of slots nobody reads any more.
template <class S> __device__ __forceinline__ void add_up(const float (&sums)[S::PX / 2], float (&own)[S::WRITTEN / 2], u32 memory, int rank, int group, int thread) {
    constexpr int PART = S::WRITTEN / 2;
    cluster_barrier();
#pragma unroll
    for (int s = 0; s < S::SPLIT; ++s) {
        if (s == rank) continue;
        const u32 local = memory + ((rank < s ? rank : rank - 1) * 2 + group) * (PART / 4) * 2048 + thread * 16;
        u32 remote;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(s));
#pragma unroll
        for (int i = 0; i < PART; i += 4)
            asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(remote + i * 512), "f"(sums[s * PART + i]),
                         "f"(sums[s * PART + i + 1]), "f"(sums[s * PART + i + 2]), "f"(sums[s * PART + i + 3])
                         : "memory");
    }
#pragma unroll
    for (int i = 0; i < PART; ++i) {
        own[i] = sums[i];
#pragma unroll
        for (int s = 1; s < S::SPLIT; ++s) own[i] = s == rank ? sums[s * PART + i] : own[i];
    }
    cluster_barrier();
#pragma unroll
    for (int from = 0; from < S::SPLIT - 1; ++from)
#pragma unroll
        for (int i = 0; i < PART; i += 4) {
            float a, b, c, d;
            asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(a), "=f"(b), "=f"(c), "=f"(d)
                         : "r"(memory + ((from * 2 + group) * (PART / 4) + i / 4) * 2048 + thread * 16)
                         : "memory");
            own[i] += a, own[i + 1] += b, own[i + 2] += c, own[i + 3] += d;
        }
}

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
__device__ __forceinline__ void convolve(const Map& in, const Map& weights, const Map& out, const Map& beside, const Extra& extra, int tiles) {
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
            asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
            barrier_expect(arrived + 8 * group, S::WRITTEN * 128);
            load_images(stage, &beside, arrived + 8 * group, c, 0, at.n, h);
        }
        // Products go in turn: a warpgroup that began before the other's were issued would be two rounds behind a slot's barrier.
        if (S::ALTERNATE && turn > 0) barrier_wait(order + 8 * group, (turn - 1) / 2 % 2);
        float sums[S::PX / 2];
#pragma unroll
        for (int i = 0; i < S::PX / 2; ++i) sums[i] = 0.f;
        int slot_before = 0, tap_before = 0;
        for (int i = 0; i < slabs; ++i, slot.next()) {
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
            add_up<S>(sums, own, base, rank, group, thread);
            write<S, E>(own, stage, &out, extra, group, thread, c, at.n, h, part);
        } else {
            write<S, E>(sums, stage, &out, extra, group, thread, c, at.n, h, part);
        }
    }
    if (thread == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

#define FOIL_CONV(NAME, SHAPE, TURNED, EPILOGUE)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, 1)                                                                                         \
        NAME(const __grid_constant__ Map in, const __grid_constant__ Map weights, const __grid_constant__ Map out, const __grid_constant__ Map beside, \
             const Extra extra, int tiles) {                                                                                                         \
        convolve<SHAPE, TURNED, EPILOGUE>(in, weights, out, beside, extra, tiles);                                                                   \
    }
#define FOIL_CONVS(SIDE)                                                                                                                             \
    FOIL_CONV(conv_##SIDE, Conv##SIDE, false, PLAIN)                                                                                                 \
    FOIL_CONV(conv_##SIDE##_affine, Conv##SIDE, false, AFFINE)                                                                                       \
    FOIL_CONV(conv_##SIDE##_statistics, Conv##SIDE, false, STATISTICS)                                                                               \
    FOIL_CONV(conv_##SIDE##_sum_statistics, Conv##SIDE, false, SUM_STATISTICS)                                                                       \
    FOIL_CONV(conv_##SIDE##_turned, Conv##SIDE, true, PLAIN)                                                                                         \
    FOIL_CONV(conv_##SIDE##_turned_mask, Conv##SIDE, true, MASK)                                                                                     \
    FOIL_CONV(conv_##SIDE##_turned_slopes, Conv##SIDE, true, SLOPES)

FOIL_CONVS(32)
FOIL_CONVS(16)
FOIL_CONVS(8)
FOIL_CONVS(4)
