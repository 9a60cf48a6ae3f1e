"""Runs a module with foil's numbers in place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _base
from .declared import suggested
from .find import Fault


class Network:
    """A module, and what it names in its passes."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.features: dict[str, Tensor] = {}

    def watch(self, name: str, submodule: torch.nn.Module, is_input: bool) -> None:
        """Keeps what goes into a submodule, or comes out of it, as the feature `name`."""

        def keep(_: torch.nn.Module, given: tuple[Any, ...], made: Any) -> None:
            found = given[:1] if is_input else (made,)
            if len(found) != 1 or not isinstance(found[0], Tensor):
                what = type(found[0]).__name__ if found else "nothing"
                raise TypeError(f"the feature `{name}` is {what}, but must be a tensor")
            self.features[name] = found[0]

        submodule.register_forward_hook(keep)


def network(plugin: _base.Model, channels: int, height: int, width: int, classes: int, seed: int) -> Network:
    """The module that a model builds, with the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        made = plugin.build(channels=channels, height=height, width=width, classes=classes)
    if not isinstance(made, torch.nn.Module):
        raise TypeError(f"build returned {type(made).__name__}, but must return a torch.nn.Module")
    built = Network(made)
    _watch_features(plugin, built)
    return built


def _watch_features(plugin: _base.Model, built: Network) -> None:
    of, listed, known = type(plugin).__name__, plugin.features, dict(built.module.named_modules())
    if not isinstance(listed, Mapping) or not all(isinstance(one, str) for pair in listed.items() for one in pair):
        message = f"`features` of `{of}` is {listed!r}, but must name submodules"
        raise Fault("class", message, 'write features = {"penultimate": "input:fc"}')
    for name, where in listed.items():
        path = where.removeprefix("input:")
        if path not in known or not path:
            message = f"`features` of `{of}` has `{name}`: `{where}`, but the module has no submodule `{path}`"
            raise Fault("class", message, suggested(path, known, f"it has {', '.join(one for one in known if one)}"))
        built.watch(name, known[path], where != path)


def tensors(built: Network) -> list[tuple[str, Tensor, bool, bool]]:
    """Names and values, whether each is trained, and whether it is a buffer."""
    module = built.module
    found = [(name, one.detach(), one.requires_grad, False) for name, one in module.named_parameters()]
    return found + [(name, one.detach(), False, True) for name, one in module.named_buffers()]


def run(
    built: Network, train: bool, x: Tensor, given: dict[str, Tensor], buffers: dict[str, Tensor]
) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """The module's output with these numbers in place of its own, and its features; buffers move
    in train mode."""
    built.module.train(train)
    # Copies, because a pass that is differentiated later must keep the buffers it used.
    copies = {name: one.clone() for name, one in buffers.items()}
    built.features.clear()
    out = torch.func.functional_call(built.module, {**given, **copies}, (x,))
    features = list(built.features.items())
    built.features.clear()  # They hold the pass's graph.
    if train:
        with torch.no_grad():
            for name, one in buffers.items():
                one.copy_(copies[name])
    if not isinstance(out, Tensor):
        raise TypeError(f"the module returned {type(out).__name__}, but must return logits, a tensor")
    return out, features
