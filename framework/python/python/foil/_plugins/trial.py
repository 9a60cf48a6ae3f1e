"""Calls a loss on made-up tensors before training, which shows mistakes early."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .. import _base
from .declared import check_passes
from .find import Fault, where
from .keys import scheduled
from .loss import step

N = 4
IMAGES = (N, 1, 8, 8)


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations that wait for the device, or whose result has a shape that depends on it."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.WAITS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def trial(loss: _base.Loss, file: str, classes: int) -> tuple[bool, list[str]]:
    """Calls a loss on made-up tensors: whether its step may be captured, and warnings."""
    check_passes(loss)
    may = bool(loss.capturable)
    said: list[str] = []
    # The shapes of the model's features are not known here; `foil check` calls the loss on them.
    if loss.features:
        return may, said
    before = dict(vars(loss))
    y = torch.arange(N) % max(classes, 1)
    shape, reads = _first_that_fits(loss, classes, y)
    if shape is None:
        return may, said
    if loss.soft_labels:
        try:
            _call(loss, classes, torch.nn.functional.one_hot(y, classes) * 0.75 + 0.25 / classes, shape)
        except Exception as error:
            message = f"`{type(loss).__name__}` has soft_labels, but with labels {[N, classes]}: {where(error, file)}"
            raise Fault(
                "class", message, "F.cross_entropy takes either form; `batch.labels` are the classes"
            ) from error
    changed = [word for word, value in vars(loss).items() if before.get(word) is not value]
    if may and changed:
        said.append(
            f"{file}: forward sets `self.{changed[0]}`, but on a GPU a captured step runs it once; "
            "write capturable = False, or return it from `state` and change it in `after_update`"
        )
    if may and reads.seen:
        said.append(f"{file}: forward reads the device ({reads.seen[0]}), so its step is not captured in a CUDA graph")
    return may and not reads.seen, said


def _first_that_fits(loss: _base.Loss, classes: int, y: Tensor) -> tuple[tuple[int, ...] | None, _Reads]:
    """The shape of what the attack provides with which the loss can be called, and what it read.

    The shape is not known here: numbers, images and logits are tried. `foil check` has the
    attack's own."""
    for shape in ((N,), IMAGES, (N, classes)):
        with _Reads() as reads:
            try:
                _call(loss, classes, y, shape)
            except Exception:
                if not loss.needs:
                    raise
                continue
        return shape, reads
    return None, reads


def _call(loss: _base.Loss, classes: int, y: Tensor, shape: tuple[int, ...]) -> None:
    """Calls it once; `shape` is that of what the attack provides."""
    logits: dict[str, Tensor] = {}
    leaves: dict[str, Tensor] = {}
    images = {name: torch.full(IMAGES, 0.5) for name in ("clean", "adversarial")}
    for one in loss.passes:
        for read in {"together": ("clean", "adversarial"), "clean_after_update": ()}.get(one, (one,)):
            values = torch.arange(N * classes, dtype=torch.float32).view(N, classes)
            logits[read] = (values + len(logits)).sin().requires_grad_() * 1.0
            name = read.partition(":")[2]
            if name:
                images.setdefault(name, torch.full(IMAGES, 0.5))
            if read in loss.input_gradients:
                leaves[read] = torch.linspace(0, 1, 256).view(IMAGES).requires_grad_()
                weights = torch.linspace(-1, 1, 64 * classes).view(64, classes).sin()
                logits[read] = logits[read] + (leaves[read].flatten(1) @ weights).tanh()
    side = {name: torch.ones(shape) for name in loss.needs}
    now = {name: torch.tensor(1.0, dtype=torch.float64) for name in scheduled(loss)}
    step(loss, logits, y, side, now, torch.zeros(N, dtype=torch.int64), None, {}, images, leaves)
