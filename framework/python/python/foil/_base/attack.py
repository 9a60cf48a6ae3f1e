"""An attack: what it declares, what its methods get, and what it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from .facts import DataFacts, labels
from .key import Plugin


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """What an attack makes of a batch."""

    x: Tensor
    """Attacked images `[N, C, H, W]`, in the batch's order."""
    side: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """Tensors for the loss, by the names in `provides`."""
    images: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """Further images `[N, C, H, W]`, in the batch's order, by the names in `images`."""
    broken: Tensor | None = None
    """Which images it has seen misclassified, at `x` or on the way there, `[N]` bool."""


class Target:
    """A network as an attack sees it: the model, or another one. Its parameters are constants."""

    __slots__ = ("_scene", "_train", "_networks", "_name")

    def __init__(self, scene: Any, train: bool, networks: Sequence[str] = (), name: str | None = None) -> None:
        self._scene, self._train, self._networks, self._name = scene, train, networks, name

    def _mode(self, train: bool | None) -> bool:
        if train and not self._train:
            what = (
                f"the network `{self._name}` runs" if self._name else "an attack without `train = True` runs the model"
            )
            raise ValueError(f"{what} in eval mode only")
        return self._train if train is None else train

    def logits(self, x: Tensor, train: bool | None = None) -> Tensor:
        """Logits `[N, K]` without gradient; `train` is the mode, by default the attack's."""
        found: Tensor = self._scene.logits(x, self._mode(train), self._name)
        return found

    def forward(self, x: Tensor, train: bool | None = None) -> Tensor:
        """Logits `[N, K]`, differentiable in `x` if `x` requires a gradient."""
        found: Tensor = self._scene.forward(x, self._mode(train), self._name)
        return found

    def gradient(
        self, x: Tensor, value: Callable[[Tensor], Tensor], train: bool | None = None, eot: int = 1
    ) -> tuple[Tensor, Tensor]:
        """The gradient of the sum of `value(logits)`, `[N, K]` to `[N]`, with respect to the
        images, and the logits.

        `eot` is the number of passes that the gradient is the mean of (expectation over
        transformation), for a network that draws random numbers; the logits are the last pass's."""
        found: tuple[Tensor, Tensor] = self._scene.gradient(x, value, self._mode(train), self._name, eot)
        return found

    def network(self, name: str) -> Target:
        """The network called `name` under `networks`, in eval mode; the attack lists it in
        `networks`."""
        if name not in self._networks:
            known = ", ".join(f"`{one}`" for one in self._networks) or "none"
            raise KeyError(f"the attack looks at the network `{name}`, but its `networks` lists {known}")
        return Target(self._scene, False, self._networks, name)

    def iterate(self, x: Tensor) -> None:
        """Reports the current point of an iterative attack, for `foil probe`."""
        self._scene.iterate(x)

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the ranks that share the batch, without a gradient. In one
        process, the tensor itself."""
        found: Tensor = self._scene.sum_over_ranks(value)
        return found

    def gather_over_ranks(self, own: Tensor) -> Tensor:
        """What every rank has for each of its images, `own` `[N, ...]`, in the batch's order,
        without a gradient. In one process, the tensor itself."""
        found: Tensor = self._scene.gather_over_ranks(own)
        return found

    @property
    def first_in_batch(self) -> int:
        """The place of the first of this rank's images in the batch of all ranks."""
        found: int = self._scene.first_in_batch()
        return found


class AttackBatch:
    """The images of an attack."""

    __slots__ = ("x", "y", "index", "clean_logits", "_scene", "_now")

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        scene: Any,
        now: dict[str, Tensor] | None = None,
        index: Tensor | None = None,
        clean_logits: Tensor | None = None,
    ) -> None:
        self.x = x
        """Images `[N, C, H, W]` in [0, 1]."""
        self.y = y
        """Labels `[N]`, int64; or `[N, K]`, the share of each class, where images are mixed and
        the attack has `soft_labels`."""
        self.index = torch.arange(len(y), device=y.device) if index is None else index
        """Indices of the images in the data set, `[N]`, int64: the rows of per-image state."""
        self.clean_logits = clean_logits
        """Logits `[N, K]` of `x` in train mode, without gradient, if `needs_clean_logits`."""
        self._scene = scene
        self._now = now or {}

    @property
    def labels(self) -> Tensor:
        """The label of each image, `[N]`, int64: of a mixed one that with the largest share."""
        return labels(self.y)

    def now(self, name: str) -> Tensor:
        """The value of a key of type `foil.Scheduled` at this step, `[]`."""
        return self._now[name]

    def uniform(self, name: str) -> Tensor:
        """Numbers uniform in [0, 1), `[N, C, H, W]`, from the seed, the name and the image."""
        found: Tensor = self._scene.uniform(name)
        return found

    def normal(self, name: str) -> Tensor:
        """Standard normal numbers, likewise."""
        found: Tensor = self._scene.normal(name)
        return found


