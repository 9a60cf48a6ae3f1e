"""What plain PyTorch makes of the papers' networks, for plugins/models/tests/goldens.rs.

python3 make.py [NAME …]   (needs torch 2.11 and safetensors; writes NAME.safetensors beside itself)

Nothing random is stored. Every number that goes in (weights, statistics, images, the directions below) comes from `rule`, a hash of
a name and a position, which the Rust test computes too. The networks are written here a second time, from the papers, under the
names of the authors' code; strict loading in Rust checks those names. Everything is computed in double precision.

A file holds, with L = sum(output * rule("head")):
  logits, d_input            the output and dL/dx in eval mode
  train_logits               the output in train mode
  gradients  [parameters, 2] dL/d(parameter) in train mode: its norm and its product with rule("direction." + name); sorted by name
  statistics [buffers, 2]    the same of batch norm's running mean and variance after that pass
"""
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn


def rule(name, shape):
    """Numbers in [0, 1): a 32-bit hash of the name (FNV-1a) and of the position in row-major order."""
    key = 0x811C9DC5
    for byte in name.encode():
        key = ((key ^ byte) * 0x01000193) & 0xFFFFFFFF
    h = (torch.arange(math.prod(shape), dtype=torch.int64) * 0x9E3779B1) & 0xFFFFFFFF
    h ^= key
    h ^= h >> 16
    h = (h * 0x7FEB352D) & 0xFFFFFFFF
    h ^= h >> 15
    return ((h >> 8).double() / 2**24).reshape(shape)


def weights(name, shape):
    """Weights of a size that keeps activations near 1; norms with weights and variances from 0.5 to 1.5."""
    u = rule(name, shape)
    if len(shape) > 1:
        return (2 * u - 1) * math.sqrt(3 / math.prod(shape[1:]))
    norm = any(part in name for part in ("bn", "norm", "shortcut.1", "downsample.1"))
    if name.endswith("running_var") or norm and name.endswith("weight"):
        return u + 0.5
    return (2 * u - 1) * 0.1


def conv3(i, o, stride=1):
    return nn.Conv2d(i, o, 3, stride, 1, bias=False)


class PreActBlock(nn.Module):
    act = staticmethod(F.relu)

    def __init__(self, i, o, stride, shortcut="shortcut"):
        super().__init__()
        self.bn1, self.conv1, self.bn2, self.conv2 = nn.BatchNorm2d(i), conv3(i, o, stride), nn.BatchNorm2d(o), conv3(o, o)
        self.name = shortcut if stride != 1 or i != o else None
        if self.name:
            conv = nn.Conv2d(i, o, 1, stride, bias=False)
            self.add_module(self.name, nn.Sequential(conv) if self.name == "shortcut" else conv)

    def forward(self, x):
        y = self.act(self.bn1(x))
        skip = getattr(self, self.name)(y) if self.name else x
        return self.conv2(self.act(self.bn2(self.conv1(y)))) + skip


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2 = conv3(i, o, stride), nn.BatchNorm2d(o), conv3(o, o), nn.BatchNorm2d(o)
        changes = stride != 1 or i != o
        self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if changes else nn.Sequential()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


def stages(net, block):
    widths = [64, 64, 128, 256, 512]
    for n in range(1, 5):
        i, o = widths[n - 1], widths[n]
        net.add_module(f"layer{n}", nn.Sequential(block(i, o, 1 if n == 1 else 2), block(o, o, 1)))


class PreActResNet18(nn.Module):
    act = staticmethod(F.relu)

    def __init__(self, final_norm=True):
        super().__init__()
        self.conv1 = conv3(3, 64)
        stages(self, PreActBlock)
        self.bn = nn.BatchNorm2d(512) if final_norm else None
        self.linear = nn.Linear(512, 10)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn is not None:
            x = self.act(self.bn(x))
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


class ResNet18(nn.Module):
    def __init__(self, mask=False):
        super().__init__()
        self.conv1, self.bn1 = conv3(3, 64), nn.BatchNorm2d(64)
        stages(self, BasicBlock)
        self.mask = mask
        if mask:
            self.conv2 = nn.Conv2d(512, 3, 3, padding=1)
        else:
            self.linear = nn.Linear(512, 10)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))))
        if self.mask:
            return torch.sigmoid(self.conv2(F.interpolate(x, size=(32, 32))))
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


