"""Calls a scheduler."""

from __future__ import annotations

import math
import numbers
from typing import Any

from .. import _base


def number(scheduler: _base.Scheduler, epoch: int, step: int, epochs: int, steps_per_epoch: int) -> float:
    """What the scheduler makes of a run's progress."""
    made: Any = scheduler.value(_base.Progress(epoch, step, epochs, steps_per_epoch))
    if not isinstance(made, numbers.Real):
        raise TypeError(f"value returned {type(made).__name__}, but must return a number, a float")
    if not math.isfinite(made):
        raise ValueError(f"value returned {made} in epoch {epoch + 1}, step {step + 1}, but must be finite")
    return float(made)
