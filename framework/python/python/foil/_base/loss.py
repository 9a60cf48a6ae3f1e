"""A loss: what it declares, and what its methods get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from .facts import DataFacts, labels
from .key import Plugin


class LossInput:
    """What a loss gets: logits, labels, and what the attack provides."""

    __slots__ = ("logits", "y", "side", "index", "features", "images", "_now", "_sum", "_leaves")

    def __init__(
        self,
        logits: dict[str, Tensor],
        y: Tensor,
        side: dict[str, Tensor] | None = None,
        now: dict[str, Tensor] | None = None,
        index: Tensor | None = None,
        sum_over_ranks: Callable[[Tensor], Tensor] | None = None,
        features: dict[tuple[str, str], Tensor] | None = None,
        images: dict[str, Tensor] | None = None,
        leaves: dict[str, Tensor] | None = None,
    ) -> None:
        """For the test of a loss: `leaves` are images that require a gradient, `[N, C, H, W]`, by
        the pass whose logits were computed from them."""
        self.logits = logits
        """Logits `[N, K]` by the passes that the loss lists."""
        self.y = y
        """Labels `[N]`, int64; or `[N, K]`, the share of each class, where images are mixed and
        the loss has `soft_labels`."""
        self.side = side or {}
        """What the attack provides by name, if the loss lists it in `needs`."""
        self.index = torch.arange(len(y), device=y.device) if index is None else index
        """Indices of the images in the training set, `[N]`, int64: the rows of per-image state."""
        self.features = features or {}
        """What the loss lists in `features`, by pass and name, with its gradient."""
        self.images = images or {}
        """Images `[N, C, H, W]` without a gradient: `clean`, `adversarial`, and the sets of the
        attack that `passes` names."""
        self._now = now or {}
        self._sum = sum_over_ranks
        self._leaves = leaves or {}

    @property
    def clean(self) -> Tensor:
        """Logits `[N, K]` of the clean images, in train mode."""
        found = self.logits.get("clean_first")
        return self.logits["clean"] if found is None else found

    @property
    def adversarial(self) -> Tensor:
        """Logits `[N, K]` of the attacked images, in train mode."""
        return self.logits["adversarial"]

    @property
    def labels(self) -> Tensor:
        """The label of each image, `[N]`, int64: of a mixed one that with the largest share."""
        return labels(self.y)

    def feature(self, of: str, name: str) -> Tensor:
        """What the model named `name` in a pass, such as `penultimate`, `[N, D]`."""
        return self.features[of, name]

    def input_gradient(self, of: str, values: Tensor) -> Tensor:
        """d(sum of `values`)/d(images of the pass `of`), `[N, C, H, W]`, for a pass that the loss
        lists in `input_gradients`.

        `values` are computed from that pass's logits, such as each image's cross-entropy, `[N]`.
        The gradient is differentiable by the model's parameters; `detach()` makes it a constant.
        """
        if of not in self._leaves:
            known = ", ".join(f"`{one}`" for one in self._leaves) or "no pass"
            raise KeyError(f"there are gradients by the images of {known}, not of `{of}`: list it in `input_gradients`")
        if not values.requires_grad:
            raise ValueError(f"the values are detached from the logits of the pass `{of}`, so they have no gradient")
        found = torch.autograd.grad(values.sum(), self._leaves[of], create_graph=True, allow_unused=True)[0]
        if found is None:
            raise ValueError(f"the values do not depend on the images of the pass `{of}`: compute them from its logits")
        return found

    def now(self, name: str) -> Tensor:
        """The value of a key of type `foil.Scheduled` at this step, `[]`."""
        return self._now[name]

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the ranks that share the batch, without a gradient: it makes a
        sum over this rank's images one over the batch's. In one process, the tensor itself."""
        return value.detach() if self._sum is None else self._sum(value)

    def mean_over_batch(self, values: Tensor) -> Tensor:
        """The mean of `values`, `[N]`, over the images of all ranks, `[]`, without a gradient."""
        if self._sum is None:
            return values.detach().mean()
        sums = self._sum(torch.stack([values.sum(), torch.ones_like(values).sum()]))
        return sums[0] / sums[1]


class Loss(Plugin):
    """A training loss: a function of logits, labels, and what it keeps between steps.

    Write `forward`. It returns a scalar to minimise, a mean over the batch, or the scalar and a
    dictionary of named scalars for the log. The docstring and the fields are its manual:
    `foil explain my_loss.py`.

    A loss that keeps something, such as soft labels of each image, returns its tensors from
    `state`; they become attributes. It reads them in `forward` and changes them, in place, in
    `after_update` and `after_epoch`. foil saves and resumes them.
    """

    KIND: ClassVar[str] = "loss"
    passes: ClassVar[Sequence[str]] = ("clean", "adversarial")
    """The forward passes it needs, in order. Of the model: `clean_first`, `clean`, `adversarial`,
    `clean_again`, `together`, `clean_after_update`, or `images:SET`, a set of images that the
    attack makes besides. Of another network under `networks`, such as a teacher: `NAME:clean`,
    `NAME:adversarial` or `NAME:SET`. `batch.logits` has them by these names."""
    needs: ClassVar[Sequence[str]] = ()
    """Names of the attack's tensors that it reads."""
    features: ClassVar[Sequence[tuple[str, str]]] = ()
    """What it reads of what the model computes on the way to its logits: passes of `passes` and
    names that the model gives, such as `("clean", "penultimate")`."""
    input_gradients: ClassVar[Sequence[str]] = ()
    """The passes in `passes` by whose images it differentiates: `batch.input_gradient`."""
    soft_labels: ClassVar[bool] = False
    """Whether it has a meaning for labels `[N, K]`, which give each class a share of the image, as
    mixup makes them. `F.cross_entropy` takes either form; a margin has none for them."""
    least_classes: ClassVar[int] = 2
    """The smallest number of classes it is defined for."""
    capturable: ClassVar[bool] = True
    """Whether its step may be captured in a CUDA graph: it runs in Python once, and is then
    replayed. False for a loss that reads the device or has side effects."""
    per_image: ClassVar[Sequence[str]] = ()
    """Names in `state` whose rows belong to training images, `[train, ...]`. All other state must
    be the same on every rank."""

    def forward(self, batch: LossInput) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of a batch."""
        raise NotImplementedError

    def state(self, data: DataFacts) -> Mapping[str, Tensor]:
        """The tensors that it keeps, by name, as they are at the start of a run."""
        return {}

    def after_update(self, batch: LossInput) -> None:
        """Called once a step, after the update, with logits that have no gradient."""

    def after_epoch(self) -> None:
        """Called after an epoch's last step."""
