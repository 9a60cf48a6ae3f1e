"""A data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .key import Plugin


class Data(Plugin):
    """Images with their labels. Write `load`; images are kept as bytes."""

    KIND: ClassVar[str] = "data"

    def load(self) -> tuple[Any, Any]:
        """The training and the test images. Each is a map-style dataset, whose items are an image
        and its label, or a pair of arrays, images and labels.

        An image is a PIL image, an array `[H, W, C]` or `[H, W]`, or a tensor `[C, H, W]`; bytes,
        or floating-point numbers from 0 to 1. Labels are whole numbers from 0."""
        raise NotImplementedError

    def class_names(self) -> Sequence[str] | None:
        """What each label means; by default the labels themselves."""
        return None
