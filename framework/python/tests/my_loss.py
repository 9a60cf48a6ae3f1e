import torch.nn.functional as F
from torch import Tensor

import foil


class MyTrades(foil.Loss):
    """TRADES in plain PyTorch. L = CE(f(x), y) + beta · KL(softmax f(x) ‖ softmax f(x')).

    Zhang et al. 2019, Eq. 5.
    """

    beta: float = foil.key(6.0, at_least=0, doc="Weight of the KL term.")

    def forward(self, batch: foil.LossInput) -> tuple[Tensor, dict[str, Tensor]]:
        natural = F.cross_entropy(batch.clean, batch.y)
        robust = F.kl_div(F.log_softmax(batch.adversarial, 1), F.softmax(batch.clean, 1), reduction="batchmean")
        return natural + self.beta * robust, {"natural": natural, "robust": robust}
