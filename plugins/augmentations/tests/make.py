"""Writes ops.safetensors: what each operation makes of a small picture, one pixel at a time, in
numpy. And policies.safetensors: what AutoAugment's 25 pairs and RandAugment's 14 operations make of
one, for given draws.

The operations are a transcription of Pillow's C code (Blend.c, Filter.c, Geometry.c, Convert.c) and
of ImageOps and ImageEnhance, with the precision that C has there. The pairs are written down as in
the appendix of Cubuk et al. 2019; levels are those of the code of Wang et al. 2023
(DM-Improves-AT), and RandAugment's those of torchvision, in fp32 as torch.linspace has them.

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
    _, H, W = image.shape
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
    _, H, W = image.shape
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
    _, H, W = image.shape
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


def rotation(degrees, H=H, W=W):
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


# The policies. Of 17 x 16 pixels so that equalising has something to do: it needs more than 255.
photo = np.zeros((3, 17, 16), np.uint8)
for c, y, x in np.ndindex(photo.shape):
    photo[c, y, x] = 40 + 9 * y + 3 * x * (c + 1) % 70 if (y - 8) ** 2 + (x - 7) ** 2 > 20 else 200 - 5 * x - 20 * c
photo[:, 3:6, 2:9] = rng.integers(0, 256, (3, 3, 7))


def about_mean(image):
    return np.full_like(image, int(grey(image)[0].mean() + 0.5))


def operation(name, amount, image, shear, fill):
    """`amount` is a factor, bits, a threshold, degrees, or where pixels come from."""
    _, H, W = image.shape
    if name == "shearX":
        return shear(image, (1, amount, 0, 0, 1, 0), fill)
    if name == "shearY":
        return shear(image, (1, 0, 0, amount, 1, 0), fill)
    if name == "translateX":
        return nearest(image, (1, 0, amount, 0, 1, 0), fill)
    if name == "translateY":
        return nearest(image, (1, 0, 0, 0, 1, amount), fill)
    if name == "rotate":
        return nearest(image, rotation(amount, H, W), fill)
    dull = {"brightness": np.zeros_like, "contrast": about_mean, "color": grey, "sharpness": smooth}
    if name in dull:
        return blend(dull[name](image), image, amount)
    if name == "posterize":
        return image & np.uint8(256 - 2 ** (8 - int(amount)))
    if name == "solarize":
        return np.where(image < amount, image, 255 - image).astype(np.uint8)
    if name == "invert":
        return 255 - image
    return {"identity": lambda image: image, "autocontrast": lambda image: mapped(image, autocontrast),
            "equalize": lambda image: mapped(image, equalize)}[name](image)


PAIRS = """
invert(.1,7)+contrast(.2,6)  rotate(.7,2)+translateX(.3,9)  sharpness(.8,1)+sharpness(.9,3)
shearY(.5,8)+translateY(.7,9)  autocontrast(.5,8)+equalize(.9,2)  shearY(.2,7)+posterize(.3,7)
color(.4,3)+brightness(.6,7)  sharpness(.3,9)+brightness(.7,9)  equalize(.6,5)+equalize(.5,1)
contrast(.6,7)+sharpness(.6,5)  color(.7,7)+translateX(.5,8)  equalize(.3,7)+autocontrast(.4,8)
translateY(.4,3)+sharpness(.2,6)  brightness(.9,6)+color(.2,8)  solarize(.5,2)+invert(.0,3)
equalize(.2,0)+autocontrast(.6,0)  equalize(.2,8)+equalize(.6,4)  color(.9,9)+equalize(.6,6)
autocontrast(.8,4)+solarize(.2,8)  brightness(.1,3)+color(.7,0)  solarize(.4,5)+autocontrast(.9,3)
translateY(.9,9)+translateY(.7,9)  autocontrast(.9,2)+solarize(.8,3)  equalize(.8,8)+invert(.1,3)
translateY(.7,9)+autocontrast(.9,1)
""".split()


def of_level(name, level, sign, H, W):
    """What AutoAugment's level 0 to 9 means; levels of the others do not matter."""
    if name.startswith("shear"):
        return sign * level / 9 * 0.3
    if name.startswith("translate"):
        return sign * level / 9 * 150 / 331 * (W if name == "translateX" else H)
    if name in ("color", "contrast", "sharpness", "brightness"):
        return 1 + sign * level / 9 * 0.9
    return {"rotate": level / 9 * 30, "posterize": round(8 - level * 4 / 9), "solarize": 256 - level * 256 / 9}.get(name, 0)


