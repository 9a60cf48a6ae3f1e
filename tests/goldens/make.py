"""Writes the goldens beside it: losses, objectives and attacks with their gradients, computed by PyTorch in float64.

Run with torch 2.11.0 and safetensors:  python tests/goldens/make.py
The formulas are written from the papers and the facts about the authors' codes, as plainly as possible: attacks that
stop early or search really shrink the batch. In each file the metadata maps cases to the foil configs they must equal;
a case named `….double` holds numbers so extreme that float32 cannot follow. tests/methods/goldens.rs reads all this.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)
torch.manual_seed(20)
CLASSES = 4


def normal(*shape):
    return torch.randn(*shape)


def save(name, tensors, cases):
    tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, HERE / f"{name}.safetensors", metadata={"cases": json.dumps(cases)})


# What several formulas share.


def per_image_ce(z, y):
    return F.cross_entropy(z, y, reduction="none")


def kl(target, other):
    """The call that all official codes make, summed over classes."""
    return F.kl_div(F.log_softmax(other, 1), F.softmax(target, 1), reduction="none").sum(1)


def probability(z, y):
    return F.softmax(z, 1).gather(1, y[:, None]).squeeze(1)


def without_label(z, y):
    """The logits of the other classes, [N, K-1]."""
    keep = torch.ones_like(z, dtype=torch.bool).scatter(1, y[:, None], False)
    return z[keep].view(len(z), -1)


def slm(z, y):
    return torch.logsumexp(without_label(z, y), 1) - z.gather(1, y[:, None]).squeeze(1)


# Losses: functions of the logits of each pass, the labels and the side tensors.


def at(z, y, side):
    return per_image_ce(z["adversarial"], y).mean()


def trades(beta, target="clean_again", detach=False):
    def loss(z, y, side):
        p = z[target].detach() if detach else z[target]
        robust = F.kl_div(F.log_softmax(z["adversarial"], 1), F.softmax(p, 1), reduction="batchmean")
        return F.cross_entropy(z["clean"], y) + beta * robust

    return loss


def mart(beta):
    def loss(z, y, side):
        q, p = F.softmax(z["adversarial"], 1), F.softmax(z["clean"], 1)
        runner_up = without_label(q, y).max(1).values
        bce = F.cross_entropy(z["adversarial"], y) - torch.log(1.0001 - runner_up + 1e-12).mean()
        divergence = F.kl_div(torch.log(q + 1e-12), p, reduction="none").sum(1)
        return bce + beta * (divergence * (1.0000001 - probability(z["clean"], y))).sum() / len(y)

    return loss


def alp(weight, clean_ce=False, length=False, smoothing=0.0):
    def loss(z, y, side):
        if clean_ce:
            both = torch.cat([z["clean"], z["adversarial"]])
            ce = F.cross_entropy(both, torch.cat([y, y]), label_smoothing=smoothing)
        else:
            ce = F.cross_entropy(z["adversarial"], y, label_smoothing=smoothing)
        d = z["clean"] - z["adversarial"]
        return ce + weight * (d.norm(dim=1).mean() if length else (d**2).mean())

    return loss


def mma(clean):
    def loss(z, y, side):
        margin = (per_image_ce(z["adversarial"], y) * side["mma.weight"]).sum() / len(y)
        return (1 - clean) * margin + clean * F.cross_entropy(z["clean_first"], y)

    return loss


def cat(beta, detach=False):
    """Eq. 13 of the CAT paper; `adversarial` is X_cali."""

    def loss(z, y, side):
        # Eq. 8: phi(f(X)Y) = L(f(X), Y) (1 - P(Y=y|X)), all of it of the natural image. The code's
        # weight has 1e-7 more.
        weight = 1.0000001 - probability(z["clean"], y)
        weight = weight.detach() if detach else weight
        phi = per_image_ce(z["clean"], y) * weight
        # The second phi of Eq. 12 is replaced by the KL, the only place of X_cali.
        return phi.mean() + beta * kl(z["clean"], z["adversarial"]).mean()

    return loss


TWO, THREE = ["clean", "adversarial"], ["clean", "adversarial", "clean_again"]
LOSSES = {
    "at": ("{ type: at }", ["adversarial"], at),
    "trades": ("{ type: trades, beta: 6 }", THREE, trades(6)),
    "trades_single": ("{ type: trades, beta: 1, single_clean_pass: true }", TWO, trades(1, "clean")),
    "trades_detached": ("{ type: trades, detach_target: true }", THREE, trades(6, detach=True)),
    "mart": ("{ type: mart }", TWO, mart(5)),
    "mart_of_fat": ("{ type: mart, beta: 6, adversarial_first: true }", TWO, mart(6)),
    "alp": ("{ type: alp }", TWO, alp(0.5)),
    "alp_official": ("{ type: alp, clean_ce: true, label_smoothing: 0.1 }", TWO, alp(0.5, True, smoothing=0.1)),
    "alp_length": ("{ type: alp, lambda: 0.25, distance: length }", TWO, alp(0.25, length=True)),
    "mma": ("{ type: mma }", ["clean_first", "adversarial"], mma(1 / 3)),
    "omma": ("{ type: mma, clean: 0 }", ["clean_first", "adversarial"], mma(0)),
    "cat": ("{ type: cat }", TWO, cat(5)),
    "cat_detached": ("{ type: cat, beta: 1, detach_weight: true }", TWO, cat(1, detach=True)),
}


def losses():
    tensors, cases = {}, {}
    for size, suffix in [(1.5, ""), (60.0, ".double")]:
        for name, (config, passes, loss) in LOSSES.items():
            case = name + suffix
            n = 7
            y = torch.randint(CLASSES, (n,))
            side = {"mma.weight": (torch.rand(n) < 0.7).double()} if "mma" in name else {}
            z = {p: (size * normal(n, CLASSES)).requires_grad_() for p in passes}
            if "clean_again" in z:  # two passes of the same images; their gradients are told apart
                z["clean_again"].data.copy_(z["clean"].data)
            total = loss(z, y, side)
            grads = torch.autograd.grad(total, list(z.values()), allow_unused=True)
            cases[case] = config
            tensors[f"{case}/y"], tensors[f"{case}/total"] = y, total
            for p, grad in zip(z, grads):
                tensors[f"{case}/z.{p}"] = z[p]
                tensors[f"{case}/grad.{p}"] = torch.zeros_like(z[p]) if grad is None else grad
            for key, value in side.items():
                tensors[f"{case}/side.{key}"] = value
    save("losses", tensors, cases)


# Objectives: per image, of the attacked logits; `clean` are the clean ones.


def ce(z, y, clean):
    return per_image_ce(z, y)


def towards_least_likely(z, y, clean):
    return -per_image_ce(z, clean.argmin(1))


def kl_to_clean(z, y, clean):
    return kl(clean, z)


def cw(kappa):
    def objective(z, y, clean):
        margin = z.gather(1, y[:, None]).squeeze(1) - without_label(z, y).max(1).values
        return -torch.clamp(margin + kappa, min=0)

    return objective


def slm_objective(z, y, clean):
    return slm(z, y)


OBJECTIVES = {
    "ce": ("{ type: ce }", ce),
    "kl": ("{ type: kl }", kl_to_clean),
    "cw": ("{ type: cw }", cw(50)),
    "cw_0": ("{ type: cw, kappa: 0 }", cw(0)),
    "cw_1": ("{ type: cw, kappa: 1.5 }", cw(1.5)),
    "slm": ("{ type: slm }", slm_objective),
    "least_likely": ("{ type: least_likely }", towards_least_likely),
}


def objectives():
    tensors, cases = {}, {}
    for size, suffix in [(1.5, ""), (60.0, ".double")]:
        for name, (config, objective) in OBJECTIVES.items():
            case = name + suffix
            y, clean = torch.randint(CLASSES, (7,)), size * normal(7, CLASSES)
            z = (size * normal(7, CLASSES)).requires_grad_()
            value = objective(z, y, clean)
            (grad,) = torch.autograd.grad(value.sum(), z)
            cases[case] = config
            found = {"y": y, "clean": clean, "z": z, "value": value, "grad": grad}
            tensors |= {f"{case}/{key}": tensor for key, tensor in found.items()}
    save("objectives", tensors, cases)


# Attacks, on foil::testing::TinyNet and a small mask network.


class TinyNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(3)
        self.fc = torch.nn.Linear(75, CLASSES)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).flatten(1))


class TinyMask(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, 3, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(3)
        self.out = torch.nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        return torch.sigmoid(self.out(F.leaky_relu(self.bn(self.conv(x)), 0.2)))


def fresh(net, seed):
    """Weights and running statistics that are a function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in net.state_dict().items():
        if "running" in key or key in ("bn.weight", "bn.bias"):
            shift = -0.5 if "mean" in key or "bias" in key else 0.5
            value.copy_(torch.rand(value.shape, generator=generator) + shift)
        elif "tracked" not in key:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
    return net


