"""Calls an attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _base
from .declared import check_attack, suggested
from .loss import named_scalars
from .state import same_tensors

Made = tuple[Tensor, list[tuple[str, Tensor]], list[tuple[str, Tensor]], "Tensor | None"]


def learns(attack: _base.Attack, keeps: bool) -> bool:
    """Whether it changes between steps, given whether it has state."""
    check_attack(attack)
    own = type(attack).after_update is not _base.Attack.after_update
    return keeps or own or bool(attack.takes_gradient)


def perturb(attack: _base.Attack, scene: Any, given: Sequence[Any]) -> Made:
    """What the attack makes of the images; `given` is what `AttackBatch` takes but the scene."""
    batch = _batch(scene, *given)
    with same_tensors(attack):
        made = attack.perturb(_target(attack, scene), batch)
    return _made(attack, batch.x, made, "perturb")


def complete(attack: _base.Attack, scene: Any, given: Sequence[Any], x: Tensor) -> Made:
    """The same, of attacked images that are given."""
    batch = _batch(scene, *given)
    with same_tensors(attack):
        made = attack.complete(_target(attack, scene), batch, x)
    return _made(attack, batch.x, made, "complete")


def _made(attack: _base.Attack, x: Tensor, made: Tensor | _base.Adversarial, method: str) -> Made:
    """What a method returned for the images `x`."""
    if isinstance(made, Tensor):
        made = _base.Adversarial(made)
    if not isinstance(made, _base.Adversarial):
        found = type(made).__name__
        raise TypeError(f"{method} returned {found}, but must return images, a tensor, or foil.Adversarial(x, ...)")
    if not isinstance(made.x, Tensor):
        raise TypeError(f"{method} returned foil.Adversarial with x {type(made.x).__name__}, but x is images, a tensor")
    side = _declared(made.side, attack.provides, "provides", "tensor", method)
    images = _declared(made.images, attack.images, "images", "images", method)
    for name, found in images:
        if found.shape != x.shape or found.dtype != x.dtype:
            are, must = (f"{list(one.shape)} of {one.dtype}" for one in (found, x))
            raise TypeError(f"the images `{name}` are {are}, but must be {must}")
    broken, n = made.broken, list(x.shape[:1])
    if broken is not None and (not isinstance(broken, Tensor) or list(broken.shape) != n or broken.dtype != torch.bool):
        raise TypeError(f"`broken` must be a tensor of {n} booleans")
    return made.x.detach(), side, images, broken


def _target(attack: _base.Attack, scene: Any) -> _base.Target:
    return _base.Target(scene, attack.train, attack.networks)


def _declared(
    made: Mapping[str, Tensor], named: Sequence[str], variable: str, what: str, method: str
) -> list[tuple[str, Tensor]]:
    """What is handed on under the names of a class variable: all of them, and no others."""
    if not isinstance(made, Mapping):
        raise TypeError(f"{method} returned {type(made).__name__}, but the {what} must be in a dictionary")
    for name in named:
        if not isinstance(made.get(name), Tensor):
            raise TypeError(f"`{variable}` names `{name}`, but {method} returned no {what} of this name")
    for name in made:
        if name not in named:
            hint = suggested(str(name), named, "list it there")
            raise TypeError(f"{method} returned the {what} `{name}`, which `{variable}` does not name: {hint}")
    return [(name, made[name].detach()) for name in named]


def learn(attack: _base.Attack, scene: Any, batch: Sequence[Any], attacked: Sequence[Any]) -> list[tuple[str, Tensor]]:
    """The attack learns; what it returns is for the log."""
    with same_tensors(attack):
        made = attack.after_update(_target(attack, scene), _batch(scene, *batch), _adversarial(*attacked))
    if made is not None and not isinstance(made, Mapping):
        raise TypeError(
            f"after_update returned {type(made).__name__}, but must return a dictionary of scalars, or None"
        )
    scalars = named_scalars(made or {}, "scalar")
    wrong = [name for name, scalar in scalars if scalar.dim()]
    if wrong:
        raise TypeError(f"after_update returned `{wrong[0]}` of several numbers, but must return scalars")
    return scalars


def after_gradient(
    attack: _base.Attack, scene: Any, batch: Sequence[Any], attacked: Sequence[Any], gradient: Tensor
) -> Tensor:
    """The attacked images that the step's next gradient sees."""
    with same_tensors(attack):
        made = attack.after_gradient(_target(attack, scene), _batch(scene, *batch), _adversarial(*attacked), gradient)
    if not isinstance(made, Tensor) or made.shape != gradient.shape:
        found = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise TypeError(f"after_gradient returned {found}, but must return images {list(gradient.shape)}")
    return made.detach()


def remark(attack: _base.Attack, means: dict[str, float]) -> str | None:
    """What the attack says after an epoch."""
    made = attack.remark(means)
    if made is not None and not isinstance(made, str):
        raise TypeError(f"remark returned {type(made).__name__}, but must return text or None")
    return made


def _batch(scene: Any, x: Tensor, y: Tensor, *rest: Any) -> _base.AttackBatch:
    return _base.AttackBatch(x, y, scene, *rest)


def _adversarial(x: Tensor, side: dict[str, Tensor], images: dict[str, Tensor]) -> _base.Adversarial:
    return _base.Adversarial(x, side, images)
