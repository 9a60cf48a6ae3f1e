"""template_model: what it is for, in a sentence."""

from __future__ import annotations

import torch

import foil


class TemplateModel(foil.Model):
    """Two convolutions and a linear layer; any `torch.nn.Module` will do."""

    width: int = foil.key(16, at_least=1, doc="Channels of the first layer.")

    def build(self, channels: int, height: int, width: int, classes: int) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(channels, self.width, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(self.width, 2 * self.width, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(2 * self.width * 16, classes),
        )