def input_gradient(f, x, value):
    x = x.detach().requires_grad_()
    z = f(x)
    (grad,) = torch.autograd.grad(value(z).sum(), x)
    return grad, z.detach()


def into(x_adv, x, eps, clip=True):
    x_adv = torch.min(torch.max(x_adv, x - eps), x + eps)
    return x_adv.clamp(0, 1) if clip else x_adv


def pgd(f, b, objective, eps, alpha, steps, mode="eval", clip=True, keep_worst=False):
    f.train(mode == "train")
    with torch.no_grad():
        clean = f(b["x"]) if objective in (kl_to_clean, towards_least_likely) else None
    x = b["start"]
    for _ in range(steps):
        grad, _ = input_gradient(f, x, lambda z: objective(z, b["y"], clean))
        x = into(x + alpha * grad.sign(), b["x"], eps, clip)
    if keep_worst:
        with torch.no_grad():
            f(x)
    return {"x": x}


def pgd_l2(f, b, eps, alpha, steps):
    f.eval()
    x = b["start"]
    for _ in range(steps):
        grad, _ = input_gradient(f, x, lambda z: ce(z, b["y"], None))
        x = x + alpha * grad / grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        delta = x - b["x"]
        length = delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        x = (b["x"] + torch.where(length > eps, delta / length * eps, delta)).clamp(0, 1)
    return {"x": x}


