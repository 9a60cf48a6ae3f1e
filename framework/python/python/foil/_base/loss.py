"""What a plugin in Python is written with: base classes, keys, and what its methods get."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import dataclass_transform


class Scheduled:
    """The type of a key that takes a number or a scheduler; `batch.now(NAME)` is its value now."""


def key(
    default: Any = dataclasses.MISSING,
    *,
    doc: str = "",
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    unit: str | None = None,
) -> Any:
    """A key with a range: `beta: float = foil.key(6.0, at_least=0, doc="Weight of the KL term.")`.

    Without a default the key is required. `unit="image"` is the [0, 1] scale of images, which
    takes `8/255` and refuses 8.
    """
    bounds = {
        "exclusiveMinimum": above,
        "minimum": at_least,
        "maximum": at_most,
        "exclusiveMaximum": below,
        "x-unit": unit,
        "description": doc or None,
    }
    schema = {name: value for name, value in bounds.items() if value is not None}
    if isinstance(default, (list, dict, set)):
        made = default
        return dataclasses.field(default_factory=lambda: type(made)(made), metadata={"foil": schema})
    return dataclasses.field(default=default, metadata={"foil": schema})


@dataclass_transform(kw_only_default=True, field_specifiers=(key, dataclasses.field))
class Plugin:
    """A class whose annotated fields are the keys that a pipeline may write."""

    KIND: ClassVar[str] = ""

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        dataclasses.dataclass(eq=False, kw_only=True)(cls)


class LossInput:
    """What a loss gets: logits, labels, and what the attack provides."""

    __slots__ = ("logits", "y", "side", "index", "features", "images", "_now", "_sum")

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
    ) -> None:
        self.logits = logits
        """Logits `[N, K]` by the passes that the loss lists."""
        self.y = y
        """Labels `[N]`, int64."""
        self.side = side or {}
        """What the attack provides by name, if the loss lists it in `needs`."""
        self.index = torch.arange(len(y), device=y.device) if index is None else index
        """Indices of the images in the training set, `[N]`, int64: the rows of per-image state."""
        self.features = features or {}
        """What the loss lists in `features`, by pass and name, with its gradient."""
        self.images = images or {}
        """Images `[N, C, H, W]` in [0, 1]: `clean` and `adversarial`."""
        self._now = now or {}
        self._sum = sum_over_ranks

    @property
    def clean(self) -> Tensor:
        """Logits `[N, K]` of the clean images, in train mode."""
        found = self.logits.get("clean_first")
        return self.logits["clean"] if found is None else found

    @property
    def adversarial(self) -> Tensor:
        """Logits `[N, K]` of the attacked images, in train mode."""
        return self.logits["adversarial"]

    def feature(self, of: str, name: str) -> Tensor:
        """What the model named `name` in a pass, such as `penultimate`, `[N, D]`."""
        return self.features[of, name]

    def now(self, name: str) -> Tensor:
        """The value of a key of type `foil.Scheduled` at this step, `[]`."""
        return self._now[name]

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the ranks that share the batch, without a gradient: it makes a
        sum over this rank's images one over the batch's. In one process, the tensor itself."""
        return value.detach() if self._sum is None else self._sum(value)


@dataclasses.dataclass(frozen=True)
class DataFacts:
    """What is known of a run's images."""

    train: int
    """Number of training images."""
    classes: int
    channels: int
    height: int
    width: int


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
    """The forward passes it needs, in order: `clean_first`, `clean`, `adversarial`, `clean_again`,
    `together` or `clean_after_update`; or `NAME:clean` and `NAME:adversarial`, those of another
    network under `networks`, such as a teacher: `batch.logits["teacher:clean"]`."""
    needs: ClassVar[Sequence[str]] = ()
    """Names of the attack's tensors that it reads."""
    features: ClassVar[Sequence[tuple[str, str]]] = ()
    """What it reads of what the model computes on the way to its logits: passes of `passes` and
    names that the model gives, such as `("clean", "penultimate")`."""
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


class Target:
    """The model as an attack sees it."""

    __slots__ = ("_scene", "_train")

    def __init__(self, scene: Any, train: bool) -> None:
        self._scene, self._train = scene, train

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[N, K]` without gradient."""
        found: Tensor = self._scene.logits(x, self._train)
        return found

    def gradient(self, x: Tensor, value: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The gradient of the sum of `value(logits)`, `[N, K]` to `[N]`, with respect to the
        images, and the logits."""
        found: tuple[Tensor, Tensor] = self._scene.gradient(x, value, self._train)
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
        """Labels `[N]`, int64."""
        self.index = torch.arange(len(y), device=y.device) if index is None else index
        """Indices of the images in the data set, `[N]`, int64."""
        self.clean_logits = clean_logits
        """Logits `[N, K]` of `x` in train mode, without gradient, if `needs_clean_logits`."""
        self._scene = scene
        self._now = now or {}

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
    needs_clean_logits: ClassVar[bool] = False
    """Whether it reads `batch.clean_logits`, which a loss with the pass `clean_first` makes. Such
    an attack only trains."""

    def perturb(self, target: Target, batch: AttackBatch) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """Attacked images `[N, C, H, W]`, in the batch's order; an attack that `provides`
        something returns a pair of them and the tensors by name."""
        raise NotImplementedError


class Objective(Plugin):
    """What an attack ascends: a number for each image, differentiable in the logits."""

    KIND: ClassVar[str] = "objective"
    least_classes: ClassVar[int] = 2
    """The smallest number of classes it is defined for."""
    needs_clean: ClassVar[bool] = False
    """Whether `value` gets the logits of the clean images; otherwise `clean` is `None`."""

    def value(self, logits: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        """Logits `[N, K]` of the attacked images and labels `[N]` to numbers `[N]`."""
        raise NotImplementedError


class Model(Plugin):
    """A network. Write `build`, which returns any `torch.nn.Module` from images to logits."""

    KIND: ClassVar[str] = "model"

    def build(self, channels: int, height: int, width: int, classes: int) -> torch.nn.Module:
        """A module that takes images `[N, channels, height, width]` and returns logits
        `[N, classes]`. Training starts from its weights; torch's generator is seeded before."""
        raise NotImplementedError


class Data(Plugin):
    """Images with their labels. Write `load`; images are kept as bytes."""

    KIND: ClassVar[str] = "data"

    def load(self) -> tuple[Any, Any]:
        """The training and the test images. Each is a map-style dataset, whose items are an image
        and its label, or a pair of arrays, images and labels.

        An image is a PIL image, an array `[H, W, C]` or `[H, W]`, or a tensor `[C, H, W]`; bytes,
        or floating-point numbers from 0 to 1. Labels are whole numbers from 0."""
        raise NotImplementedError

    def class_names(self) -> Sequence[str] | None:
        """What each label means; by default the labels themselves."""
        return None


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
