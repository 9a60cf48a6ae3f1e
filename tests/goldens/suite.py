"""The attacks of the evaluation suite as plain PyTorch, the oracle of tests/methods/suite.rs and the peer of its timings.

Run with torch 2.11.0 and safetensors:
  python tests/goldens/suite.py            writes suite.safetensors beside it, in float64
  python tests/goldens/suite.py --time RUN.safetensors DIGITS EPS   times AutoAttack on a small_cnn checkpoint (2 threads)
Written from the papers and the facts about the authors' code as plainly as possible: batches really shrink, searches are
searches. Random numbers come from `draw(name, shape of a row, rows)`: for the goldens the hash of foil's noise.rs, which is
stated here once more; for the timing torch.rand.
"""

import json
import math
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

U64 = (1 << 64) - 1
MASK = 0xFFFFFFFF


# Keyed random numbers.


def name_key(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & U64
    return h


def key_of(parts):
    h = 0x9E3779B97F4A7C15
    for part in parts:
        h = ((h ^ part) + 0x9E3779B97F4A7C15) & U64
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & U64
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & U64
        h ^= h >> 31
    return h >> 1


def mix(h):
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & MASK
    h = ((h ^ (h >> 15)) * 0x846CA68B) & MASK
    return h ^ (h >> 16)


class Keyed:
    """Uniform and normal numbers as a function of the key, the name and the image's index."""

    def __init__(self, key, index):
        self.key, self.index = key, index

    def uniform(self, name, row, rows):
        key = self.key ^ name_key(name)
        images = mix(mix((self.index[rows] + (key & MASK)) & MASK) ^ (key >> 32))
        columns = mix((torch.arange(math.prod(row)) * 0x9E3779B9) & MASK)
        bits = mix(images[:, None] ^ columns)
        return ((bits >> 8).double() / 16777216.0).view(-1, *row)

    def normal(self, name, row, rows):
        radius = 1.0 - self.uniform(name + ".radius", row, rows)
        angle = self.uniform(name + ".angle", row, rows) * (2 * math.pi)
        return (radius.log() * -2.0).sqrt() * angle.cos()


class Torch:
    """The same from torch's generator."""

    def uniform(self, name, row, rows):
        return torch.rand(len(rows), *row)

    def normal(self, name, row, rows):
        return torch.randn(len(rows), *row)


# What the attacks share. `rows` are the places in the whole batch of the images at hand.


def length(d, norm):
    flat = d.flatten(1)
    return (flat.abs().amax(1) if norm == "Linf" else flat.norm(dim=1)).view(-1, 1, 1, 1)


def unit(d, norm):
    return d / length(d, norm).clamp_min(1e-12)


def project(x_adv, x, eps, norm):
    if norm == "Linf":
        x_adv = torch.min(torch.max(x_adv, x - eps), x + eps)
    else:
        d = x_adv - x
        x_adv = x + d * (eps / length(d, norm).clamp_min(1e-12)).clamp_max(1.0)
    return x_adv.clamp(0, 1)


def margin(z, y):
    others = z.scatter(1, y[:, None], -math.inf).amax(1)
    return z.gather(1, y[:, None]).squeeze(1) - others


def gradient(f, x, value):
    x = x.detach().requires_grad_()
    z = f(x)
    v = value(z)
    (g,) = torch.autograd.grad(v.sum(), x)
    return g, v.detach(), z.detach()


def ce(z, y, _):
    return F.cross_entropy(z, y, reduction="none")


def dlr(z, y, _):
    top = z.sort(1, descending=True).values
    return -margin(z, y) / (top[:, 0] - top[:, 2] + 1e-12)


def dlr_towards(z, y, t):
    top = z.sort(1, descending=True).values
    lead = z.gather(1, y[:, None]).squeeze(1) - z.gather(1, t[:, None]).squeeze(1)
    return -lead / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)