def early_stopped(f, b, objective, eps, alpha, steps, tau, omega):
    """Stopped images really leave; they are put back where they were in the batch."""
    f.eval()
    with torch.no_grad():
        clean = f(b["x"])
    result, x = b["start"].clone(), b["start"]
    rows, counter = torch.arange(len(x)), torch.full((len(x),), tau)
    for k in range(1, steps + 1):
        grad, z = input_gradient(f, x, lambda z: objective(z, b["y"][rows], clean[rows]))
        wrong = z.argmax(1) != b["y"][rows]
        stop = wrong & (counter == 0)
        result[rows[stop]] = x[stop]
        counter = counter - wrong.long()
        x, rows, counter, grad = x[~stop], rows[~stop], counter[~stop], grad[~stop]
        if len(rows) == 0:
            break
        x = into(x + alpha * grad.sign() + omega * b[f"noise.{k}"][rows], b["x"][rows], eps)
    result[rows] = x
    return {"x": result}


def an_pgd(f, b, d_max, e_min, steps, search_mode, whole=False):
    """On the correct images alone, as MMA's code; with `whole` on all of them, of which the correct ones count."""
    x0, y = b["x"], b["y"]
    correct = slm(b["clean_logits"], y) < 0
    rows = torch.arange(len(y)) if whole else correct.nonzero().squeeze(1)
    x0, y = x0[rows], y[rows]
    e = b["state.radius"][b["index"][rows]].clamp(min=e_min)
    eps = e.view(-1, 1, 1, 1)
    f.eval()
    x = b["start"][rows]
    for _ in range(steps):
        grad, _ = input_gradient(f, x, lambda z: slm(z, y))
        x = into(x + 2.5 * eps / steps * grad.sign(), x0, eps)
    u = (x - x0) / (eps + 1e-12)
    f.train(search_mode == "train")
    low, high = torch.zeros_like(e), torch.full_like(e, 1.05 * d_max)
    with torch.no_grad():
        margin = slm(f(x), y)
        for _ in range(10):
            for i in range(len(e)):
                if margin[i] < 0:
                    low[i] = max(low[i], e[i])
                else:
                    high[i] = min(high[i], e[i])
            e = (low + high) / 2
            margin = slm(f((x0 + e.view(-1, 1, 1, 1) * u).clamp(0, 1)), y)
    out, weight, distance = b["x"].clone(), torch.ones(len(b["y"])), torch.zeros(len(b["y"]))
    for i, row in enumerate(rows):
        if correct[row]:
            out[row] = x0[i] + e[i] * u[i]
            distance[row] = e[i]
            weight[row] = float(e[i] < d_max)
    radii = b["state.radius"].clone()
    radii[b["index"]] = distance
    return {"x": out, "side.mma.weight": weight, "side.mma.distance": distance, "after.radius": radii}


def correct_only(f, b, eps, alpha, steps):
    f.eval()
    with torch.no_grad():
        correct = f(b["x"]).argmax(1) == b["y"]
    x = pgd(f, b, ce, eps, alpha, steps)["x"]
    return {"x": torch.where(correct.view(-1, 1, 1, 1), x, b["x"])}


