"""Writes what lies beside it, except itself, README.md and pipelines, from the parity packs.

    python make.py PACK…        (needs numpy and safetensors)

A pack is a folder that holds what the papers' published codes computed in one training step:
`weights`, `batches` and `expected`. README.md says what is in it. Weights and batches are kept
number by number; a file says in its metadata over which other one it lies (`over`), and then holds
only the tensors that differ from that one's; `without` are names that it does not have. Of what the
codes computed a digest of each tensor is kept, which tests/digest/mod.rs computes of foil's.
"""

import json
import pathlib
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent

# Case: weights, batch; and what the second network in the weights is called, if not `helper`.
CASES = {
    "at": ("norm", "uniform"),
    "trades": ("raw", "gaussian"),
    "mart": ("raw", "gaussian"),
    "fat0": ("raw", "fat"),
    "fat1": ("raw", "fat"),
    "fat2": ("raw", "fat"),
    "fattrades0": ("raw", "gaussian_clamped"),
    "fattrades1": ("raw", "gaussian_clamped"),
    "fattrades2": ("raw", "gaussian_clamped"),
    "fatmart0": ("raw", "gaussian_clamped"),
    "fatmart1": ("raw", "gaussian_clamped"),
    "mma": ("mma", "mma"),
    "mmaall": ("mmaall", "mmaall"),
    "cat_cent": ("norm_mask", "uniform"),
    "cat_cw": ("norm_mask", "uniform"),
    "trades_mnist": ("mlp", "trades_mnist"),
    "mma_mnist": ("mma_mnist", "mma_mnist"),
    "cat_cent_mnist": ("mnist_mask", "cat_mnist"),
    "fgsm_rs": ("norm", "uniform"),
    "n_fgsm": ("norm", "n_fgsm"),
    "at_awp": ("norm", "uniform"),
    "trades_awp": ("raw", "gaussian"),
    "hat": ("raw_helper", "gaussian"),
    "rslad": ("raw_helper", "gaussian", "teacher"),
    "ard": ("raw_helper", "uniform", "teacher"),
    "ard_mixed": ("raw_helper", "uniform", "teacher"),
    "lbgat0": ("raw_helper", "gaussian", "teacher"),
    "lbgat6": ("raw_helper", "gaussian", "teacher"),
    "free": ("free", "plain"),
    "fgsm_pgi": ("pgi", "unindexed"),
    "grad_align": ("raw", "inside"),
    "apgd_linf": ("raw", "plain"),
    "apgd_l2": ("raw", "plain"),
    "apgd_l1": ("raw", "plain"),
    "max": ("raw", "max"),
    "msd": ("raw", "msd"),
    "score": ("raw", "uniform"),
    "score_bound": ("raw", "gaussian_clamped"),
    "sam": ("raw", "plain"),
    "asam": ("raw", "plain"),
    "dkl": ("classes", "gaussian"),
    "gkl": ("classes", "gaussian"),
    "self_adaptive": ("labels", "gaussian"),
}

# Where the pack and foil name a tensor differently; None for what foil does not write.
NAMES = {
    "x_helper": "images.beyond",
    "logits.helper": "logits.beyond",
    "logits.helper_model": "logits.helper.adv",
    "loss.helper": "loss.beyond",
    "y_helper": None,
    "loss.awp": None,
}

# File: the one over which it lies.
OVER = {
    "weights": {
        **dict.fromkeys(["raw_helper", "mma", "classes", "labels"], "raw"),
        **dict.fromkeys(["norm_mask", "free"], "norm"),
        "pgi": "free",
        "mmaall": "mma",
        "mma_mnist": "mlp",
    },
    "batches": {
        **dict.fromkeys(["fat", "gaussian", "gaussian_clamped", "mma", "n_fgsm", "plain", "unindexed"], "uniform"),
        **dict.fromkeys(["inside", "max", "msd"], "plain"),
        "mmaall": "mma",
        **dict.fromkeys(["mma_mnist", "cat_mnist"], "trades_mnist"),
    },
}


def read(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata() or {}


def scattered(n, salt):
    """Numbers in [0, 1) by a 32-bit hash of place and salt."""
    full = np.uint64(0xFFFFFFFF)
    h = (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B1)) & full
    h ^= np.uint64((salt * 0x85EBCA6B) & 0xFFFFFFFF)
    for shift, factor in [(15, 0x2C1B3C6D), (12, 0x297A2D39)]:
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & full
    return ((h ^ (h >> np.uint64(15))) >> np.uint64(8)) / 2**24


def digest(tensor):
    flat = np.asarray(tensor, dtype=np.float64).reshape(-1)
    n, k = flat.size, min(8, flat.size)
    return {
        "shape": list(np.shape(tensor)),
        "largest": float(np.abs(flat).max()),
        "norm": float(np.sqrt((flat**2).sum())),
        "signed": float(np.where(scattered(n, 3) > 0.5, flat, -flat).sum()),
        "sample": [float(flat[i * n // k]) for i in range(k)],
    }


def of(packs, name):
    return next((pack / name for pack in packs if (pack / name).exists()), packs[0] / name)


def inputs(packs, kind, names):
    for name in sorted(names):
        tensors, _ = read(of(packs, f"{kind}/{name}.safetensors"))
        over = OVER[kind].get(name)
        metadata = {}
        if over is not None:
            metadata["over"] = over
            below, _ = read(of(packs, f"{kind}/{over}.safetensors"))
            if without := below.keys() - tensors.keys():
                metadata["without"] = " ".join(sorted(without))
            tensors = {k: t for k, t in tensors.items() if k not in below or not np.array_equal(t, below[k])}
        save_file(tensors, HERE / kind / f"{name}.safetensors", metadata=metadata)


def expected(packs, case):
    weights, batch, *network = CASES[case]
    tensors, about = read(of(packs, f"expected/{case}.f64.safetensors"))
    tensors = {NAMES.get(name, name): t for name, t in tensors.items() if not name.startswith("awp.")}
    tensors.pop(None, None)
    head = {
        "repository": about["official.repository"],
        "commit": about["official.commit"],
        "weights": weights,
        "batch": batch,
        "left_out": [name for name in about["left_out"].split() if not name.startswith("awp.")],
    }
    if network:
        head["network"] = network[0]
    parts = {"f64": tensors}
    single = of(packs, f"expected/{case}.f32.safetensors")
    if single.exists():
        tensors, _ = read(single)
        parts["f32"] = {name: t for name, t in tensors.items() if name.startswith(("loss.", "logits."))}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for dtype, tensors in parts.items():
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(digest(t))}" for name, t in tensors.items())
        lines.append(f'"{dtype}": {{\n{rows}\n}}')
    (HERE / f"expected/{case}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    packs = [pathlib.Path(pack) for pack in sys.argv[1:]]
    for folder in ["weights", "batches", "expected"]:
        (HERE / folder).mkdir(exist_ok=True)
    for case in CASES:
        expected(packs, case)
    bases = {kind: set(over.values()) for kind, over in OVER.items()}
    inputs(packs, "weights", {weights for weights, *_ in CASES.values()} | bases["weights"])
    inputs(packs, "batches", {batch for _, batch, *_ in CASES.values()} | bases["batches"])


if __name__ == "__main__":
    main()
