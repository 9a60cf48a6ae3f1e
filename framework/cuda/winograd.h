// A 3 x 3 convolution with stride 1 and padding 1 in fewer products: Winograd's F(4 x 4, 3 x 3)
// (Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016).
//
// An image is cut into tiles of 4 x 4 outputs, each with the 6 x 6 inputs d that they need. With g
// the 3 x 3 weights from one channel to another, a tile's outputs are
//
//     A' [ (G g G') * (B' d B) summed over channels ] A        (' transposes, * is number by
//     number)
//
// so that the sums over channels are 36 matrix products (cuBLAS's) with 36 products a tile where
// nine for each output would be 144. B, G and A belong to the points 0, 1, -1, 1/2, -2 and
// infinity, which lose fewer digits than whole ones (Barabasz et al., "Error analysis and improving
// the accuracy of Winograd convolution", 2020).
#pragma once
#include "eight.h"

constexpr int TILE = 4, SEEN = TILE + 2;

__device__ constexpr float OF_IMAGE[SEEN][SEEN] = { // B'
    {1.f, -1.5f, -2.f, 1.5f, 1.f, 0.f}, {0.f, -1.f, .5f, 2.5f, 1.f, 0.f},   {0.f, 1.f, -2.5f, .5f, 1.f, 0.f},
    {0.f, -2.f, -1.f, 2.f, 1.f, 0.f},   {0.f, .5f, -1.f, -.5f, 1.f, 0.f}, {0.f, 1.f, -1.5f, -2.f, 1.5f, 1.f},
};
__device__ constexpr float OF_WEIGHT[SEEN][3] = { // G
    {1.f, 0.f, 0.f},
    {1.f / 3, 1.f / 3, 1.f / 3},
    {-1.f / 3, 1.f / 3, -1.f / 3},
    {-16.f / 15, -8.f / 15, -4.f / 15},
    {1.f / 15, -2.f / 15, 4.f / 15},
    {0.f, 0.f, 1.f},
};
__device__ constexpr float OF_PRODUCT[TILE][SEEN] = { // A'
    {1.f, 1.f, 1.f, 1.f, 1.f, 0.f},
    {0.f, 1.f, -1.f, .5f, -2.f, 0.f},
    {0.f, 1.f, 1.f, .25f, 4.f, 0.f},
    {0.f, 1.f, -1.f, .125f, -8.f, 1.f},
};

// Two channels of a pixel.
struct alignas(8) Two { float v[2]; };
__device__ inline Two two(const float* from, long i) { return *reinterpret_cast<const Two*>(from + i); }

// to = by * from, of a column of pixels.
template <int ROWS, int COLUMNS> __device__ inline void times(Two (&to)[ROWS], const float (&by)[ROWS][COLUMNS], const Two (&from)[COLUMNS]) {
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
        to[row] = {};
#pragma unroll
        for (int column = 0; column < COLUMNS; ++column)
#pragma unroll
            for (int k = 0; k < 2; ++k)
                if (by[row][column] != 0.f) to[row].v[k] = fmaf(by[row][column], from[column].v[k], to[row].v[k]);
    }
}

// Which tile of which image, and which two channels, are this thread's.
struct Place {
    bool is_one;
    int c, tile, channel, y, x;
    long image;

    __device__ Place(int height, int width, int c, int tiles) : c(c) {
        const unsigned lanes = (unsigned)c / 2, i = blockIdx.x * blockDim.x + threadIdx.x;
        const unsigned across = (unsigned)width / TILE, down = (unsigned)height / TILE;
        tile = (int)(i / lanes), channel = (int)(i % lanes) * 2, is_one = tile < tiles;
        x = (int)((unsigned)tile % across) * TILE, y = (int)((unsigned)tile / across % down) * TILE;
        image = (long)((unsigned)tile / (across * down)) * height * width;
    }
    // Where pixel (i, j) of the tile begins among images of this width.
    __device__ long pixel(int i, int j, int width) const { return (image + (long)(y + i) * width + x + j) * c + channel; }
    // Where it begins in the matrix of this number.
    __device__ long in_matrix(int number, int tiles) const { return ((long)number * tiles + tile) * c + channel; }
};

// B' d B of every tile: images [N][height][width][c] to 36 matrices [tiles][c].
__device__ inline void tiles_of_images(const float* __restrict__ images, float* __restrict__ out, int height, int width, int c, int tiles) {
    const Place at(height, width, c, tiles);
    if (!at.is_one) return;
    Two half[SEEN][SEEN]; // [column][row]
#pragma unroll
    for (int j = 0; j < SEEN; ++j) {
        Two d[SEEN];
#pragma unroll
        for (int i = 0; i < SEEN; ++i) {
            const int y = at.y + i - 1, x = at.x + j - 1;
            const bool inside = y >= 0 && y < height && x >= 0 && x < width;
            d[i] = inside ? two(images, at.pixel(i - 1, j - 1, width)) : Two{};
        }
        times(half[j], OF_IMAGE, d);
    }
#pragma unroll
    for (int i = 0; i < SEEN; ++i) {
        Two row[SEEN], done[SEEN];
#pragma unroll
        for (int j = 0; j < SEEN; ++j) row[j] = half[j][i];
        times(done, OF_IMAGE, row);
#pragma unroll
        for (int j = 0; j < SEEN; ++j) *reinterpret_cast<Two*>(out + at.in_matrix(i * SEEN + j, tiles)) = done[j];
    }
}