def calibrated(f, b, concat, beta1, lr):
    """Eq. 10 and 11, then g's update by Eq. 14 with plain SGD."""
    g = fresh(TinyMask(4 if concat else 2), 2).train()
    attacked = pgd(f, b, ce, 0.1, 0.04, 3, "train")["x"]
    f.train()
    delta = attacked - b["x"]
    sees = torch.cat([b["x"], delta], 1) if concat else b["x"] + delta
    with torch.no_grad():
        x = (b["x"] + g(sees) * delta).clamp(0, 1)
    mask = g(sees)
    with torch.no_grad():
        at_attacked = f((b["x"] + delta).clamp(0, 1))
    at_calibrated = f((b["x"] + mask * delta).clamp(0, 1))
    loss = F.kl_div(F.log_softmax(at_calibrated, 1), F.softmax(at_attacked, 1), reduction="batchmean")
    loss = loss + beta1 * F.cross_entropy(at_calibrated, b["y"])
    for value, grad in zip(g.parameters(), torch.autograd.grad(loss, list(g.parameters()))):
        value.data -= lr * grad
    return {"x": x, "side.mask": mask, "learned.mask_loss": loss, **{f"mask.{k}": v for k, v in numbers(g).items()}}


def numbers(net):
    return {k: v for k, v in net.state_dict().items() if "tracked" not in k}


def attacks():
    f = fresh(TinyNet(), 1)
    tensors = {f"model.{k}": v for k, v in numbers(f).items()}
    for inputs, name in [(2, "mask_sum"), (4, "mask_concat")]:
        tensors |= {f"{name}.{k}": v for k, v in numbers(fresh(TinyMask(inputs), 2)).items()}
    tensors = {k: v.clone() for k, v in tensors.items()}

    pgd_05 = "eps: 0.1, alpha: 0.04, steps: 5 }"
    fat = "{ type: early_stopped_pgd, eps: 0.15, alpha: 0.03, steps: 6, "
    search = "{ type: an_pgd, d_max: 0.08, e_min: 0.03, steps: 5, search_mode: "
    mask = (
        "{ type: calibrated, inner: { type: pgd, eps: 0.1, alpha: 0.04, steps: 3, mode: train }, mask: tiny_mask, "
        "beta1: 0.3, optimizer: { type: sgd, lr: 0.5, momentum: 0, weight_decay: 0 }, input: "
    )
    table = [
        ("pgd", "{ type: pgd, " + pgd_05, lambda b: pgd(f, b, ce, 0.1, 0.04, 5)),
        (
            "pgd_train",
            "{ type: pgd, objective: cw, mode: train, keep: worst, " + pgd_05,
            lambda b: pgd(f, b, cw(50), 0.1, 0.04, 5, "train", keep_worst=True),
        ),
        (
            "pgd_kl",
            "{ type: pgd, objective: kl, start: gaussian, " + pgd_05,
            lambda b: pgd(f, b, kl_to_clean, 0.1, 0.04, 5),
        ),
        (
            "pgd_kl_train",
            "{ type: pgd, objective: kl, mode: train, " + pgd_05,
            lambda b: pgd(f, b, kl_to_clean, 0.1, 0.04, 5, "train"),
        ),
        (
            "pgd_slm",
            "{ type: pgd, objective: slm, clip: false, " + pgd_05,
            lambda b: pgd(f, b, slm_objective, 0.1, 0.04, 5, clip=False),
        ),
        (
            "pgd_least_likely",
            "{ type: pgd, objective: least_likely, " + pgd_05,
            lambda b: pgd(f, b, towards_least_likely, 0.1, 0.04, 5),
        ),
        ("pgd_l2", "{ type: pgd, norm: L2, eps: 0.8, alpha: 0.3, steps: 5 }", lambda b: pgd_l2(f, b, 0.8, 0.3, 5)),
        ("fgsm", "{ type: fgsm, eps: 0.1 }", lambda b: pgd(f, b | {"start": b["x"]}, ce, 0.1, 0.1, 1)),
        (
            "fat_0",
            fat + "objective: ce, tau: 0, omega: 0.01 }",
            lambda b: early_stopped(f, b, ce, 0.15, 0.03, 6, 0, 0.01),
        ),
        (
            "fat_1",
            fat + "objective: ce, tau: 1, omega: 0.01 }",
            lambda b: early_stopped(f, b, ce, 0.15, 0.03, 6, 1, 0.01),
        ),
        (
            "fat_trades",
            fat + "objective: kl, tau: 2, start: gaussian }",
            lambda b: early_stopped(f, b, kl_to_clean, 0.15, 0.03, 6, 2, 0),
        ),
        ("an_pgd", search + "eval }", lambda b: an_pgd(f, b, 0.08, 0.03, 5, "eval")),
        ("an_pgd_train", search + "train }", lambda b: an_pgd(f, b, 0.08, 0.03, 5, "train")),
        (
            "correct_only",
            "{ type: correct_only, inner: { type: pgd, " + pgd_05 + " }",
            lambda b: correct_only(f, b, 0.1, 0.04, 5),
        ),
        ("cat_sum", mask + "sum }", lambda b: calibrated(f, b, False, 0.3, 0.5)),
        ("cat_concat", mask + "concat }", lambda b: calibrated(f, b, True, 0.3, 0.5)),
        (
            "an_pgd_batch",
            search + "train, search_statistics: batch }",
            lambda b: an_pgd(f, b, 0.08, 0.03, 5, "train", whole=True),
        ),
    ]
    cases = {}
    for case, config, attack in table:
        fresh(f, 1).eval()
        n = 5
        x = (torch.rand(n, 2, 5, 5) * 1.2 - 0.1).clamp(0, 1)
        with torch.no_grad():
            y = f(x).argmax(1)
        y[::4] = (y[::4] + 1) % CLASSES
        b = {"x": x, "y": y, "index": torch.randperm(32)[:n]}
        start = x + (0.001 * normal(*x.shape) if "gaussian" in config else 0.1 * (2 * torch.rand(x.shape) - 1))
        unclamped = "clip: false" in config or ("type: pgd" in config and "gaussian" in config)
        b["start"] = start if unclamped else start.clamp(0, 1)
        if "early" in config:
            b |= {f"noise.{k}": normal(*x.shape) for k in range(1, 7)}
        if "an_pgd" in config:
            b["clean_logits"] = f(x).detach()
            b["state.radius"] = torch.where(torch.rand(32) < 0.5, torch.zeros(32), torch.rand(32) * 0.08)
        result = attack(b)
        if case == "fgsm":
            del b["start"]  # foil must start at the image by itself
        result |= {f"running_{s}": getattr(f.bn, f"running_{s}") for s in ["mean", "var"]}
        if "early" in config:
            moved = (result["x"] != b["start"]).flatten(1).any(1)
            assert moved.any() and (not moved.all() or "fat_0" not in case), "the case shows no early stop"
        cases[case] = config
        tensors |= {f"{case}/{k}": v for k, v in b.items()}
        tensors |= {f"{case}/expected.{k}": v.detach().clone() for k, v in result.items()}
    save("attacks", tensors, cases)


