#!/usr/bin/env python3
"""Make train.tar and test.tar, the MNIST subset that is built into foil.

Usage: python3 make.py MNIST_FOLDER      (the four IDX files, gzipped or not)
Needs: Python 3.8+ and Pillow with WebP (made with Pillow 13.0.0, libwebp 1.6.0).

The subset is class-balanced: the first 1,000 training images and the first 200
test images of each class, in the original order. Each tar holds labels.bin
(one byte a record) and NNN.webp: lossless WebP strips, 28 pixels wide, 500
images stacked top to bottom. The sources are checked against the SHA-256 sums
of the published files, and so are the decoded records at the end; only the
compressed bytes may differ from one version of libwebp to the next.
"""
import gzip
import hashlib
import io
import os
import sys
import tarfile

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
SIDE, PER_STRIP = 28, 500
SPLITS = [  # (tar, per class, images, their SHA-256, labels, their SHA-256, SHA-256 of the records: label, then pixels)
    ("train.tar", 1000,
     "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
     "train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
     "2730cb21562d015678810b318013a5cb2b5c9383c36c8ac6155d239dd1563d76"),
    ("test.tar", 200,
     "t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
     "t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
     "4f7b372363542394fc63fed0e7e9dceccf6bbaa9d1ecf07eecde280088d8319d"),
]


def source(folder, name, want):
    """The bytes of one IDX file, unpacked and checked."""
    path = os.path.join(folder, name)
    opener = open if os.path.exists(path) else gzip.open
    with opener(path if opener is open else path + ".gz", "rb") as f:
        data = f.read()
    got = hashlib.sha256(data).hexdigest()
    if got != want:
        raise SystemExit("%s: SHA-256 %s, expected %s" % (name, got, want))
    return data


def first_of_each_class(labels, per_class):
    """Indices of the first `per_class` records of each class, ascending."""
    seen, kept = [0] * 10, []
    for index, label in enumerate(labels):
        if seen[label] < per_class:
            seen[label] += 1
            kept.append(index)
    return kept


def add(tar, name, data):
    """Add a file with nothing of this machine in its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def webp(images):
    """One strip: the images under each other, lossless."""
    strip = Image.frombytes("L", (SIDE, SIDE * len(images)), b"".join(images))
    out = io.BytesIO()
    strip.save(out, "WEBP", lossless=True, quality=100, method=6)
    return out.getvalue()


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: make.py MNIST_FOLDER")
    size = SIDE * SIDE
    for name, per_class, image_file, image_sum, label_file, label_sum, want in SPLITS:
        pixels = source(sys.argv[1], image_file, image_sum)[16:]
        labels = source(sys.argv[1], label_file, label_sum)[8:]
        kept = first_of_each_class(labels, per_class)
        images = [pixels[size * i:size * (i + 1)] for i in kept]
        got = hashlib.sha256(b"".join(bytes([labels[i]]) + x for i, x in zip(kept, images))).hexdigest()
        if got != want:
            raise SystemExit("%s: the records' SHA-256 is %s, expected %s" % (name, got, want))
        with tarfile.open(os.path.join(HERE, name), "w", format=tarfile.USTAR_FORMAT) as tar:
            add(tar, "labels.bin", bytes(labels[i] for i in kept))
            for start in range(0, len(images), PER_STRIP):
                add(tar, "%03d.webp" % (start // PER_STRIP), webp(images[start:start + PER_STRIP]))
        print("%s: %d images, the last one is number %d of the source" % (name, len(kept), kept[-1]))


if __name__ == "__main__":
    main()
