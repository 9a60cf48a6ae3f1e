"""The keys of a plugin: a class whose annotated fields a pipeline may write."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

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
