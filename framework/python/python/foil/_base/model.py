"""A model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from .key import Plugin


class Model(Plugin):
    """A network. Write `build`, which returns any `torch.nn.Module` from images to logits."""

    KIND: ClassVar[str] = "model"
    features: ClassVar[Mapping[str, str]] = {}
    """What losses may read of what it computes on the way to its logits: by name, the submodule
    whose output is meant, such as `"layer3"`; or `"input:fc"`, what goes into one. The input
    `[N, D]` of the last linear layer is called `penultimate`. A submodule that is called several
    times gives the last."""

    def build(self, channels: int, height: int, width: int, classes: int) -> torch.nn.Module:
        """A module that takes images `[N, channels, height, width]` and returns logits
        `[N, classes]`. Training starts from its weights; torch's generator is seeded before."""
        raise NotImplementedError