class WideResNet(nn.Module):
    act = staticmethod(F.relu)

    def __init__(self, depth, width):
        super().__init__()
        n, widths = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = conv3(3, 16)
        for g in (1, 2, 3):
            i, o = widths[g - 1], widths[g]
            group = nn.Module()
            group.layer = nn.Sequential(
                *[PreActBlock(i if b == 0 else o, o, 2 if b == 0 and g > 1 else 1, "convShortcut") for b in range(n)]
            )
            self.add_module(f"block{g}", group)
        self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], 10)

    def forward(self, x):
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group.layer(x)
        return self.fc(F.avg_pool2d(self.act(self.bn1(x)), 8).flatten(1))


def silu(net):
    for module in net.modules():
        module.act = F.silu
    return net


class DmBlock(nn.Module):
    """A block of DeepMind's networks; with `raw` the small one's."""

    def __init__(self, i, o, stride, raw):
        super().__init__()
        self.stride, self.raw = stride, raw
        first, second = ("conv_2d_1", "conv_2d_2") if raw else ("conv_0", "conv_1")
        self.batchnorm_0, self.batchnorm_1 = nn.BatchNorm2d(i), nn.BatchNorm2d(o)
        self.add_module(first, nn.Conv2d(i, o, 3, stride, 0, bias=False))
        self.add_module(second, nn.Conv2d(o, o, 3, 1, 0, bias=False))
        self.convs = lambda: (getattr(self, first), getattr(self, second))
        if i != o:
            self.shortcut = nn.Conv2d(i, o, 3 if raw else 1, stride, 0, bias=False)

    def pad(self, x, stride):
        return F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))

    def forward(self, x):
        first, second = self.convs()
        y = F.silu(self.batchnorm_0(x))
        skip = x
        if hasattr(self, "shortcut"):
            skip = self.shortcut(self.pad(x, self.stride)) if self.raw else self.shortcut(y)
        y = F.silu(self.batchnorm_1(first(self.pad(y, self.stride))))
        return second(self.pad(y, 1)) + skip


class DmPreActResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_2d, widths = conv3(3, 64), [64, 64, 128, 256, 512]
        for n, (i, o) in enumerate(zip(widths, widths[1:])):
            self.add_module(f"layer_{n}", nn.Sequential(DmBlock(i, o, 2 if n else 1, True), DmBlock(o, o, 1, True)))
        self.batchnorm, self.logits = nn.BatchNorm2d(512), nn.Linear(512, 10)

    def forward(self, x):
        x = self.layer_3(self.layer_2(self.layer_1(self.layer_0(self.conv_2d(x)))))
        return self.logits(F.avg_pool2d(F.silu(self.batchnorm(x)), 4).flatten(1))


class DmWideResNet(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        n, widths = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.init_conv, groups = conv3(3, 16), []
        for g, (i, o) in enumerate(zip(widths, widths[1:])):
            group = nn.Module()
            group.block = nn.Sequential(*[DmBlock(i if b == 0 else o, o, 2 if b == 0 and g else 1, False) for b in range(n)])
            groups.append(group)
        self.layer = nn.ModuleList(groups)
        self.batchnorm, self.logits = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], 10)

    def forward(self, x):
        x = self.init_conv(x)
        for group in self.layer:
            x = group.block(x)
        return self.logits(F.avg_pool2d(F.silu(self.batchnorm(x)), 8).flatten(1))


class Dropout(nn.Module):
    """Dropout 0.5 with the numbers of the rule in place of a generator."""

    def forward(self, x):
        return x * (rule("dropout", x.shape) >= 0.5) * 2 if self.training else x


class TradesCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.feature_extractor, self.classifier = nn.Module(), nn.Module()
        for n, (i, o) in enumerate([(1, 32), (32, 32), (32, 64), (64, 64)], 1):
            self.feature_extractor.add_module(f"conv{n}", nn.Conv2d(i, o, 3))
        for n, (i, o) in enumerate([(1024, 200), (200, 200), (200, 10)], 1):
            self.classifier.add_module(f"fc{n}", nn.Linear(i, o))
        self.drop = Dropout()

    def forward(self, x):
        f, c = self.feature_extractor, self.classifier
        x = F.max_pool2d(F.relu(f.conv2(F.relu(f.conv1(x)))), 2)
        x = F.max_pool2d(F.relu(f.conv4(F.relu(f.conv3(x)))), 2)
        return c.fc3(F.relu(c.fc2(self.drop(F.relu(c.fc1(x.flatten(1)))))))


class LeNet5Madry(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.linear1, self.linear2 = nn.Linear(3136, 1024), nn.Linear(1024, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2))), 2)
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


class Resize(nn.Module):
    def forward(self, x):
        return F.interpolate(x, size=(28, 28))


