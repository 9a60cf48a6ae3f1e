"""foil trains robust image classifiers. `foil.train` is what `foil train` is in a terminal.

The names are looked up when they are used, because the command `foil` imports this package and
seldom needs torch.
"""

from __future__ import annotations

from typing import Any

from ._version import FOIL as __version__

_PLACES = {
    "_errors": ("Error",),
    "_api": (
        "Network",
        "Run",
        "attack",
        "autoattack",
        "compare",
        "data",
        "evaluate",
        "load",
        "resume",
        "runs",
        "train",
    ),
    "_base": (
        "Adversarial",
        "Attack",
        "AttackBatch",
        "Data",
        "DataFacts",
        "Loss",
        "LossInput",
        "Model",
        "Objective",
        "Progress",
        "Scheduled",
        "Scheduler",
        "Target",
        "key",
    ),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'foil' has no attribute '{name}'")
    from importlib import import_module

    if _MODULES[name] == "_api":
        import_module("foil._torch").load()
    value = getattr(import_module(f"foil.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
