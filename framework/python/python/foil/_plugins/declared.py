"""What a class declares in its class variables: names, and passes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from .. import _base
from .find import Fault

PASSES = ("clean_first", "clean", "adversarial", "clean_again", "together", "clean_after_update")
PLAIN = ("clean", "adversarial", "clean_again")
"""Passes of the model over one set of images, between attack and update."""
SETS = ("clean", "adversarial")
FORMS = (
    f"passes are {', '.join(PASSES)}, and images:SET, a set of images that the attack makes; of another network "
    "NAME:clean, NAME:adversarial and NAME:SET"
)


def suggested(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about a name that is not known."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean `{close[0]}`?" if close else otherwise


def names(plugin: Any, variable: str) -> list[str]:
    """The names in a class variable."""
    found = getattr(plugin, variable)
    if not isinstance(found, Sequence) or isinstance(found, str) or not all(isinstance(one, str) for one in found):
        message = f"`{variable}` of `{type(plugin).__name__}` is {found!r}, but must list names"
        raise Fault("class", message, f'write {variable} = ("NAME",)')
    return list(found)


def check_passes(loss: _base.Loss) -> None:
    """Refuses passes that there are not."""
    of = type(loss).__name__
    listed = names(loss, "passes")
    for one in listed:
        network, colon, images = one.partition(":")
        if one in PASSES:
            continue
        if not (colon and network and images):
            raise Fault("class", f"`passes` of `{of}` has `{one}`", suggested(one, PASSES, FORMS))
        if network == "images" and images in SETS:
            raise Fault("class", f"`passes` of `{of}` has `{one}`", f"the pass over these images is `{images}`")
    asked = {"input_gradients": names(loss, "input_gradients"), "features": _of_features(loss)}
    for variable, passes in asked.items():
        for one in passes:
            message = f"`{variable}` of `{of}` has the pass `{one}`"
            if one not in listed:
                raise Fault("class", message, suggested(one, listed, "list it in `passes` too"))
            if one not in PLAIN and not one.startswith("images:"):
                raise Fault("class", message, f"it takes {', '.join(PLAIN)} and images:SET")


def _of_features(loss: _base.Loss) -> list[str]:
    """The passes of its features."""
    pairs = loss.features
    if isinstance(pairs, str) or not all(
        isinstance(one, tuple) and len(one) == 2 and all(isinstance(word, str) for word in one) for one in pairs
    ):
        message = f"`features` of `{type(loss).__name__}` is {pairs!r}, but must list pairs of a pass and a name"
        raise Fault("class", message, 'write features = (("clean", "penultimate"),)')
    return [of for of, _ in pairs]


def check_attack(attack: _base.Attack) -> None:
    """Refuses names that cannot be what the class variables say."""
    for variable in ("provides", "networks", "per_image"):
        names(attack, variable)
    for one in names(attack, "images"):
        if one in SETS or ":" in one or not one:
            message = f"`images` of `{type(attack).__name__}` has `{one}`"
            raise Fault("class", message, "choose a name without `:` that is neither clean nor adversarial")


def check_objective(objective: _base.Objective) -> None:
    """Refuses a network whose logits it does not get."""
    if objective.network is not None and not objective.needs_clean:
        message = f"`{type(objective).__name__}` names the network `{objective.network}`, but does not get its logits"
        raise Fault("class", message, "write needs_clean = True as well")