// G g G' of every pair of channels: weights, whose numbers are this far from each other by output,
// channel, row and column, to 36 matrices [outputs][c]; `turned` by half a circle for the input
// gradient. A thread for each pair.
__device__ inline void tiles_of_weights(const float* __restrict__ weights, float* __restrict__ out, int outputs, int c, int by_output, int by_channel,
                                        int by_row, int by_column, int turned) {
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x), pairs = outputs * c;
    if (i >= pairs) return;
    const float* from = weights + (long)(i / c) * by_output + (long)(i % c) * by_channel;
    float half[SEEN][3];
#pragma unroll
    for (int column = 0; column < 3; ++column) {
        float g[3];
#pragma unroll
        for (int row = 0; row < 3; ++row) g[row] = from[(turned ? 2 - row : row) * by_row + (turned ? 2 - column : column) * by_column];
#pragma unroll
        for (int y = 0; y < SEEN; ++y) half[y][column] = fmaf(OF_WEIGHT[y][0], g[0], fmaf(OF_WEIGHT[y][1], g[1], OF_WEIGHT[y][2] * g[2]));
    }
#pragma unroll
    for (int y = 0; y < SEEN; ++y)
#pragma unroll
        for (int x = 0; x < SEEN; ++x)
            out[(long)(y * SEEN + x) * pairs + i] =
                fmaf(OF_WEIGHT[x][0], half[y][0], fmaf(OF_WEIGHT[x][1], half[y][1], OF_WEIGHT[x][2] * half[y][2]));
}

// A' p A of every tile, of 36 matrices p [tiles][c], each number by way of `finish(where it lies in
// the images, value, channel)`.
template <class Finish>
__device__ inline void outputs_of_tiles(const float* __restrict__ products, float* out, int height, int width, int c, int tiles, Finish finish) {
    const Place at(height, width, c, tiles);
    if (!at.is_one) return;
    Two half[SEEN][TILE]; // [column][row]
#pragma unroll
    for (int j = 0; j < SEEN; ++j) {
        Two p[SEEN];
#pragma unroll
        for (int i = 0; i < SEEN; ++i) p[i] = two(products, at.in_matrix(i * SEEN + j, tiles));
        times(half[j], OF_PRODUCT, p);
    }
#pragma unroll
    for (int i = 0; i < TILE; ++i) {
        Two row[SEEN], done[TILE];
#pragma unroll
        for (int j = 0; j < SEEN; ++j) row[j] = half[j][i];
        times(done, OF_PRODUCT, row);
#pragma unroll
        for (int j = 0; j < TILE; ++j) {
            const long pixel = at.pixel(i, j, width);
            *reinterpret_cast<Two*>(out + pixel) = finish(pixel, done[j]);
        }
    }
}

// sum = the convolution + y; out = max(sum * scale + shift, 0), by channel, or the sum itself if
// `scale` is null. `y` may be null, which is 0, and `sum`, which is then not written.
__device__ inline void affine_of_tiles(const float* __restrict__ products, const float* __restrict__ y, float* __restrict__ sum,
                                       const float* __restrict__ scale, const float* __restrict__ shift, float* __restrict__ out, int height, int width,
                                       int c, int tiles) {
    const int channel = Place(height, width, c, tiles).channel;
    const Two s = scale ? two(scale, channel) : Two{}, t = scale ? two(shift, channel) : Two{};
    outputs_of_tiles(products, out, height, width, c, tiles, [&](long pixel, Two v) {
        const Two beside = y ? two(y, pixel) : Two{};
#pragma unroll
        for (int k = 0; k < 2; ++k) v.v[k] += beside.v[k];
        if (sum) *reinterpret_cast<Two*>(sum + pixel) = v;
#pragma unroll
        for (int k = 0; k < 2; ++k) v.v[k] = scale ? relu(fmaf(v.v[k], s.v[k], t.v[k])) : v.v[k];
        return v;
    });
}

// out = [activated > 0] * the input gradient * scale + other; `other` may be null, which is 0.
__device__ inline void masked_of_tiles(const float* __restrict__ products, const float* __restrict__ activated, const float* __restrict__ other,
                                       const float* __restrict__ scale, float* __restrict__ out, int height, int width, int c, int tiles) {
    const Two s = two(scale, Place(height, width, c, tiles).channel);
    outputs_of_tiles(products, out, height, width, c, tiles, [&](long pixel, Two v) {
        const Two a = two(activated, pixel), beside = other ? two(other, pixel) : Two{};
#pragma unroll
        for (int k = 0; k < 2; ++k) v.v[k] = (a.v[k] > 0.f ? v.v[k] * s.v[k] : 0.f) + beside.v[k];
        return v;
    });
}
