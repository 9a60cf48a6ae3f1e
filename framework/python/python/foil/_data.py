"""From a data set in Python to bytes and labels. Rust calls `images`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _base

MOST_LABELS = 65_535
PLAIN = ("L", "RGB", "RGBA")
"""Modes of PIL images whose numbers are those of pixels."""


def images(plugin: _base.Data) -> tuple[list[str], list[tuple[Tensor, Tensor]]]:
    """Names of the classes; and of training and test images the bytes `[n, C, H, W]` and the
    labels `[n]`."""
    made = plugin.load()
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise TypeError(f"load returned {_what(made)}, but must return the training and the test images, a pair")
    sets = [_split(one, name) for one, name in zip(made, ("training", "test"))]
    shapes = [list(x.shape[1:]) for x, _ in sets]
    if shapes[0] != shapes[1]:
        raise ValueError(f"training images are {shapes[0]}, but test images {shapes[1]}")
    top = max(int(y.max()) for _, y in sets)
    names = plugin.class_names()
    names = [str(label) for label in range(top + 1)] if names is None else [str(name) for name in names]
    if top >= len(names):
        raise ValueError(f"class_names has {len(names)} names, but there is a label {top}")
    return names, sets


def _split(made: Any, name: str) -> tuple[Tensor, Tensor]:
    """Of one of them."""
    if isinstance(made, (tuple, list)) and len(made) == 2 and not hasattr(made, "__getitems__"):
        x, y = made
        x = x if isinstance(x, Tensor) else _tensor(x)
        if x.ndim == 4 and not isinstance(made[0], Tensor):
            x = x.permute(0, 3, 1, 2)
        x, y = _bytes(x[:, None] if x.ndim == 3 else x, f"{name} images"), torch.as_tensor(y)
    elif hasattr(made, "__getitem__") and hasattr(made, "__len__"):
        items = [_item(made[i], f"{name} image {i}") for i in range(len(made))]
        other = next((i for i, (x, _) in enumerate(items) if x.shape != items[0][0].shape), None)
        if other is not None:
            found, first = list(items[other][0].shape), list(items[0][0].shape)
            raise ValueError(f"{name} image {other} is {found}, but image 0 is {first}: resize or crop them")
        x = torch.stack([x for x, _ in items]) if items else torch.empty(0, 1, 1, 1, dtype=torch.uint8)
        y = torch.tensor([y for _, y in items], dtype=torch.int64)
    else:
        raise TypeError(f"the {name} images are {_what(made)}, but must be a dataset or a pair of arrays")
    if x.ndim != 4 or y.shape != x.shape[:1] or len(y) == 0:
        raise ValueError(
            f"the {name} images are {list(x.shape)} and their labels {list(y.shape)}, "
            "but must be [n, C, H, W] and [n], with n at least 1"
        )
    if y.is_floating_point() or int(y.min()) < 0 or int(y.max()) >= MOST_LABELS:
        raise ValueError(f"labels of the {name} images are not whole numbers from 0")
    return x.contiguous(), y.to(torch.int64).contiguous()


def _item(made: Any, what: str) -> tuple[Tensor, int]:
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise TypeError(f"{what} is {_what(made)}, but must be an image and its label")
    image, label = made
    if isinstance(image, Tensor):
        x = image
    else:
        mode = getattr(image, "mode", "L")
        if mode not in PLAIN:
            raise ValueError(f"{what} has the mode {mode}; convert it: image.convert('RGB')")
        x = _tensor(image)
        x = x.permute(2, 0, 1) if x.ndim == 3 else x
    x = _bytes(x[None] if x.ndim == 2 else x, what)
    if x.ndim != 3:
        raise ValueError(f"{what} has the shape {list(x.shape)}, which no image has")
    return x, int(label)


def _tensor(array: Any) -> Tensor:
    """An array or a PIL image as a tensor of its own."""
    import numpy

    return torch.from_numpy(numpy.array(array))


def _bytes(x: Tensor, what: str) -> Tensor:
    """Numbers as bytes."""
    if x.numel() == 0 or x.dtype == torch.uint8:
        return x
    low, high = float(x.min()), float(x.max())
    most = 1.0 if x.is_floating_point() else 255.0
    if not (low >= 0.0 and high <= most):
        raise ValueError(f"the numbers of {what} reach from {low:g} to {high:g}, but must be bytes, or from 0 to 1")
    return ((x * 255.0).round() if x.is_floating_point() else x).to(torch.uint8)


def _what(made: Any) -> str:
    many = f" of {len(made)}" if isinstance(made, Sequence) else ""
    return f"{type(made).__name__}{many}"
