"""`import foil` on real torch tensors and modules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import foil


class Small(torch.nn.Module):
    """Ten logits of 28 x 28 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)
        self.out = torch.nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.norm(x).flatten(1))
        return out


@pytest.fixture
def digits() -> tuple[Tensor, Tensor]:
    return foil.data("mnist_subset", limit=60)


@pytest.fixture
def module(digits: tuple[Tensor, Tensor]) -> Small:
    """Fitted a little, so that there is something to attack."""
    torch.manual_seed(0)
    made, (x, y) = Small(), digits
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(made(x), y).backward()
        optimizer.step()
    return made.eval()


def test_data_are_images_in_0_1(digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    assert x.shape == (60, 1, 28, 28) and y.shape == (60,) and y.dtype == torch.int64
    assert x.min() == 0 and x.max() == 1


def test_fgsm_is_the_sign_of_torchs_own_gradient(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    leaf = x.clone().requires_grad_()
    F.cross_entropy(module(leaf), y, reduction="sum").backward()
    assert leaf.grad is not None
    expected = (x + 0.1 * leaf.grad.sign()).clamp(0, 1)
    found = foil.attack("fgsm", eps=0.1)(module, x, y)
    assert torch.equal(found, expected)


def test_pgd_is_a_loop_in_torch(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    expected = x.clone()
    for _ in range(7):
        leaf = expected.detach().requires_grad_()
        F.cross_entropy(module(leaf), y, reduction="sum").backward()
        assert leaf.grad is not None
        expected = (expected + 0.02 * leaf.grad.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1).detach()
    found = foil.attack("pgd", eps=0.1, alpha=0.02, steps=7, start="none")(module, x, y)
    assert torch.allclose(found, expected, atol=1e-6)


def test_an_attack_leaves_the_module_as_it_was(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    module.train()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    foil.attack("pgd", eps=0.1, alpha=0.02, steps=2)(module, x, y)
    assert module.training and not module.norm.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(one.grad is None or not one.grad.isnan().any() for one in module.parameters())
    assert all(one.requires_grad for one in module.parameters())


def test_the_batch_size_changes_nothing(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    whole, parts = (
        foil.attack("pgd", eps=0.1, alpha=0.02, steps=3, start="uniform", seed=4, batch_size=size)(module, x, y)
        for size in (60, 7)
    )
    assert torch.allclose(whole, parts, atol=1e-6)
    other = foil.attack("pgd", eps=0.1, alpha=0.02, steps=3, start="uniform", seed=5)(module, x, y)
    assert not torch.allclose(whole, other, atol=1e-6)


def test_autoattack_is_the_strongest(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits[0][:20], digits[1][:20]
    attacks = {"fgsm": foil.attack("fgsm", eps=0.2), "autoattack": foil.autoattack(eps=0.2)}
    found = foil.evaluate(module, (x, y), attacks, progress=False)
    assert found["natural"] == 100 * float((module(x).argmax(1) == y).double().mean())
    assert found["worst_case"] <= found["autoattack"] <= found["fgsm"] < found["natural"]
    moved = (foil.autoattack(eps=0.2)(module, x, y) - x).abs().max()
    assert 0.1 < moved <= 0.2 + 1e-6


def test_mistakes_are_foils_errors_with_help(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    with pytest.raises(foil.Error, match="is 8, but") as raised:
        foil.attack("fgsm", eps=8)(module, x, y)
    assert "8/255" in str(raised.value)
    with pytest.raises(foil.Error, match="no attack is called `pdg`"):
        foil.attack("pdg", eps=0.1)(module, x, y)
    with pytest.raises(foil.Error, match=r"must be floats in \[0, 1\]"):
        foil.attack("fgsm", eps=0.1)(module, x * 255, y)
    with pytest.raises(foil.Error, match="labels are"):
        foil.attack("fgsm", eps=0.1)(module, x, y[:3])
    with pytest.raises(foil.Error, match="do not depend differentiably"):
        foil.attack("fgsm", eps=0.1)(torch.nn.Sequential(torch.nn.Flatten(), Stops(), module.out), x, y)


class Stops(torch.nn.Module):
    """No gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def test_what_the_module_raises_arrives_as_it_is(digits: tuple[Tensor, Tensor]) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad:
                raise ZeroDivisionError("mine")
            return x.flatten(1)[:, :10]

    with pytest.raises(ZeroDivisionError, match="mine"):
        foil.attack("fgsm", eps=0.1)(Broken(), *digits)


def test_tensors_cross_without_a_leak(module: Small, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    attacked = foil.attack("fgsm", eps=0.1)
    attacked(module, x, y)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    big, labels = x.repeat(20, 1, 1, 1), y.repeat(20)  # 3.8 MB
    for _ in range(3):
        attacked(module, big, labels)
    before = resident()
    for _ in range(40):
        attacked(module, big, labels)
    assert resident() - before < 40e6  # a leak of one copy per call would be 150 MB


def test_the_gil_is_free_while_foil_trains(pipeline: Path, tmp_path: Path) -> None:
    counted, done = 0, threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.01)

    thread = threading.Thread(target=count)
    thread.start()
    start = time.time()
    foil.train(pipeline, {"train.epochs": 2}, run_dir=tmp_path / "run", evaluate=False, progress=False)
    done.set()
    thread.join()
    assert counted > 20 * (time.time() - start), counted


def test_a_run_is_trained_loaded_evaluated_and_listed(pipeline: Path, tmp_path: Path) -> None:
    run = foil.train(pipeline, {"name": "mine"}, run_dir=tmp_path / "runs/mine", progress=False)
    assert len(run.metrics) == 1 and "small_cnn" in run.config
    record = run.evaluation
    assert record is not None and [one["name"] for one in record["entries"]] == ["natural", "pgd5"]
    network = run.load()
    x, y = foil.data("mnist_subset", limit=40)
    found = foil.evaluate(network, (x, y), progress=False)
    assert found["natural"] == pytest.approx(record["entries"][0]["accuracy"])
    leaf = x.clone().requires_grad_()
    F.cross_entropy(network(leaf), y).backward()
    assert leaf.grad is not None and float(leaf.grad.abs().sum()) > 0
    rows = foil.runs(tmp_path / "runs")
    assert rows[0]["name"] == "mine" and rows[0]["natural"] == record["entries"][0]["accuracy"]
    again = foil.evaluate(run, overrides={"evaluate": ["natural"]}, progress=False)
    assert again["entries"][0]["accuracy"] == record["entries"][0]["accuracy"]
    with pytest.raises(foil.Error, match="stays on its device"):
        network.double()
    with pytest.raises(foil.Error, match="no train mode"):
        network.train()


def test_a_loaded_network_is_the_exported_program(pipeline: Path, tmp_path: Path) -> None:
    normalize = {"normalize": {"mean": [0.1], "std": [0.3]}}
    run = foil.train(pipeline, normalize, run_dir=tmp_path / "run", evaluate=False, progress=False)
    words = [sys.executable, "-m", "foil", "export", str(run.path), "--format", "torchscript"]
    subprocess.run(words, check=True, capture_output=True)
    x, _ = foil.data("mnist_subset", limit=16)
    exported = torch.jit.load(str(run.path / "best.pt"))(x)
    assert torch.allclose(run.load()(x), exported, atol=1e-4)


def test_a_comparison_is_a_record(pipeline: Path, tmp_path: Path) -> None:
    found = foil.compare([pipeline], seeds=2, dir=tmp_path / "runs", progress=False)
    assert "tiny" in str(found)


def test_problems_of_a_pipeline_are_an_exception(pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(foil.Error, match="unknown key `betta`"):
        foil.train(pipeline, {"loss": {"type": "trades", "betta": 1}}, run_dir=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(foil.Error, match="not a run|does not exist"):
        foil.load(tmp_path / "nothing")


def test_ctrl_c_saves(pipeline: Path, tmp_path: Path) -> None:
    # Where the tests run in the background, a shell has told their processes to ignore Ctrl-C.
    script = f"""
import signal
import foil
signal.signal(signal.SIGINT, signal.default_int_handler)
foil.train({str(pipeline)!r}, {{"train.epochs": 1000}}, run_dir={str(tmp_path / "run")!r}, evaluate=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (tmp_path / "run/metrics.jsonl").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt: stopped and saved; resume with foil.resume(" in errors
    assert (tmp_path / "run/state.safetensors").exists()


def test_a_mistake_in_ones_own_progress_stops_and_saves(pipeline: Path, tmp_path: Path) -> None:
    from foil import _foil

    def told(*_: object) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        _foil.train(pipeline, ["train.epochs=50"], tmp_path / "run", told)
    assert (tmp_path / "run/state.safetensors").exists()
