"""One training step of AT, TRADES and CAT_cw in plain PyTorch, for `foil probe` to be held against.

    python reference.py cat_cw --weights w.safetensors --batch b.safetensors --out pytorch.safetensors --dtype f64

Nothing of foil is used here. The settings are those of at.yaml, trades.yaml and cat_cw.yaml beside this file, the names
in the output are foil's. Needs torch and safetensors.
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


def cat_cw(f, g, x, y, start, out):
    f.train(), g.train()
    x_adv = pgd(f, x, start, lambda z: margin(z, y, 150).sum(), out)
    delta = x_adv - x

    # Eq. 10 and 11: X_cali = X + M delta.
    mask = g(x + delta).detach()
    x_cali = (x + mask * delta).clamp(0, 1)
    cali, clean = f(x_cali), f(x)
    # Eq. 13: L(f(X), Y) (1 - P(Y=y|X)), both of the natural image X (Eq. 8), + beta KL with X_cali. The code's weight has 1e-7 more.
    p_label = F.softmax(clean, 1).gather(1, y[:, None])[:, 0]
    weighted_ce = (F.cross_entropy(clean, y, reduction="none") * (1.0000001 - p_label)).mean()
    loss = weighted_ce + 5 * kl(clean, cali)
    update(f, sgd(f), loss, out)
    out.update({"x_adv": x_adv, "delta": delta, "mask": mask, "x_cali": x_cali})
    out.update({"logits.adv": cali, "logits.clean": clean})
    out.update({"loss.total": loss, "loss.weighted_ce": weighted_ce, "loss.kl": kl(clean, cali)})

    # Eq. 14: g learns on the updated f.
    mask = g(x + delta)
    cali = f((x + mask * delta).clamp(0, 1))
    mask_loss = kl(f((x + delta).clamp(0, 1)).detach(), cali) + 0.3 * F.cross_entropy(cali, y)
    update(g, adam(g), mask_loss, out, "mask.")
    with torch.no_grad():
        after = f(x)
    out.update({"loss.mask_loss": mask_loss, "loss.mask_mean": mask.mean(), "logits.clean_after_update": after})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["at", "trades", "cat_cw"])
    for file in ("weights", "batch", "out"):
        parser.add_argument(f"--{file}", required=True)
    parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
    args = parser.parse_args()

    dtype = torch.float64 if args.dtype == "f64" else torch.float32
    torch.set_num_threads(1)
    weights, batch = load_file(args.weights), load_file(args.batch)
    f, g = small_cnn().to(dtype), mask_cnn().to(dtype)
    f.load_state_dict({name: w for name, w in weights.items() if not name.startswith("mask.")})
    if args.method == "cat_cw":
        g.load_state_dict({name.removeprefix("mask."): w for name, w in weights.items() if name.startswith("mask.")})
    x, y, start = batch["x"].to(dtype), batch["y"], batch["start"].to(dtype)

    out = {}
    {"at": at, "trades": trades, "cat_cw": cat_cw}[args.method](f, g, x, y, start, out)
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in out.items()}, args.out)


if __name__ == "__main__":
    main()
