// Random numbers that are a function of key, image, name and place: framework/src/nn/noise.rs,
// whose numbers these are to the bit.
#pragma once

// The finaliser `lowbias32`.
__device__ inline unsigned mix(unsigned h) {
    h ^= h >> 16, h *= 0x7feb352du;
    h ^= h >> 15, h *= 0x846ca68bu;
    return h ^ h >> 16;
}

// Number i of rows of `width`.
__device__ inline unsigned hashed(const long* key, const long* index, long name, int width, long i) {
    unsigned long k = (unsigned long)(*key ^ name);
    unsigned row = mix(mix((unsigned)index[i / width] + (unsigned)k) ^ (unsigned)(k >> 32));
    return mix(row ^ mix((unsigned)(i % width) * 0x9e3779b9u));
}
