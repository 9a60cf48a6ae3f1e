"""template_data: what it is for, in a sentence."""

from __future__ import annotations

import torch
from torch import Tensor

import foil


class TemplateData(foil.Data):
    """Ten classes of 28 x 28 grey images: a bright bar, whose height says which class it is.

    `load` returns any map-style datasets in place of these tensors, such as torchvision's.
    """

    per_class: int = foil.key(200, at_least=5, doc="Training images of each class; a fifth as many to test on.")

    def load(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        train, test = 10 * self.per_class, 10 * (self.per_class // 5)
        return bars(range(train)), bars(range(train, train + test))

    def class_names(self) -> list[str]:
        return [f"bar {label}" for label in range(10)]


def bars(numbers: range) -> tuple[Tensor, Tensor]:
    """Images [n, 1, 28, 28], bytes, and labels. Image i is of class i % 10; its bar starts at
    another column and is more or less bright."""
    x = torch.full((len(numbers), 1, 28, 28), 20, dtype=torch.uint8)
    for row, i in enumerate(numbers):
        top, left = 4 + i % 10 * 2, i * 7 % 12
        x[row, 0, top : top + 2, left : left + 16] = 120 + i * 31 % 130
    return x, torch.tensor([i % 10 for i in numbers])
