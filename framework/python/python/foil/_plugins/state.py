"""What a loss or an attack keeps between steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from .. import _base
from .declared import names, suggested


def state(plugin: _base.Loss | _base.Attack, *sizes: int) -> list[tuple[str, Tensor]]:
    """The tensors that a plugin keeps, by name; `sizes` are those of `DataFacts`."""
    data = _base.DataFacts(*sizes)
    made = plugin.state(data)
    if not isinstance(made, Mapping):
        raise TypeError(f"state returned {type(made).__name__}, but must return a dictionary of tensors")
    wrong = [name for name, kept in made.items() if not isinstance(kept, Tensor) or not isinstance(name, str)]
    if wrong:
        raise TypeError(f"the state {wrong[0]!r} is not a tensor under a name")
    taken = [name for name in made if hasattr(plugin, name)]
    if taken:
        raise TypeError(f"the state `{taken[0]}` has the name of something that the {plugin.KIND} has already")
    for name in names(plugin, "per_image"):
        if name not in made or made[name].shape[:1] != (data.train,):
            hint = "" if name in made else suggested(name, made, "")
            raise TypeError(
                f"`per_image` names `{name}`, but no state of this name has a row for each of {data.train} images"
                + (f"; {hint}" if hint else "")
            )
    return [(name, kept.detach().contiguous()) for name, kept in made.items()]


@contextlib.contextmanager
def same_tensors(plugin: Any) -> Iterator[None]:
    """Refuses another tensor in the place of one that foil saves."""
    before = {name: value for name, value in vars(plugin).items() if isinstance(value, Tensor)}
    yield
    for name, value in before.items():
        if vars(plugin).get(name) is not value:
            raise TypeError(f"`self.{name}` is another tensor now, but foil saves the first; change it in place: copy_")
