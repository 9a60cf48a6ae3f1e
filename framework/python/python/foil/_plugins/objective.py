"""Calls an objective."""

from __future__ import annotations

from torch import Tensor

from .. import _base


def value(objective: _base.Objective, logits: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
    """What the objective makes of the logits."""
    made = objective.value(logits, y, clean)
    if not isinstance(made, Tensor) or made.shape != y.shape[:1]:
        found = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise TypeError(f"value returned {found}, but must return a number for each image, {list(y.shape[:1])}")
    return made
