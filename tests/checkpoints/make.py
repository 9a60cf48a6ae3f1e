"""Checkpoints as published code bases write them, for tests/import.rs.

python3 make.py        (needs torch 2.11, numpy and safetensors; writes the files beside itself)

The network is TRADES's WideResNet at depth 10, width 1, as tests/goldens_models/make.py writes it down. To keep files small its
tensors are windows on two shared storages. What the files hold besides (arguments, numpy scalars, optimiser and scheduler states,
a group that no forward pass reads) is what those of robust_overfitting, TRADES and RobustBench hold.
"""
import argparse
import collections
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent / "goldens_models"))
from make import DmWideResNet, WideResNet, rule  # noqa: E402


def shared(net, kind):
    """The network's state_dict with every tensor a window on one of two storages."""
    wide = (0.2 * (2 * rule("wide", (36864,)) - 1)).to(kind)
    positive = (0.5 + rule("positive", (64,))).to(kind)
    state = collections.OrderedDict()
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var") or "bn" in name and name.endswith("weight"):
            state[name] = positive[: t.numel()]
        elif name.endswith("fc.weight"):
            state[name] = wide[5 : 5 + t.numel()].view(t.shape[1], t.shape[0]).t()  # not contiguous
        else:
            state[name] = wide[: t.numel()].view(t.shape)
    return state


def logits(state, mean=None, std=None):
    net = WideResNet(10, 1).double().eval()
    net.load_state_dict({name: t.double() if t.is_floating_point() else t for name, t in state.items()})
    x = rule("x", (2, 3, 32, 32))
    if mean is not None:
        x = (x - mean.double().view(1, 3, 1, 1)) / std.double().view(1, 3, 1, 1)
    with torch.no_grad():
        return net(x).float()


expected = {}
net = WideResNet(10, 1)

# DataParallel, the unused group, and what a training script keeps besides.
state = shared(net, torch.bfloat16)
expected["trades"] = logits(state)
unused = {"sub_block1" + name[len("block1"):]: t for name, t in state.items() if name.startswith("block1.")}
torch.save(
    {
        "epoch": 76,
        "args": argparse.Namespace(lr=0.1, beta=6.0, model_dir="./model-cifar-wideResNet"),
        "best_acc": numpy.float64(0.5661),
        "state_dict": collections.OrderedDict(("module." + name, t) for name, t in {**state, **unused}.items()),
        "optimizer": {"state": {0: {"momentum_buffer": state["conv1.weight"]}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "scheduler": {"milestones": collections.Counter({75: 1, 90: 1}), "last_epoch": 76},
        "generator": torch.Size([3, 4]),
    },
    here / "trades.pt",
)

# A tuple of the weights by epoch, and what else came to mind: arrays, paths, a random state.
beside = {"lr": 0.1, "curve": numpy.arange(3.0), "out": pathlib.PurePosixPath("runs/a"), "random": numpy.random.get_state()}
torch.save(({5: state}, beside), here / "listed.pth")

# Before PyTorch 1.6, a Sequential of a normalisation and the network, Parameters in place of
# tensors.
state = shared(net, torch.float16)
mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
expected["normalised"] = logits(state, mean, std)
inside = {"0.mean": mean.view(3, 1, 1), "0.std": std.view(3, 1, 1)}
inside.update(("1." + name, nn.Parameter(t) if t.is_floating_point() else t) for name, t in state.items())
torch.save({"net": inside}, here / "normalised.pth", _use_new_zipfile_serialization=False)

# MMA's code: other names for groups and shortcuts, each image standardised by a module without
# numbers, a checkpoint under `model`.
class Standardised(nn.Module):
    def forward(self, x):
        # torch.std of all numbers of an image divides by their number less one.
        rows = x.flatten(1)
        deviation = rows.std(1).clamp(min=rows.shape[1] ** -0.5)
        return (x - rows.mean(1).view(-1, 1, 1, 1)) / deviation.view(-1, 1, 1, 1)


class Unit(nn.Module):
    """A pre-activation block whose shortcut leaves after the first activation."""

    def __init__(self, wide, out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(wide), nn.Conv2d(wide, out, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        if wide != out:
            self.conv_shortcut = nn.Conv2d(wide, out, 1, stride, bias=False)

    def forward(self, x):
        active = self.bn1(x).relu()
        side = self.conv_shortcut(active) if hasattr(self, "conv_shortcut") else x
        return self.conv2(self.bn2(self.conv1(active)).relu()) + side


class Group(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.layer = nn.Sequential(*units)

    def forward(self, x):
        return self.layer(x)


class Groups(nn.Module):
    def __init__(self, per_group=1, wider=(16, 16, 32, 64)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, wider[0], 3, 1, 1, bias=False)
        for i, (wide, out) in enumerate(zip(wider, wider[1:]), 1):
            units = [Unit(wide if n == 0 else out, out, 2 if n == 0 and i > 1 else 1) for n in range(per_group)]
            setattr(self, f"convgroup{i}", Group(units))
        self.bn1, self.fc = nn.BatchNorm2d(wider[-1]), nn.Linear(wider[-1], 10)

    def forward(self, x):
        x = self.convgroup3(self.convgroup2(self.convgroup1(self.conv1(x))))
        return self.fc(self.bn1(x).relu().mean((2, 3)))


net = nn.Sequential(Standardised(), Groups())
state = shared(net, torch.float16)
net.double().eval().load_state_dict({name: t.double() if t.is_floating_point() else t for name, t in state.items()})
with torch.no_grad():
    expected["mma"] = net(rule("x", (2, 3, 32, 32))).float()
torch.save({"epoch": 142, "model": state}, here / "mma.pt")

# The trainers of Rebuffi et al. and Wang et al.: a DataParallel of a normalisation and
# RobustBench's DMWideResNet, once averaged and once as trained.
net = DmWideResNet(10, 1)
state = shared(net, torch.float16)
net.double().eval().load_state_dict({name: t.double() if t.is_floating_point() else t for name, t in state.items()})
mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2471, 0.2435, 0.2616])
with torch.no_grad():
    x = rule("x", (2, 3, 32, 32))
    expected["dm"] = net((x - mean.double().view(1, 3, 1, 1)) / std.double().view(1, 3, 1, 1)).float()
whole = {"module.0.mean": mean.view(3, 1, 1), "module.0.std": std.view(3, 1, 1)}
whole.update(("module.1." + name, t) for name, t in state.items())
trained = {**whole, "module.1.logits.bias": state["logits.bias"] * 2}
torch.save({"model_state_dict": whole, "unaveraged_model_state_dict": trained, "epoch": 400}, here / "dm.pt")

# A whole Python object, and a program in disguise.
class Surprise:
    def __reduce__(self):
        import os

        return (os.system, ("touch surprised",))


tiny = {"weight": torch.arange(6.0).view(2, 3)}
torch.save(nn.Linear(2, 1), here / "whole_module.pt")
torch.save({"state_dict": tiny, "extra": {"hook": Surprise()}}, here / "surprise.pt")
torch.jit.save(torch.jit.script(nn.Linear(2, 1)), here / "program.pt")

save_file({"x": rule("x", (2, 3, 32, 32)).float(), **expected}, here / "expected.safetensors")
