"""template_scheduler: what it is for, in a sentence."""

from __future__ import annotations

import math

import foil


class TemplateScheduler(foil.Scheduler):
    """Up to `peak` along a line, from a tenth of it, then down to 0 along a cosine.

    With t epochs done: peak · (0.1 + 0.9 t / warm) before `warm`, then
    peak · (1 + cos(pi · (t - warm) / (epochs - warm))) / 2.
    """

    peak: float = foil.key(0.002, above=0, doc="The largest number.")
    warm: float = foil.key(0.5, at_least=0, unit="epochs", doc="How long it rises.")

    def value(self, progress: foil.Progress) -> float:
        if progress.done < self.warm:
            return self.peak * (0.1 + 0.9 * progress.done / self.warm)
        share = (progress.done - self.warm) / max(progress.epochs - self.warm, 1)
        return self.peak * (1 + math.cos(math.pi * share)) / 2
