"""Objectives in Python, each beside what it repeats."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import foil

CW = '''
import foil


class Margin(foil.Objective):
    """Carlini and Wagner's objective."""

    kappa: float = foil.key(50.0, at_least=0)

    def value(self, logits, y, clean):
        label = logits.gather(1, y[:, None]).squeeze(1)
        other = logits.scatter(1, y[:, None], float("-inf")).amax(1)
        return -(label - other + self.kappa).clamp(min=0)
'''


def test_an_objective_is_the_built_in_one(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "margin.py").write_text(CW)
    x, y = foil.data("mnist_subset", limit=30)

    def attacked(objective: object) -> Tensor:
        return foil.attack("pgd", eps=0.1, alpha=0.03, steps=4, start="none", objective=objective)(module, x, y)

    ours = attacked({"type": "python", "file": str(tmp_path / "margin.py"), "kappa": 50})
    assert torch.allclose(ours, attacked({"type": "cw", "kappa": 50}), atol=1e-6)