def autoaugment():
    """Of each pair: both operations with either sign, the first alone, the second alone, none."""
    draws = {key: [] for key in ("pair", "happens.0", "happens.1", "sign.0", "sign.1")}
    made = []
    for number, pair in enumerate(PAIRS):
        for happens, signs in [((1, 1), (1, 1)), ((1, 1), (-1, -1)), ((1, 1), (1, -1)), ((1, 0), (-1, 1)), ((0, 1), (1, -1)), ((0, 0), (1, 1))]:
            image = photo
            draws["pair"].append(number)
            for place, said in enumerate(pair.split("+")):
                name, numbers = said[:-1].split("(")
                probability, level = map(float, numbers.split(","))
                # A draw is below the probability by a little, or above it.
                happening = happens[place] and probability > 0
                draws[f"happens.{place}"].append(probability - 0.05 if happening else probability + 0.05)
                draws[f"sign.{place}"].append((signs[place] + 1) // 2)
                if happening:
                    amount = of_level(name, level, signs[place], *photo.shape[1:])
                    image = operation(name, amount, image, cubic, 128)
            made.append(image)
    return {f"autoaugment.{key}": np.array(values)[:, None] for key, values in draws.items()} | {"autoaugment": np.stack(made)}


OPERATIONS = "identity shearX shearY translateX translateY rotate brightness color contrast sharpness posterize solarize autocontrast equalize".split()


def of_bin(name, magnitude, bins, sign, H, W):
    """torchvision.transforms.RandAugment._augmentation_space, with its numbers of single precision."""
    import torch

    at = lambda low, high: float(torch.linspace(low, high, bins)[magnitude])
    if name.startswith("shear"):
        return sign * at(0.0, 0.3)
    if name.startswith("translate"):
        return int(sign * at(0.0, 150.0 / 331.0 * (W if name == "translateX" else H)))
    if name == "rotate":
        return sign * at(0.0, 30.0)
    if name in ("color", "contrast", "sharpness", "brightness"):
        return 1.0 + sign * at(0.0, 0.9)
    if name == "posterize":
        return int(8 - (torch.arange(bins) / ((bins - 1) / 4)).round().int()[magnitude])
    return at(255.0, 0.0) if name == "solarize" else 0.0


def randaugment(magnitude, bins):
    """Each operation with either sign, then another one."""
    draws = {key: [] for key in ("op.0", "op.1", "sign.0", "sign.1")}
    made = []
    for first, sign in [(first, sign) for first in range(14) for sign in (1, -1)]:
        image, second = photo, (5 * first + 3 + (sign > 0)) % 14
        for place, number in enumerate((first, second)):
            draws[f"op.{place}"].append(number)
            turned = sign if place == 0 else -sign
            draws[f"sign.{place}"].append((turned + 1) // 2)
            name = OPERATIONS[number]
            # Signs are even: which draw is the positive one does not matter.
            amount = of_bin(name, magnitude, bins, turned, *photo.shape[1:])
            image = operation(name, amount, image, nearest, 0)
        made.append(image)
    key = f"randaugment {magnitude} {bins}"
    return {f"{key}.{draw}": np.array(values)[:, None] for draw, values in draws.items()} | {key: np.stack(made)}


policies = {"photo": photo} | autoaugment()
for magnitude, bins in ((9, 31), (14, 31), (3, 11)):
    policies |= randaugment(magnitude, bins)
save_file(policies, "policies.safetensors")