# APGD: one run. Per-step tables of losses as in the paper, from which each checkpoint counts.


def apgd(f, x, y, draw, rows, name, eps, norm, value, steps=100, rho=0.75, t=None):
    if norm == "Linf":
        start = 2 * draw.uniform(name + ".start", x.shape[1:], rows).to(x) - 1
    else:
        start = draw.normal(name + ".start", x.shape[1:], rows).to(x)
    x_k = (x + eps * unit(start, norm)).clamp(0, 1)
    value_at = lambda z: value(z, y, t)
    g, best, z = gradient(f, x_k, value_at)
    wrong = z.argmax(1) != y
    x_wrong, x_best, g_best = x_k.clone(), x_k.clone(), g.clone()
    x_last = x_k.clone()
    step = torch.full_like(best, 2 * eps)
    losses = torch.zeros(steps, len(x), dtype=x.dtype)
    window, least, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    best_then, reduced_then = best.clone(), torch.ones_like(wrong)
    since = 0
    for k in range(steps):
        a = 1.0 if k == 0 else 0.75
        way = g.sign() if norm == "Linf" else unit(g, norm)
        v = project(x_k + step.view(-1, 1, 1, 1) * way, x, eps, norm)
        ahead = project(x_k + a * (v - x_k) + (1 - a) * (x_k - x_last), x, eps, norm)
        x_last, x_k = x_k, ahead
        g, loss, z = gradient(f, x_k, value_at)
        hit = z.argmax(1) != y
        x_wrong[hit] = x_k[hit]
        wrong |= hit
        losses[k] = loss
        up = loss > best
        x_best[up], g_best[up], best[up] = x_k[up], g[up], loss[up]
        since += 1
        if since == window:
            before = torch.cat([losses[-1:] if k + 1 == window else losses[k - window : k - window + 1], losses[k - window + 1 : k]])
            rises = (losses[k - window + 1 : k + 1] > before).sum(0)
            halve = (rises <= rho * window) | (~reduced_then & (best_then >= best))
            step[halve] /= 2
            x_k = torch.where(halve.view(-1, 1, 1, 1), x_best, x_k)
            g = torch.where(halve.view(-1, 1, 1, 1), g_best, g)
            reduced_then, best_then, since = halve, best.clone(), 0
            window = max(window - shrink, least)
    return torch.where(wrong.view(-1, 1, 1, 1), x_wrong, x_best)


# FAB: the change with the smallest norm that reaches a plane within the cube, found by halving
# intervals of lambda.


def onto_plane(x, g, height, norm):
    shape, x, w = x.shape, x.flatten(1), g.flatten(1)
    w = torch.where(height[:, None] < 0, -w, w)
    goal = height.abs()[:, None]
    room = torch.where(w > 0, x, 1 - x) * (w != 0)
    size = w.abs()
    if norm == "Linf":
        moved = lambda lam: torch.min(lam, room)
        top = room.amax(1, keepdim=True)
    else:
        moved = lambda lam: torch.min(lam * size, room)
        top = torch.where(size > 0, room / size, 0.0).amax(1, keepdim=True)
    low, high = torch.zeros_like(top), top.clone()
    for _ in range(200 if x.dtype == torch.float64 else 60):
        middle = (low + high) / 2
        short = (size * moved(middle)).sum(1, keepdim=True) < goal
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return -(w.sign() * moved(high)).view(shape)


