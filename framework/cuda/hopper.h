// Hopper's own instructions (sm_90a): barriers, the copy engine, and products by a warpgroup.
#pragma once

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

// Waits for the end of the round of this parity. Of two rounds with one parity it cannot tell the
// earlier, so nobody may be two rounds behind.
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

// A matrix of rows of 64 bf16, of which 8 are an atom of 1024 bytes with its 16-byte pieces
// swizzled. Read along rows or, of the transposed, across.
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

// sums += weights [64][16] · pixels [PX][16], transposed; with TURNED the weights' memory is
// [16][64].
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

// A slot of a ring, and the parity of its round.
template <int SLOTS> struct Slot {
    int at = 0;
    u32 parity;
    __device__ __forceinline__ explicit Slot(u32 first) : parity(first) {}
    __device__ __forceinline__ void next() {
        if (++at == SLOTS) at = 0, parity ^= 1;
    }
};