# Whole training steps with the attacked images given: which passes are made, in which order, and
# what they move.

STEPS = {
    "at": ["adversarial", "after_update"],
    "trades": ["clean", "adversarial", "clean_again"],
    "trades_single": ["clean", "adversarial"],
    "trades_detached": ["clean", "adversarial", "clean_again"],
    "mart": ["clean", "adversarial"],
    "mart_of_fat": ["adversarial", "clean"],
    "alp": ["clean", "adversarial"],
    "alp_official": ["together"],
    "mma": ["clean_first", "adversarial"],
    "cat": ["adversarial", "clean", "after_update"],
}


def steps():
    f = TinyNet()

    def restart():
        fresh(f, 1).train()
        f.fc.weight.data *= 0.3  # logits of about 1, which float32 can follow through MART's log(q + 1e-12)

    restart()
    x = torch.rand(4, 2, 5, 5)
    x_adv = (x + 0.2 * torch.rand(x.shape) - 0.1).clamp(0, 1)
    y, weight = torch.tensor([0, 3, 1, 1]), torch.tensor([1.0, 1, 0, 1])
    tensors = {f"model.{k}": v.clone() for k, v in numbers(f).items()}
    tensors |= {"x": x, "x_adv": x_adv, "y": y, "weight": weight}
    cases = {}
    for case, passes in STEPS.items():
        restart()
        cases[case], _, loss = LOSSES[case]
        z = {}
        for name in passes:
            if name == "together":
                z["clean"], z["adversarial"] = f(torch.cat([x, x_adv])).chunk(2)
            elif name != "after_update":
                z[name] = f(x_adv if name == "adversarial" else x)
        total = loss(z, y, {"mma.weight": weight})
        gradient = torch.autograd.grad(total, list(f.parameters()))
        with torch.no_grad():
            for value, grad in zip(f.parameters(), gradient):
                value -= 0.1 * grad
            if "after_update" in passes:
                f(x)
        tensors[f"{case}/total"] = total
        tensors[f"{case}/gradient"] = torch.cat([grad.flatten() for grad in gradient])
        for s in ["running_mean", "running_var"]:
            tensors[f"{case}/{s}"] = getattr(f.bn, s).clone()
    save("steps", tensors, cases)


if __name__ == "__main__":
    losses()
    objectives()
    attacks()
    steps()
