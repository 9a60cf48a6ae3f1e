// A batch's images out of a data set of bytes: gathered, cropped, mirrored and scaled; the plain
// form is in framework/src/data/.
#pragma once
#include "noise.h"

// The draws of random numbers by name, and what they are for. Without a key there are none.
struct Crop {
    const long *key, *index;
    long by_y, by_x, by_flip;
    int pad, has_flip, reflects;
};

__device__ inline int below(const Crop& crop, long name, long image, int limit) {
    return (int)((unsigned long)hashed(crop.key, crop.index, name, 1, image) * (unsigned long)limit >> 32);
}

// Where a padded position comes from: -1 is 1 where the image is reflected, and outside elsewhere.
__device__ inline int source(int at, int length, int reflects) {
    return reflects ? length - 1 - abs(length - 1 - abs(at)) : at;
}

// Number i of [rows][h][w][c], out of bytes [..][c][h][w].
__device__ inline float image_number(const unsigned char* bytes, const long* rows, const Crop& crop, int c, int h, int w, long i) {
    const int channel = (int)(i % c), x = (int)(i / c % w), y = (int)(i / c / w % h);
    const long image = i / c / w / h;
    int row = y, column = x;
    if (crop.key) {
        if (crop.has_flip && below(crop, crop.by_flip, image, 2)) column = w - 1 - column;
        row = source(row + below(crop, crop.by_y, image, 2 * crop.pad + 1) - crop.pad, h, crop.reflects);
        column = source(column + below(crop, crop.by_x, image, 2 * crop.pad + 1) - crop.pad, w, crop.reflects);
    }
    bool inside = row >= 0 && row < h && column >= 0 && column < w;
    return inside ? (float)bytes[((rows[image] * c + channel) * h + row) * w + column] / 255.f : 0.f;
}
