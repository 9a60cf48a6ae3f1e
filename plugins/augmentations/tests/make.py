"""Writes ops.safetensors: what each operation makes of a small picture, one pixel at a time, in
numpy.

A transcription of Pillow's C code (Blend.c, Filter.c, Geometry.c, Convert.c) and of ImageOps and
ImageEnhance, with the precision that C has there.

    python make.py
"""

import math

import numpy as np
from safetensors.numpy import save_file

f32 = np.float32
rng = np.random.default_rng(7)
H, W = 6, 5
picture = rng.integers(0, 256, (3, H, W)).astype(np.uint8)
picture[:, 0, 0] = (90, 90, 90)  # a grey pixel, with no hue
picture[:, 0, 1] = (0, 0, 0)
picture[:, 1, 0] = (255, 255, 255)


def clip(value):
    return min(max(int(value), 0), 255)


def pixels(image, function):
    """`function` of each pixel's three bytes."""
    out = np.zeros_like(image)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            out[:, y, x] = function(*(int(v) for v in image[:, y, x]))
    return out


def grey(image):
    return pixels(image, lambda r, g, b: [(19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16] * 3)


def blend(dull, image, alpha):
    out = np.zeros_like(image)
    for at in np.ndindex(image.shape):
        a, b = int(dull[at]), int(image[at])
        value = f32(f32(a) + f32(f32(alpha) * f32(b - a)))
        out[at] = int(value) if 0 <= alpha <= 1 else 0 if value <= 0 else 255 if value >= 255 else int(value)
    return out


def smooth(image):
    out = image.copy()
    for c in range(3):
        for y in range(1, H - 1):
            for x in range(1, W - 1):
                total = sum((5 if (i, j) == (0, 0) else 1) / 13 * int(image[c, y + i, x + j]) for i in (-1, 0, 1) for j in (-1, 0, 1))
                out[c, y, x] = clip(total + 0.5)
    return out


def mapped(image, table_of):
    out = np.zeros_like(image)
    for c in range(3):
        histogram = [0] * 256
        for v in image[c].flat:
            histogram[v] += 1
        table = table_of(histogram)
        for at in np.ndindex(image[c].shape):
            out[c][at] = min(table[image[c][at]], 255)
    return out


def autocontrast(histogram):
    present = [v for v in range(256) if histogram[v]]
    low, high = present[0], present[-1]
    if high <= low:
        return list(range(256))
    scale = 255.0 / (high - low)
    offset = -low * scale
    return [clip(v * scale + offset) for v in range(256)]


def equalize(histogram):
    present = [n for n in histogram if n]
    step = (sum(present) - present[-1]) // 255
    if len(present) <= 1 or not step:
        return list(range(256))
    table, n = [], step // 2
    for count in histogram:
        table.append(n // step)
        n += count
    return table


def rgb_to_hsv(r, g, b):
    high, low = max(r, g, b), min(r, g, b)
    if high == low:
        return 0, 0, high
    cr = f32(high - low)
    s = f32(cr / f32(high))
    rc, gc, bc = (f32(f32(high - v) / cr) for v in (r, g, b))
    if r == high:
        h = f32(bc - gc)
    elif g == high:
        h = f32(2.0 + float(rc) - float(bc))
    else:
        h = f32(4.0 + float(gc) - float(rc))
    h = f32(math.fmod(float(h) / 6.0 + 1.0, 1.0))
    return clip(int(float(h) * 255.0)), clip(int(float(s) * 255.0)), high


def hsv_to_rgb(h, s, v):
    if s == 0:
        return v, v, v
    fh, fs = f32(h * 6.0 / 255.0), f32(s / 255.0)
    i = math.floor(fh)
    f = f32(fh - f32(i))
    rounded = lambda x: clip(math.floor(x + 0.5))
    p = rounded(v * (1.0 - float(fs)))
    q = rounded(v * (1.0 - float(fs) * float(f)))
    t = rounded(v * (1.0 - float(fs) * (1.0 - float(f))))
    return [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][i % 6]


def hue(image, share):
    def turned(r, g, b):
        h, s, v = rgb_to_hsv(r, g, b)
        return hsv_to_rgb((h + int(share * 255)) % 256, s, v)

    return pixels(image, turned)


def nearest(image, matrix, fill):
    out = np.full_like(image, fill)
    fix = lambda v: math.floor(v * 65536.0 + 0.5)
    a, b, c, d, e, f = matrix
    c, f = fix(c + a * 0.5 + b * 0.5), fix(f + d * 0.5 + e * 0.5)
    a, b, d, e = fix(a), fix(b), fix(d), fix(e)
    for y in range(H):
        xx, yy = c + y * b, f + y * e
        for x in range(W):
            i, j = xx >> 16, yy >> 16
            if 0 <= i < W and 0 <= j < H:
                out[:, y, x] = image[:, j, i]
            xx, yy = xx + a, yy + d
    return out


def cubic(image, matrix, fill):
    out = np.full_like(image, fill)
    a, b, c, d, e, f = matrix

    def curve(v1, v2, v3, v4, t):
        p1, p2, p3, p4 = v2, -v1 + v3, 2 * (v1 - v2) + v3 - v4, -v1 + v2 - v3 + v4
        return p1 + t * (p2 + t * (p3 + t * p4))

    inside = lambda v, n: min(max(v, 0), n - 1)
    for y in range(H):
        for x in range(W):
            u = a * (x + 0.5) + b * (y + 0.5) + c
            v = d * (x + 0.5) + e * (y + 0.5) + f
            if not (0 <= u < W and 0 <= v < H):
                continue
            u, v = u - 0.5, v - 0.5
            i, j = math.floor(u), math.floor(v)
            for channel in range(3):
                at = lambda row, column: float(image[channel, inside(row, H), inside(column, W)])
                rows = [curve(*(at(row, i + k) for k in (-1, 0, 1, 2)), u - i) for row in range(j - 1, j + 3)]
                out[channel, y, x] = clip(curve(*rows, v - j))
    return out


def rotation(degrees):
    angle = -math.radians(degrees)
    matrix = [round(math.cos(angle), 15), round(math.sin(angle), 15), 0.0]
    matrix += [round(-math.sin(angle), 15), round(math.cos(angle), 15), 0.0]
    a, b, c, d, e, f = matrix
    x, y = W / 2, H / 2
    return a, b, a * -x + b * -y + c + x, d, e, d * -x + e * -y + f + y


# An image whose channels have more than 255 pixels, so that equalising has something to do.
large = (rng.integers(0, 60, (3, 40, 40)) ** 2 // 16).astype(np.uint8)
mean = int(grey(picture)[0].mean() + 0.5)
found = {"picture": picture, "large": large}
for factor in (0.0, 0.37, 1.0, 1.9):
    name = f"{factor}"
    found[f"brightness {name}"] = blend(np.zeros_like(picture), picture, factor)
    found[f"contrast {name}"] = blend(np.full_like(picture, mean), picture, factor)
    found[f"colour {name}"] = blend(grey(picture), picture, factor)
    found[f"sharpness {name}"] = blend(smooth(picture), picture, factor)
for share in (0.0, 0.1, -0.25, 0.5):
    found[f"hue {share}"] = hue(picture, share)
for bits in (1, 4, 8):
    found[f"posterize {bits}"] = picture & np.uint8(256 - 2 ** (8 - bits))
for threshold in (0.0, 113.3, 256.0):
    found[f"solarize {threshold}"] = np.where(picture < threshold, picture, 255 - picture).astype(np.uint8)
found["autocontrast"] = mapped(picture // 2 + 30, autocontrast)
found["equalize"] = mapped(large, equalize)
for degrees in (0.0, 13.3, 30.0):
    found[f"rotate {degrees}"] = nearest(picture, rotation(degrees), 128)
for amount in (0.0, 0.21, -0.3):
    found[f"shear_x {amount}"] = cubic(picture, (1, amount, 0, 0, 1, 0), 128)
    found[f"shear_y {amount}"] = cubic(picture, (1, 0, 0, amount, 1, 0), 128)
    found[f"nearest_shear_x {amount}"] = nearest(picture, (1, amount, 0, 0, 1, 0), 0)
for amount in (1.6, -2.26):
    found[f"translate_x {amount}"] = nearest(picture, (1, 0, amount, 0, 1, 0), 128)
    found[f"translate_y {amount}"] = nearest(picture, (1, 0, 0, 0, 1, amount), 128)
save_file(found, "ops.safetensors")
