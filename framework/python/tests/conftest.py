"""What the tests share. They run where the wheel is installed beside a real torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Run = Callable[..., subprocess.CompletedProcess[str]]

PIPELINE = """\
data: mnist_subset
images: { train_limit: 200, test_limit: 40 }
model: small_cnn
attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform }
loss: at
optimizer: { type: adam, lr: 0.002 }
train: { epochs: 1, batch_size: 50 }
attacks:
  pgd5: { type: pgd, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }
select: natural
evaluate: [natural, pgd5]
"""

ATTACK = "attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform }"
"""The pipeline's line of it."""

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


@pytest.fixture
def foil_command(tmp_path: Path) -> Run:
    """Runs `foil WORDS` in the test's own folder."""
    program = Path(sys.executable).with_name("foil")

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline that trains in a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(PIPELINE)
    return path


@pytest.fixture
def module() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))


def curve(run: Path) -> list[dict[str, object]]:
    """What a run logged of each epoch, without times."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def assert_alike(ours: Path, theirs: Path, rel: float = 1e-4) -> None:
    """Two runs logged the same numbers in each epoch, those that both have."""
    for a, b in zip(curve(ours), curve(theirs), strict=True):
        numbers = {name for name, value in a.items() if isinstance(value, float) and name in b}
        assert "train_loss" in numbers, a
        for name in numbers:
            assert a[name] == pytest.approx(b[name], rel=rel, abs=1e-6), (name, a, b)
