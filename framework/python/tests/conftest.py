"""What the tests share. They run where the wheel is installed beside a real torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
