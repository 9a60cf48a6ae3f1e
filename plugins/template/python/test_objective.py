"""Run it with `pytest`. Numbers worked out by hand keep the formula what it is."""

import torch
from template_objective import TemplateObjective


def test_equals_the_formula_on_two_images() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 90.0, 1.0]])
    found = TemplateObjective(kappa=50.0).value(logits, torch.tensor([0, 2]), None)
    assert found.tolist() == [-1.0, 50.0]
