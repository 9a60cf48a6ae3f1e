"""Run it with `pytest`."""

import torch
from template_model import TemplateModel


def test_images_become_logits() -> None:
    net = TemplateModel(width=4).build(channels=1, height=28, width=28, classes=10)
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
