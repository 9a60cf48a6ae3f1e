"""template_attack: what it is for, in a sentence."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

import foil


class TemplateAttack(foil.Attack):
    """Iterated gradient signs on the cross-entropy.

    `steps` times: x' = P(x' + eps / steps · sign(gradient)), P into the ball and [0, 1].
    """

    eps: foil.Scheduled = foil.key(unit="image", at_least=0, at_most=1, doc="The ball's radius in the norm Linf.")
    steps: int = foil.key(5, at_least=1, at_most=1000, doc="Number of steps.")

    def perturb(self, target: foil.Target, batch: foil.AttackBatch) -> Tensor:
        eps = batch.now("eps")
        low, high = (batch.x - eps).clamp(0, 1), (batch.x + eps).clamp(0, 1)
        x = batch.x
        for _ in range(self.steps):
            gradient, _ = target.gradient(x, lambda logits: F.cross_entropy(logits, batch.y, reduction="none"))
            x = (x + eps / self.steps * gradient.sign()).clamp(low, high)
        return x