def onto_plane_sorted(x, g, height, norm):
    """The same by sorting, for the timing: the fastest way that PyTorch offers."""
    shape, x, w = x.shape, x.flatten(1), g.flatten(1)
    w = torch.where(height[:, None] < 0, -w, w)
    goal = height.abs()[:, None]
    way = torch.where(w > 0, x, 1 - x) * (w != 0)
    cost, room = (w.abs(), way) if norm == "Linf" else (w**2, way / w.abs().clamp_min(1e-30))
    rooms, order = room.sort(1)
    costs = cost.gather(1, order)
    spent = (costs * rooms).cumsum(1) - costs * rooms
    moving = costs.sum(1, keepdim=True) - costs.cumsum(1) + costs
    piece = ((spent + moving * rooms) < goal).sum(1, keepdim=True)
    at = piece.clamp_max(x.shape[1] - 1)
    lam = ((goal - spent.gather(1, at)) / moving.gather(1, at).clamp_min(1e-30)).clamp_min(0)
    lam = torch.where(piece == x.shape[1], rooms[:, -1:], lam)
    moved = torch.min(lam, room)
    return -((w.sign() if norm == "Linf" else w) * moved).view(shape)


def fab(f, x, y, draw, rows, name, eps, norm, rank, steps=100, alpha_max=0.1, eta=1.05, beta=0.9, plane=onto_plane):
    with torch.no_grad():
        t = f(x).argsort(1, descending=True)[:, rank]
    x_k, nearest, distance = x.clone(), x.clone(), torch.full((len(x),), 1e10, dtype=x.dtype)
    lead = lambda z: z.gather(1, t[:, None]).squeeze(1) - z.gather(1, y[:, None]).squeeze(1)
    for _ in range(steps):
        g, height, _ = gradient(f, x_k, lead)
        d1 = plane(x_k, g, height, norm)
        d2 = plane(x, g, height + (g * (x - x_k)).flatten(1).sum(1), norm)
        l1, l2 = length(d1, norm).clamp_min(1e-8), length(d2, norm).clamp_min(1e-8)
        a = (l1 / (l1 + l2)).clamp_max(alpha_max)
        x_k = ((1 - a) * (x_k + eta * d1) + a * (x + eta * d2)).clamp(0, 1)
        with torch.no_grad():
            hit = f(x_k).argmax(1) != y
        far = length(x_k - x, norm).view(-1)
        nearer = hit & (far < distance)
        nearest[nearer], distance[nearer] = x_k[nearer], far[nearer]
        x_k[hit] = x[hit] + beta * (x_k[hit] - x[hit])
    return torch.where((distance <= eps).view(-1, 1, 1, 1), nearest, x)


# Square: windows are cut out of the images one by one, unless they are the same for all (as in
# AutoAttack's own code).


def share(i, p):
    for at in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
        p = p / 2 if i > at else p
    return p


