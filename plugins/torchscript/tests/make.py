"""Programs and weights for the tests of this crate and tests/torchscript.rs.

python3 make.py        (needs torch 2.11 and safetensors; writes the files beside itself)
"""
import pathlib
import sys
from typing import Dict, Final, Tuple

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent.parent.parent / "tests" / "goldens_models"))
from make import rule, small_cnn  # noqa: E402


class Tiny(nn.Module):
    """Batch norm, dropout, a buffer that is replaced rather than changed, and weights used under two names."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.25)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.ReLU())
        self.again = self.inner
        self.head = nn.Linear(16, 10)
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        if self.training:
            self.largest = torch.maximum(self.largest, x.detach().amax())
        x = self.again(self.inner(self.drop(x)))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Trades(nn.Module):
    def forward(self, clean: Tensor, adv: Tensor, y: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        natural = F.cross_entropy(clean, y)
        robust = F.kl_div(F.log_softmax(adv, 1), F.softmax(clean, 1), reduction="batchmean")
        return natural + 6.0 * robust, {"natural": natural, "robust": robust}


class Plain(nn.Module):
    def forward(self, clean: Tensor, adv: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(adv, y)


class PerImage(nn.Module):
    def forward(self, clean: Tensor, adv: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(adv, y, reduction="none")


class Odd(nn.Module):
    """Linear, but for what stands before it: operations that autograd does not follow, some in one mode only, or that write."""

    how: Final[str]

    def __init__(self, how: str):
        super().__init__()
        self.how = how
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "detach" or self.how == "eval" and not self.training or self.how == "train" and self.training:
            x = x.detach()
        if self.how == "cast":
            x = (x * 255).to(torch.uint8).to(torch.float) / 255
        if self.how == "write":
            x.sub_(0.1307).div_(0.3081)
        if self.how == "no_grad":
            with torch.no_grad():
                return self.fc(F.avg_pool2d(x, 7).flatten(1))
        if self.how == "argmax":
            return F.one_hot(self.fc(F.avg_pool2d(x, 7).flatten(1)).argmax(1), 10).to(torch.float)
        return self.fc(F.avg_pool2d(x, 7).flatten(1))


class VectorNorm(nn.Module):
    """Batch norm over vectors, which takes no batch of one."""

    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.fc = nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.inner(F.avg_pool2d(x, 7).flatten(1))))


class Writes(nn.Module):
    """Cross-entropy that leaves zeros in the logits it was given."""

    def forward(self, clean: Tensor, adv: Tensor, y: Tensor) -> Tensor:
        total = F.cross_entropy(adv, y)
        with torch.no_grad():
            clean.zero_()
            y.zero_()
        return total


def save(module, name):
    torch.jit.save(torch.jit.script(module), here / f"{name}.pt")


torch.manual_seed(0)
tiny = Tiny()
save(tiny, "tiny")
torch.save(tiny.state_dict(), here / "weights.pt")
x = rule("x", (5, 1, 28, 28)).float()
made = {"x": x, "logits": tiny.eval()(x), "names": torch.zeros(len(tiny.state_dict()))}
tiny.train()(x)
made.update({f"after.{name}": t for name, t in tiny.state_dict().items() if "running" in name or name == "largest"})
save_file({name: t.detach().clone() for name, t in made.items()}, here / "expected.safetensors")

# The network alone: all weights are one stored zero.
net = small_cnn()
for p in net.parameters():
    p.data = torch.zeros(1).expand(p.shape)
save(net, "small_cnn")
torch.jit.save(torch.jit.freeze(torch.jit.script(Tiny().eval())), here / "frozen.pt")
save(Trades(), "trades")
save(Plain(), "plain")
save(PerImage(), "per_image")
save(Writes(), "writes")
torch.manual_seed(2)
save(VectorNorm(), "vector_norm")
for how in ["detach", "cast", "no_grad", "argmax", "eval", "train", "write", "plain"]:
    torch.manual_seed(1)
    save(Odd(how), f"odd_{how}")
