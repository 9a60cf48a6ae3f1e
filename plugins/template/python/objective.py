"""template_objective: what it is for, in a sentence."""

from __future__ import annotations

from torch import Tensor

import foil


class TemplateObjective(foil.Objective):
    """The largest other logit minus the label's, up to `kappa`.

    Carlini and Wagner 2017, Eq. 6 of arXiv:1608.04644.
    """

    kappa: float = foil.key(50.0, at_least=0, doc="Where it stops to grow.")

    def value(self, logits: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
        label = logits.gather(1, y[:, None]).squeeze(1)
        other = logits.scatter(1, y[:, None], float("-inf")).amax(1)
        return (other - label).clamp(max=self.kappa)
