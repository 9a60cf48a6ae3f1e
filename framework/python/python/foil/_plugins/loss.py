"""Calls a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _base
from .state import same_tensors


def step(loss: _base.Loss, *given: Any) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """The total and its parts; `given` is what `LossInput` takes."""
    made = loss.forward(_base.LossInput(*given))
    total, parts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(total, Tensor) or not isinstance(parts, Mapping):
        found = type(made).__name__
        raise TypeError(f"forward returned {found}, but must return a scalar tensor, or a pair of one and a dictionary")
    return total, named_scalars(parts, "part")


def named_scalars(parts: Mapping[str, Tensor], what: str) -> list[tuple[str, Tensor]]:
    """What is to be logged, without its graph."""
    wrong = [name for name, part in parts.items() if not isinstance(part, Tensor) or not isinstance(name, str)]
    if wrong:
        raise TypeError(f"the {what} {wrong[0]!r} is not a tensor under a name")
    return [(name, part.detach()) for name, part in parts.items()]


def after_update(loss: _base.Loss, *given: Any) -> None:
    """The loss changes what it keeps; `given` is what `LossInput` takes."""
    with torch.no_grad(), same_tensors(loss):
        loss.after_update(_base.LossInput(*given))


def after_epoch(loss: _base.Loss) -> None:
    """The same, at the end of an epoch."""
    with torch.no_grad(), same_tensors(loss):
        loss.after_epoch()
