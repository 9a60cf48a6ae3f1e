"""What is known of the images of a run and of a batch."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What is known of a run's images."""

    train: int
    """Number of training images."""
    classes: int
    channels: int
    height: int
    width: int
    batch_size: int = 0
    """Images of a training step, over all ranks."""


def labels(y: Tensor) -> Tensor:
    """The label of each image, `[N]`, int64, of labels `[N]` or `[N, K]`: the class with the
    largest share, and of equal ones the first."""
    return y if y.dim() == 1 else y.argmax(1)