class Attack(Plugin):
    """A way to perturb images. Write `perturb`; random numbers come from the batch alone.

    A field `eps` with `unit="image"` is the radius that records and model cards show.

    An attack that keeps something, such as a radius of each image, returns its tensors from
    `state`; they become attributes, which it changes in place. foil saves and resumes them. Such
    an attack, and one that writes `after_update` or takes the loss's gradient, only trains.
    """

    KIND: ClassVar[str] = "attack"
    norm: ClassVar[str] = "Linf"
    """The norm of `eps`: `Linf`, `L2` or `L1`."""
    train: ClassVar[bool] = False
    """Whether the model runs in train mode; an attack for evaluation must not."""
    capturable: ClassVar[bool] = True
    """As for a loss: whether its step may be captured in a CUDA graph."""
    provides: ClassVar[Sequence[str]] = ()
    """Names of the tensors that it hands to the loss besides the images: `batch.side[NAME]`."""
    images: ClassVar[Sequence[str]] = ()
    """Names of the sets of images that it makes besides the attacked ones; a loss may ask for
    passes over them, `images:NAME`."""
    networks: ClassVar[Sequence[str]] = ()
    """Names of the networks under `networks` that it looks at: `target.network(NAME)`. Such an
    attack only trains."""
    soft_labels: ClassVar[bool] = False
    """Whether it can attack with labels `[N, K]`, which give each class a share of the image, as
    mixup makes them."""
    needs_clean_logits: ClassVar[bool] = False
    """Whether it reads `batch.clean_logits`, which a loss with the pass `clean_first` makes. Such
    an attack only trains."""
    per_image: ClassVar[Sequence[str]] = ()
    """Names in `state` whose rows belong to training images, `[train, ...]`. All other state must
    be the same on every rank."""
    takes_gradient: ClassVar[bool] = False
    """Whether `after_gradient` is called: the step's backward pass then goes down to the images,
    which costs one layer's gradient."""

    def perturb(self, target: Target, batch: AttackBatch) -> Tensor | Adversarial:
        """Attacked images `[N, C, H, W]`, in the batch's order; or `foil.Adversarial`, which has
        what it `provides` and its further `images` too."""
        raise NotImplementedError

    def complete(self, target: Target, batch: AttackBatch, x: Tensor) -> Tensor | Adversarial:
        """What `perturb` returns if these are its attacked images, `[N, C, H, W]`; `foil probe`
        asks for it."""
        made = [*self.provides, *self.images]
        if made:
            raise NotImplementedError(f"{', '.join(made)} cannot be computed from attacked images without `complete`")
        return x

    def state(self, data: DataFacts) -> Mapping[str, Tensor]:
        """The tensors that it keeps, by name, as they are at the start of a run."""
        return {}

    def after_update(self, target: Target, batch: AttackBatch, attacked: Adversarial) -> Mapping[str, Tensor] | None:
        """Called once a step, after the model's update, with what `perturb` made: here the attack
        learns. Returns named scalars for the log."""
        return None

    def after_gradient(self, target: Target, batch: AttackBatch, attacked: Adversarial, gradient: Tensor) -> Tensor:
        """With `takes_gradient`: called after each gradient of the step, before the weights
        change, with that of the loss by the attacked images, `[N, C, H, W]`. Returns the attacked
        images that the step's next gradient sees, if it takes one (the update `replay`)."""
        return attacked.x

    def remark(self, means: Mapping[str, float]) -> str | None:
        """A warning after an epoch; `means` are the epoch's means of what `after_update` returned.
        It is logged when its text first appears."""
        return None