def bumps(rows, columns):
    out = torch.zeros(rows, columns)
    for k in range(max(rows // 2, columns // 2) + 1):
        r, c = rows // 2, columns // 2
        out[max(r - k, 0) : r + k + 1, max(c - k, 0) : c + k + 1] += 1 / (k + 1) ** 2
    return out / out.norm()


def eta_of(s, turned):
    out = torch.cat([bumps(s // 2, s), -bumps(s - s // 2, s)])
    out = out / out.norm()
    return out.T if turned else out


def square(f, x, y, draw, rows, name, eps, norm, n_queries=5000, p_init=0.8, shared=False):
    n, c, h, w = x.shape
    plus = lambda u: torch.where(u >= 0.5, 1.0, -1.0).to(x)
    with torch.no_grad():
        if norm == "Linf":
            x_best = (x + eps * plus(draw.uniform(name + ".start", [c, 1, w], rows))).clamp(0, 1)
        else:
            s = min(h, w) // 5
            u = draw.uniform(name + ".start", [25, 1 + c], rows)
            d = torch.zeros_like(x)
            top, left = (h - 5 * s) // 2, (w - 5 * s) // 2
            for i in range(n):
                for cell in range(25):
                    r, col = top + cell // 5 * s, left + cell % 5 * s
                    d[i, :, r : r + s, col : col + s] = eta_of(s, u[i, cell, 0] >= 0.5) * plus(u[i, cell, 1:])[:, None, None]
            x_best = (x + eps * unit(d, norm)).clamp(0, 1)
        best = margin(f(x_best), y)
        for i in range(n_queries):
            if i % 50 == 0:
                numbers = draw.uniform(f"{name}.{i}", [50, 5 + c], rows)
            live = (best > 0).nonzero().view(-1)
            if len(live) == 0:
                break
            u = numbers[live, i % 50]
            s = round(math.sqrt(share(i, p_init) * h * w))
            if norm == "Linf":
                s = min(max(s, 1), h, w)
                new = x_best[live].clone()
                if shared:
                    r, col = int(u[0, 0] * (h - s)), int(u[0, 1] * (w - s))
                    new[:, :, r : r + s, col : col + s] += 2 * eps * plus(u[0, 5:])[:, None, None]
                else:
                    for j in range(len(live)):
                        r, col = int(u[j, 0] * (h - s)), int(u[j, 1] * (w - s))
                        new[j, :, r : r + s, col : col + s] += 2 * eps * plus(u[j, 5:])[:, None, None]
                new = project(new, x[live], eps, norm)
            else:
                s = max(s, 3)
                s += 1 - s % 2
                s = s if s <= min(h, w) else min(h, w) - 1 + min(h, w) % 2
                d = (x_best - x)[live].clone()
                for j in range(len(live)):
                    corner = [int(u[j, k] * ((h if k % 2 == 0 else w) - s)) for k in range(4)]
                    a = (slice(None), slice(corner[0], corner[0] + s), slice(corner[1], corner[1] + s))
                    b = (slice(None), slice(corner[2], corner[2] + s), slice(corner[3], corner[3] + s))
                    both = torch.zeros_like(d[j])
                    both[a] = 1
                    both[b] = 1
                    fresh = eta_of(s, u[j, 4] >= 0.5) * plus(u[j, 5:])[:, None, None]
                    fresh = fresh + d[j][a] / (1e-12 + d[j][a].flatten(1).norm(dim=1)[:, None, None])
                    unused = max(eps**2 - d[j].norm() ** 2, torch.zeros(())) / c
                    size = (unused + (d[j] * both).norm() ** 2).sqrt()
                    fresh = fresh / (1e-12 + fresh.flatten(1).norm(dim=1)[:, None, None]) * size
                    d[j][b] = 0
                    d[j][a] = fresh
                new = (x[live] + eps * unit(d, norm)).clamp(0, 1)
            m = margin(f(new), y[live])
            take = m < best[live]
            x_best[live[take]], best[live[take]] = new[take], m[take]
    return x_best


# AutoAttack: survivors continue.


def autoattack(f, x, y, draw, eps, norm="Linf", steps=100, n_queries=5000, targets=9, log=None, plane=onto_plane, shared=False):
    with torch.no_grad():
        z = f(x)
    found, standing = x.clone(), z.argmax(1) == y
    count = z.shape[1]

    def stage(run):
        rows = standing.nonzero().view(-1)
        if len(rows) == 0:
            return
        got = run(x[rows], y[rows], rows)
        with torch.no_grad():
            broken = f(got).argmax(1) != y[rows]
        found[rows[broken]] = got[broken]
        standing[rows[broken]] = False

    def told(name, then=[time.time()]):
        if log is not None:
            log.append((name, int(standing.sum())))

    told("clean")
    stage(lambda x, y, r: apgd(f, x, y, draw, r, "apgd_ce.1", eps, norm, ce, steps))
    told("apgd_ce")
    for rank in range(1, min(targets, count - 1) + 1):

        def towards(x, y, r):
            with torch.no_grad():
                t = f(x).argsort(1, descending=True)[:, rank]
            return apgd(f, x, y, draw, r, f"apgd_t.{rank}", eps, norm, dlr_towards, steps, t=t)

        stage(towards)
    told("apgd_t")
    for rank in range(1, min(targets, count - 1) + 1):
        stage(lambda x, y, r: fab(f, x, y, draw, r, "", eps, norm, rank, steps, plane=plane))
    told("fab_t")
    stage(lambda x, y, r: square(f, x, y, draw, r, "square.1", eps, norm, n_queries, shared=shared))
    told("square")
    return found, standing


def goldens():
    from make import HERE, TinyNet, fresh, numbers
    from safetensors.torch import save_file

    f = fresh(TinyNet(), 1).eval()
    tensors = {f"model.{k}": v for k, v in numbers(f).items()}
    index = torch.arange(24) * 3
    draw, cases = Keyed(key_of([11]), index), {}
    generator = torch.Generator().manual_seed(3)
    x = (torch.rand(24, 2, 5, 5, generator=generator) * 1.2 - 0.1).clamp(0, 1)
    with torch.no_grad():
        y = f(x).argmax(1)
    y[3] = (y[3] + 1) % 4  # one that is wrong from the start
    tensors |= {"x": x, "y": y, "index": index}
    everyone = torch.arange(24)

    def case(name, config, found):
        cases[name] = config
        tensors[name] = found.detach().contiguous()

    for norm, eps in [("Linf", 0.03), ("L2", 0.2)]:
        of = f"norm: {norm}, eps: {eps}"
        one = (f, x, y, draw, everyone)
        case(f"apgd_ce_{norm}", f"{{ type: apgd, {of} }}", apgd(*one, "apgd_ce.1", eps, norm, ce))
        case(f"apgd_dlr_{norm}", f"{{ type: apgd, objective: dlr, steps: 40, {of} }}", apgd(*one, "apgd_dlr.1", eps, norm, dlr, 40))
        for target in (1, 3):
            run = fab(*one, "", eps, norm, target, 30)
            case(f"fab_{target}_{norm}", f"{{ type: fab_t, steps: 30, {of} }}", run)
        case(f"square_{norm}", f"{{ type: square, n_queries: 300, {of} }}", square(*one, "square.1", eps, norm, 300))
        log = []
        small = {"Linf": 0.025, "L2": 0.15}[norm]  # one step leaves something to APGD-T, and to FAB-T
        found, standing = autoattack(f, x, y, draw, small, norm, 1, 200, log=log)
        config = f"{{ type: autoattack, norm: {norm}, eps: {small}, steps: 1, n_queries: 200 }}"
        case(f"autoattack_{norm}", config, found)
        tensors[f"autoattack_{norm}.standing"] = standing
        print(norm, log)
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, HERE / "suite.safetensors", metadata={"cases": json.dumps(cases)})


def timing(weights, digits, eps):
    from safetensors.torch import load_file

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    state = load_file(weights)
    data = load_file(digits)
    conv = torch.nn.Conv2d
    relu = torch.nn.ReLU
    f = torch.nn.Sequential(
        conv(1, 32, 3, padding=1), relu(), conv(32, 32, 3, padding=1, stride=2), relu(),
        conv(32, 64, 3, padding=1), relu(), conv(64, 64, 3, padding=1, stride=2), relu(),
        torch.nn.Flatten(), torch.nn.Linear(3136, 100), relu(), torch.nn.Linear(100, 10),
    )  # fmt: skip
    f.load_state_dict(state)
    f.eval().requires_grad_(False)
    x, y = data["x"], data["y"]
    started, log = time.time(), []
    batch = 250  # AutoAttack's own
    right = 0
    for at in range(0, len(x), batch):
        _, standing = autoattack(
            f, x[at : at + batch], y[at : at + batch], Torch(), eps, plane=onto_plane_sorted, shared=True, log=log
        )
        right += int(standing.sum())
        print(at + batch, right, f"{time.time() - started:.1f} s", log[-5:], flush=True)
    print(f"{100 * right / len(x):.2f} % of {len(x)} in {time.time() - started:.1f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--time"]:
        timing(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        torch.set_default_dtype(torch.float64)
        sys.path.insert(0, str(pathlib.Path(__file__).parent))
        goldens()
