"""An objective."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from .key import Plugin


class Objective(Plugin):
    """What an attack ascends: a number for each image, differentiable in the logits."""

    KIND: ClassVar[str] = "objective"
    least_classes: ClassVar[int] = 2
    """The smallest number of classes it is defined for."""
    needs_clean: ClassVar[bool] = False
    """Whether `value` gets the logits of the clean images; otherwise `clean` is `None`."""
    network: ClassVar[str | None] = None
    """The network under `networks` whose logits of the clean images `clean` are; `None` for the
    attacked model's own."""
    soft_labels: ClassVar[bool] = False
    """Whether it has a meaning for labels `[N, K]`, which give each class a share of the image, or
    uses no labels."""

    def value(self, logits: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        """Logits `[N, K]` of the attacked images and labels `[N]` to numbers `[N]`."""
        raise NotImplementedError
