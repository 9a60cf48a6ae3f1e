"""Attacks, objectives and models in Python, each beside the built-in one that it repeats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import PIPELINE, Run
from torch import Tensor

import foil

FGSM = '''
import torch
import torch.nn.functional as F

import foil


class Signs(foil.Attack):
    """FGSM."""

    eps: float = foil.key(unit="image", above=0, at_most=1)

    def perturb(self, target, batch):
        gradient, logits = target.gradient(batch.x, lambda z: F.cross_entropy(z, batch.y, reduction="none"))
        assert torch.equal(logits, target.logits(batch.x))
        return (batch.x + self.eps * gradient.sign()).clamp(0, 1)
'''

CW = '''
import foil


class Margin(foil.Objective):
    """Carlini and Wagner's objective."""

    kappa: float = foil.key(50.0, at_least=0)

    def value(self, logits, y, clean):
        label = logits.gather(1, y[:, None]).squeeze(1)
        other = logits.scatter(1, y[:, None], float("-inf")).amax(1)
        return -(label - other + self.kappa).clamp(min=0)
'''

MODEL = '''
import torch

import foil


class Net(foil.Model):
    """Batch norm, dropout and a linear layer."""

    rate: float = foil.key(0.5, at_least=0, below=1)

    def build(self, channels, height, width, classes):
        return torch.nn.Sequential(
            torch.nn.BatchNorm2d(channels),
            torch.nn.Flatten(),
            torch.nn.Dropout(self.rate),
            torch.nn.Linear(channels * height * width, classes),
        )
'''


@pytest.fixture
def module() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))


def test_an_attack_is_the_built_in_one(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM)
    x, y = foil.data("mnist_subset", limit=30)
    ours = foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
    assert torch.equal(ours, foil.attack("fgsm", eps=0.1)(module, x, y))
    with pytest.raises(foil.Error, match="must be at most 1|is 8, but"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=8)(module, x, y)


def test_what_is_kept_of_an_attack_is_refused_later(module: torch.nn.Module, tmp_path: Path) -> None:
    text = FGSM.replace("        gradient, logits", "        torch.foil_kept = target\n        gradient, logits")
    (tmp_path / "signs.py").write_text(text)
    x, y = foil.data("mnist_subset", limit=4)
    foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
    with pytest.raises(RuntimeError, match="only while perturb runs"):
        torch.foil_kept.logits(x)  # type: ignore[attr-defined]
    del torch.foil_kept  # type: ignore[attr-defined]


def test_a_mistake_in_an_attack_has_its_line(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM.replace("F.cross_entropy(z, batch.y", "F.cross_entropy(z[:, :2], batch.y"))
    x, y = foil.data("mnist_subset", limit=30)
    with pytest.raises(foil.Error, match=r"signs\.py:14"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)


def test_an_objective_is_the_built_in_one(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "margin.py").write_text(CW)
    x, y = foil.data("mnist_subset", limit=30)

    def attacked(objective: object) -> Tensor:
        return foil.attack("pgd", eps=0.1, alpha=0.03, steps=4, start="none", objective=objective)(module, x, y)

    ours = attacked({"type": "python", "file": str(tmp_path / "margin.py"), "kappa": 50})
    assert torch.allclose(ours, attacked({"type": "cw", "kappa": 50}), atol=1e-6)


def test_a_module_trains_resumes_and_keeps_its_names(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "net.yaml").write_text(PIPELINE.replace("model: small_cnn", "model: { type: python, file: net.py }"))
    foil_command("check", "net.yaml")
    two = ["train.epochs=2", "train.checkpoint_steps=1"]
    foil_command("train", "net.yaml", *two, "--run-dir", "whole", "--no-eval")
    stop = "import foil, sys\ntold = lambda *a: a[0] == 2 and (_ for _ in ()).throw(KeyboardInterrupt)\n"
    stop += "from foil import _api, _foil\nfrom pathlib import Path\n"
    words = [f"{one}" for one in two]
    stop += f"_foil.train(Path('net.yaml'), {words!r}, Path('parts'), told)\n"
    stopped = subprocess.run([sys.executable, "-c", stop], cwd=tmp_path, capture_output=True, text=True)
    assert "stopped and saved" in stopped.stderr, stopped.stderr
    foil_command("train", "--resume", "parts", "--no-eval")
    whole, parts = ((tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "parts"))
    assert [json.loads(line)["train_loss"] for line in whole.splitlines()] == [
        json.loads(line)["train_loss"] for line in parts.splitlines()
    ]
    foil_command("export", "whole")
    state = torch.load(tmp_path / "whole/best.pth", weights_only=True)
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(784, 10))
    net.load_state_dict(state)
    x, _ = foil.data("mnist_subset", limit=20)
    assert torch.allclose(net.eval()(x), foil.load(tmp_path / "whole")(x), atol=1e-5)
    assert int(state["0.num_batches_tracked"]) > 0 and float(state["0.running_var"]) != 1.0


def test_a_module_that_gives_no_logits_is_named(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL.replace("height * width, classes)", "height * width, 7)"))
    (tmp_path / "net.yaml").write_text(PIPELINE.replace("model: small_cnn", "model: { type: python, file: net.py }"))
    assert "`model` is `python`" in foil_command("check", "net.yaml", code=1).stderr
    (tmp_path / "net.py").write_text(
        MODEL.replace("return torch.nn.Sequential(", "return list(")
        .replace("            torch.nn.BatchNorm2d(channels),\n", "            [torch.nn.BatchNorm2d(channels),\n")
        .replace("classes),\n        )", "classes)],\n        )")
    )
    assert "build returned list, but must return" in foil_command("check", "net.yaml", code=1).stderr