class ImageNetBlock(nn.Module):
    """torchvision's BasicBlock and Bottleneck, written from its page and He et al. 2015."""

    def __init__(self, i, convs):
        super().__init__()
        self.count, width, strides = len(convs), i, 1
        for n, (kernel, o, stride) in enumerate(convs, 1):
            self.add_module(f"conv{n}", nn.Conv2d(width, o, kernel, stride, kernel // 2, bias=False))
            self.add_module(f"bn{n}", nn.BatchNorm2d(o))
            width, strides = o, strides * stride
        self.downsample = None
        if strides != 1 or i != width:
            self.downsample = nn.Sequential(nn.Conv2d(i, width, 1, strides, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = x
        for n in range(1, self.count + 1):
            y = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(y))
            y = F.relu(y) if n < self.count else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ImageNetResNet(nn.Module):
    def __init__(self, counts, bottleneck):
        super().__init__()
        self.conv1, self.bn1, i = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), 64
        for stage, count in enumerate(counts):
            blocks, w = [], 64 * 2**stage
            for n in range(count):
                s = 2 if n == 0 and stage > 0 else 1
                blocks.append(ImageNetBlock(i, [(1, w, 1), (3, w, s), (1, 4 * w, 1)] if bottleneck else [(3, w, s), (3, w, 1)]))
                i = 4 * w if bottleneck else w
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(i, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def small_cnn():
    pair = lambda i, o, stride: [nn.Conv2d(i, o, 3, stride, 1), nn.ReLU()]
    body = pair(1, 32, 1) + pair(32, 32, 2) + pair(32, 64, 1) + pair(64, 64, 2)
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(3136, 100), nn.ReLU(), nn.Linear(100, 10))


def mask_cnn():
    pair = lambda i, o, stride: [nn.Conv2d(i, o, 3, stride, 1), nn.LeakyReLU(0.2)]
    body = pair(1, 64, 2) + pair(64, 128, 1) + pair(128, 128, 1)
    return nn.Sequential(*body, Resize(), nn.Conv2d(128, 1, 3, padding=1), nn.Sigmoid())


NETWORKS = {
    "small_cnn": small_cnn,
    "mask_cnn": mask_cnn,
    "trades_cnn": TradesCnn,
    "lenet5_madry": LeNet5Madry,
    "preact_resnet18": PreActResNet18,
    "preact_resnet18_fat": lambda: PreActResNet18(final_norm=False),
    "resnet18": ResNet18,
    "mask_resnet18": lambda: ResNet18(mask=True),
    "wide_resnet": lambda: WideResNet(16, 2),
    "imagenet_resnet18": lambda: ImageNetResNet([2, 2, 2, 2], False),
    "imagenet_resnet50": lambda: ImageNetResNet([3, 4, 6, 3], True),
    "preact_resnet18_silu": lambda: silu(PreActResNet18()),
    "wide_resnet_silu": lambda: silu(WideResNet(16, 2)),
    "dm_preact_resnet18": DmPreActResNet18,
    "dm_wide_resnet": lambda: DmWideResNet(16, 2),
}
LARGE = ("imagenet_resnet18", "imagenet_resnet50")
DIGITS = ("small_cnn", "mask_cnn", "trades_cnn", "lenet5_madry")


def summary(tensors, prefix):
    rows = [(t.norm(), (t * (2 * rule(prefix + name, t.shape) - 1)).sum()) for name, t in sorted(tensors)]
    return torch.tensor(rows, dtype=torch.float64)


def golden(name):
    torch.manual_seed(0)
    net = NETWORKS[name]().double()
    state = net.state_dict()
    floats = [key for key in state if not key.endswith("num_batches_tracked")]
    net.load_state_dict({key: weights(key, state[key].shape) for key in floats}, strict=False)
    x = rule("x", (2, 1, 28, 28) if name in DIGITS else (2, 3, 64, 48) if name in LARGE else (2, 3, 32, 32)).requires_grad_()
    loss = lambda out: (out * (2 * rule("head", out.shape) - 1)).sum()

    logits = net.eval()(x)
    (d_input,) = torch.autograd.grad(loss(logits), x)
    train_logits = net.train()(x)
    named = list(net.named_parameters())
    found = torch.autograd.grad(loss(train_logits), [p for _, p in named])
    made = {
        "logits": logits,
        "d_input": d_input,
        "train_logits": train_logits,
        "gradients": summary([(key, g) for (key, _), g in zip(named, found)], "direction."),
    }
    running = [(key, t) for key, t in net.state_dict().items() if "running_" in key]
    if running:
        made["statistics"] = summary(running, "direction.")
    return {key: t.detach().float().contiguous() for key, t in made.items()}


if __name__ == "__main__":
    for name in sys.argv[1:] or NETWORKS:
        save_file(golden(name), pathlib.Path(__file__).parent / f"{name}.safetensors")
