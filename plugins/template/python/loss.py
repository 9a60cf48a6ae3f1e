"""template_loss: what it is for, in a sentence."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

import foil


class TemplateLoss(foil.Loss):
    """Cross-entropy under attack, and the squared distance of the two predictions.

    L = CE(f(x'), y) + weight · mean ‖p(x) - p(x')‖², where p is the softmax of the logits.
    Gradients flow through both.
    """

    weight: float = foil.key(4.0, at_least=0, doc="Weight of the distance. 0 is adversarial training.")

    def forward(self, batch: foil.LossInput) -> tuple[Tensor, dict[str, Tensor]]:
        robust = F.cross_entropy(batch.adversarial, batch.y)
        moved = batch.clean.softmax(1) - batch.adversarial.softmax(1)
        distance = moved.square().sum(1).mean()
        return robust + self.weight * distance, {"robust": robust, "distance": distance}
