"""Run it with `pytest`. Numbers worked out by hand keep the formula what it is."""

import math

import torch
from template_loss import TemplateLoss

import foil


def test_equals_the_formula_on_an_image() -> None:
    # Two classes: the softmax of (log 3, 0) is (3/4, 1/4), that of (0, 0) is (1/2, 1/2).
    clean, attacked = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    batch = foil.LossInput({"clean": clean, "adversarial": attacked}, torch.tensor([0]))
    total, parts = TemplateLoss(weight=4.0).forward(batch)
    # CE = log 2; the squared distance is (1/4)² + (1/4)² = 1/8.
    assert math.isclose(float(parts["distance"]), 1 / 8, rel_tol=1e-6)
    assert math.isclose(float(total), math.log(2) + 4 / 8, rel_tol=1e-6)
