"""A scheduler."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from .key import Plugin


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is."""

    epoch: int
    """Epoch, from 0."""
    step: int
    """Step within the epoch, from 0."""
    epochs: int
    """Epochs in the run."""
    steps_per_epoch: int
    """Steps in an epoch."""

    @property
    def done(self) -> float:
        """Epochs done before this step, with fraction."""
        return self.epoch + self.step / self.steps_per_epoch


class Scheduler(Plugin):
    """A number as a function of progress, for any key that takes a scheduler. Write `value`."""

    KIND: ClassVar[str] = "scheduler"

    def value(self, progress: Progress) -> float:
        """The number at this step: finite, and the same whenever it is asked for."""
        raise NotImplementedError
