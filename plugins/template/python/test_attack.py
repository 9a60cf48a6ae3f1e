"""Run it with `pytest`. For a linear model the attack is known: the sign of a weight per pixel."""

from pathlib import Path

import torch

import foil


def test_equals_the_formula_for_a_linear_model() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))
    x, y = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    attacked = foil.attack("python", file=str(Path(__file__).with_name("template_attack.py")), eps=0.1)(net, x, y)
    # Class 0 becomes less likely along minus its weights.
    expected = x + 0.1 * torch.tensor([-1.0, 1.0, 0.0, -1.0]).view(1, 1, 2, 2)
    assert torch.allclose(attacked, expected)
