"""CAT's training step on MNIST in plain PyTorch: what the mask does.

Written from the equations of the paper and the settings of the authors' script, with nothing of foil in it.

    python cat_mask.py MNIST --eps 0.4 --steps 500 --batch 32 --attack-steps 4 --authors --seed 1
    python cat_mask.py MNIST --eps 0.4 --steps 500 --batch 32 --attack-steps 4 --mask-rate 1e-4

MNIST is a folder with the four .gz files. Prints a line of CSV every tenth step. `--authors`: images that may leave [0, 1],
and starts within 0.1.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BETA, BETA1, KAPPA = 1.0, 0.3, 150.0


def networks():
    def conv(inputs, outputs, stride=1):
        return nn.Conv2d(inputs, outputs, 3, stride, 1)

    f = nn.Sequential(
        conv(1, 32), nn.ReLU(), conv(32, 32, 2), nn.ReLU(), conv(32, 64), nn.ReLU(), conv(64, 64, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(3136, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    # Its sigmoid is left to the step, to see what goes in.
    g = nn.Sequential(
        conv(1, 64, 2), nn.LeakyReLU(0.2), conv(64, 128), nn.LeakyReLU(0.2), conv(128, 128), nn.LeakyReLU(0.2),
        nn.Upsample((28, 28)), conv(128, 1),
    )  # fmt: skip
    return f, g


def images(folder, n):
    def read(name, offset):
        with gzip.open(Path(folder) / name) as file:
            return torch.tensor(np.frombuffer(file.read(), np.uint8, offset=offset))

    return read("train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:n], read("train-labels-idx1-ubyte.gz", 8)[:n].long()


def kl(target, logits):
    """KL(softmax target || softmax logits), the mean over the batch."""
    return F.kl_div(F.log_softmax(logits, 1), F.softmax(target, 1), reduction="batchmean")


def margin(z, y):
    label = F.one_hot(y, 10).to(z.dtype)
    return -((z * label).sum(1) - (z - 1e4 * label).amax(1) + KAPPA).clamp(min=0).sum()


def pgd(f, x, y, eps, steps, radius, keep, objective):
    delta = keep(x + torch.empty_like(x).uniform_(-radius, radius)) - x
    for _ in range(steps):
        delta.requires_grad_()
        z = f(x + delta)
        value = F.cross_entropy(z, y, reduction="sum") if objective == "ce" else margin(z, y)
        (gradient,) = torch.autograd.grad(value, delta)
        delta = (delta.detach() + eps / steps * gradient.sign()).clamp(-eps, eps)
        delta = keep(x + delta) - x
    return delta.detach()


def descend(optimizer, loss, network):
    optimizer.zero_grad()
    loss.backward()
    length = sum(p.grad.square().sum() for p in network.parameters()).sqrt().item()
    optimizer.step()
    return length


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist")
    parser.add_argument("--objective", choices=["ce", "cw"], default="cw")
    parser.add_argument("--eps", type=float, default=0.3)
    parser.add_argument("--attack-steps", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--mask-rate", type=float, default=1e-3)
    parser.add_argument("--authors", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    xs, ys = images(args.mnist, args.images)
    f, g = networks()
    of, og = torch.optim.Adam(f.parameters(), 1e-3), torch.optim.Adam(g.parameters(), args.mask_rate)
    keep = (lambda t: t) if args.authors else (lambda t: t.clamp(0, 1))
    radius = 0.1 if args.authors else args.eps

    print("step,natural_ce,attacked_ce,weighted_ce,kl,mask_kl,mask_ce,mask_mean,mask_logit_mean,mask_gradient,natural,attacked,calibrated")
    step = 0
    while step < args.steps:
        for rows in torch.randperm(len(xs)).split(args.batch)[: args.steps - step]:
            step += 1
            x, y = xs[rows].float() / 255, ys[rows]
            delta = pgd(f, x, y, args.eps, args.attack_steps, radius, keep, args.objective)

            # Eq. 10 and 11: X_cali = X + M delta, M = g(X, delta).
            mask = g(x + delta).sigmoid().detach()
            calibrated, clean = f(keep(x + mask * delta)), f(x)
            # Eq. 13: L(f(X), Y) (1 - P(Y=y|X)) (Eq. 8, both of the natural image) + beta KL between
            # X and X_cali.
            weight = 1.0000001 - F.softmax(clean, 1).gather(1, y[:, None])[:, 0]
            weighted_ce = (F.cross_entropy(clean, y, reduction="none") * weight).mean()
            follows = kl(clean, calibrated)
            descend(of, weighted_ce + BETA * follows, f)

            # Eq. 14: g learns on the updated f, KL with X' + beta1 L(f(X_cali), Y).
            logit = g(x + delta)
            mask = logit.sigmoid()
            attacked, calibrated_after = f(keep(x + delta)).detach(), f(keep(x + mask * delta))
            mask_kl, mask_ce = kl(attacked, calibrated_after), F.cross_entropy(calibrated_after, y)
            gradient = descend(og, mask_kl + BETA1 * mask_ce, g)

            if step % 10 == 0:
                right = [(z.argmax(1) == y).float().mean() for z in (clean, attacked, calibrated)]
                seen = [F.cross_entropy(clean, y), F.cross_entropy(attacked, y), weighted_ce, follows, mask_kl, mask_ce]
                seen += [mask.mean(), logit.mean(), gradient, *right]
                print(",".join([str(step), *(f"{torch.as_tensor(v).item():.4g}" for v in seen)]), flush=True)


if __name__ == "__main__":
    main()
