"""One training step of AT, TRADES, CAT_cent and CAT_cw in plain PyTorch, to hold `foil probe` against.

    python reference.py cat_cw --weights w.safetensors --batch b.safetensors --out o.safetensors --dtype f64

Nothing of foil is used here. The settings of a method are those of METHOD.yaml beside this file,
the names in the output are foil's. A method whose name ends with _bn has a network with batch norm,
the others small_cnn. Needs torch and safetensors.
"""

import argparse

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

EPS, ALPHA, STEPS = 0.3, 0.1, 3


class Flatten(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), -1)


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(),
        Flatten(),
        nn.Linear(7 * 7 * 64, 100), nn.ReLU(),
        nn.Linear(100, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Pre-activation, of a wide ResNet: batch norm, ReLU, convolution, twice."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        y = F.relu(self.bn1(x))
        side = self.convShortcut(y) if hasattr(self, "convShortcut") else x
        return side + self.conv2(F.relu(self.bn2(self.conv1(y))))


class WideResNet(nn.Module):
    """Depth 10, width 1."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        for n, (inputs, outputs, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)]):
            group = nn.Module()
            group.layer = nn.Sequential(Block(inputs, outputs, stride))
            self.add_module(f"block{n + 1}", group)
        self.bn1, self.fc = nn.BatchNorm2d(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group.layer(x)
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


def mask_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(0.2),
        nn.Upsample((28, 28)), nn.Conv2d(128, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


def kl(target, logits):
    """KL(softmax target || softmax logits), the mean over the batch; gradients flow into both."""
    return F.kl_div(F.log_softmax(logits, 1), F.softmax(target, 1), reduction="batchmean")


def margin(logits, y, kappa):
    label = logits.gather(1, y[:, None])[:, 0]
    other = logits.scatter(1, y[:, None], -float("inf")).amax(1)
    return -(label - other + kappa).clamp(min=0)


def pgd(model, x, start, objective, out):
    """Ascends `objective(logits)`; the starting point is given, so nothing here is random."""
    x_adv = start.clone()
    out["iterate.0"] = x_adv
    for k in range(STEPS):
        x_adv = x_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(model(x_adv)), x_adv)
        x_adv = x_adv.detach() + ALPHA * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
        out[f"iterate.{k + 1}"] = x_adv
    return x_adv


def update(model, optimizer, loss, out, prefix=""):
    optimizer.zero_grad()
    loss.backward()
    for name, parameter in model.named_parameters():
        out[f"{prefix}grad.{name}"] = parameter.grad.clone()
    optimizer.step()
    for name, value in model.state_dict().items():
        out[f"{prefix}after.{name}"] = value.clone()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-2)


def at(f, _, x, y, start, out):
    f.train()
    x_adv = pgd(f, x, start, lambda z: F.cross_entropy(z, y, reduction="sum"), out)
    adv = f(x_adv)
    loss = F.cross_entropy(adv, y)
    update(f, sgd(f), loss, out)
    with torch.no_grad():
        after = f(x)
    out.update({"x_adv": x_adv, "logits.adv": adv, "logits.clean_after_update": after, "loss.total": loss})


def trades(f, _, x, y, start, out):
    f.eval()
    target = F.softmax(f(x).detach(), 1)
    x_adv = pgd(f, x, start, lambda z: F.kl_div(F.log_softmax(z, 1), target, reduction="sum"), out)
    f.train()
    clean, adv, again = f(x), f(x_adv), f(x)
    natural, robust = F.cross_entropy(clean, y), kl(again, adv)
    loss = natural + 6 * robust
    update(f, adam(f), loss, out)
    out.update({"x_adv": x_adv, "logits.clean": clean, "logits.adv": adv, "logits.clean_again": again})
    out.update({"loss.total": loss, "loss.natural": natural, "loss.robust": robust})


def cat(attack_loss):
    """One pass of the loop of Algorithm 1 of Huang et al. 2021. Where the paper leaves a choice the authors' code is named."""

    def step(f, g, x, y, start, out):
        f.train(), g.train()
        # Algorithm 1, line 1: X' = X + delta by PGD on the cross-entropy (CAT_cent) or on the CW
        # loss (CAT_cw).
        x_adv = pgd(f, x, start, lambda z: attack_loss(z, y), out)
        delta = x_adv - x

        # Eq. 11: M = g(X, delta). The code gives g the sum; what g would learn here is thrown away
        # before its own update.
        mask = g(x + delta).detach()
        # Eq. 10: X_cali = X + M * delta; the code clamps to [0, 1].
        x_cali = (x + mask * delta).clamp(0, 1)

        # Passes in the order of the code for CIFAR: X_cali, then X.
        cali = f(x_cali)
        clean = f(x)
        # P(Y|X) and P(Y|X_cali), as logarithms.
        log_p, log_q = F.log_softmax(clean, 1), F.log_softmax(cali, 1)
        # Eq. 8: phi(f(X)Y) = L(f(X), Y) * (1 - P(Y=y|X)). Both are of the natural image X. The
        # code's one is 1.0000001.
        log_p_label = log_p.gather(1, y[:, None])[:, 0]
        weighted_ce = (-log_p_label * (1.0000001 - log_p_label.exp())).mean()
        # Eq. 13 in place of the second phi of Eq. 12: the divergence of the two predictions.
        # Printed KL(P(Y|X_cali) || P(Y|X)); the code's kl_div(log q, p) is sum p (log p - log q).
        # Gradients flow through p, q and the weight.
        divergence = (log_p.exp() * (log_p - log_q)).sum(1).mean()
        loss = weighted_ce + 5 * divergence
        update(f, sgd(f), loss, out)
        out.update({"x_adv": x_adv, "delta": delta, "mask": mask, "x_cali": x_cali})
        out.update({"logits.adv": cali, "logits.clean": clean})
        out.update({"loss.total": loss, "loss.weighted_ce": weighted_ce, "loss.kl": divergence})

        # Algorithm 1, line 4: g learns by Eq. 14, on the updated f: X' first, then X_cali, made
        # again by Eq. 10 and 11.
        mask = g(x + delta)
        log_attacked = F.log_softmax(f((x + delta).clamp(0, 1)).detach(), 1)
        cali = f((x + mask * delta).clamp(0, 1))
        # Eq. 14: KL(P(Y|X_cali) || P(Y|X')), in the code as above, + beta1 * L(f(X_cali), Y).
        follow = (log_attacked.exp() * (log_attacked - F.log_softmax(cali, 1))).sum(1).mean()
        mask_loss = follow + 0.3 * F.cross_entropy(cali, y)
        update(g, adam(g), mask_loss, out, "mask.")
        with torch.no_grad():
            after = f(x)
        # What f is at the end of the step: all passes have moved its batch norm.
        out.update({f"after.{name}": value.clone() for name, value in f.state_dict().items()})
        out.update({"loss.mask_loss": mask_loss, "loss.mask_mean": mask.mean(), "logits.clean_after_update": after})

    return step


def ce_sum(z, y):
    return F.cross_entropy(z, y, reduction="sum")


def cw_sum(z, y):
    return margin(z, y, 150).sum()


METHODS = {
    "at": at,
    "trades": trades,
    "cat_cent": cat(ce_sum),
    "cat_cw": cat(cw_sum),
    "cat_cent_bn": cat(ce_sum),
    "cat_cw_bn": cat(cw_sum),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=list(METHODS))
    for file in ("weights", "batch", "out"):
        parser.add_argument(f"--{file}", required=True)
    parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
    args = parser.parse_args()

    dtype = torch.float64 if args.dtype == "f64" else torch.float32
    torch.set_num_threads(1)
    weights, batch = load_file(args.weights), load_file(args.batch)
    f = WideResNet() if args.method.endswith("_bn") else small_cnn()
    f, g = f.to(dtype), mask_cnn().to(dtype)
    f.load_state_dict({name: w for name, w in weights.items() if not name.startswith("mask.")})
    if args.method.startswith("cat"):
        g.load_state_dict({name.removeprefix("mask."): w for name, w in weights.items() if name.startswith("mask.")})
    x, y, start = batch["x"].to(dtype), batch["y"], batch["start"].to(dtype)

    out = {}
    METHODS[args.method](f, g, x, y, start, out)
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in out.items()}, args.out)


if __name__ == "__main__":
    main()
