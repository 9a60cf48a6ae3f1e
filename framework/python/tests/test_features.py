"""What a model in Python computes on the way to its logits, and losses that read it."""

from __future__ import annotations

from pathlib import Path

from conftest import PIPELINE, Run, assert_alike, curve

READS = '''
import torch.nn.functional as F

import foil


class Reads(foil.Loss):
    """Cross-entropy under attack, and how far the features move for a pixel."""

    features = (("clean", "penultimate"), ("adversarial", "penultimate"))

    def forward(self, batch):
        moved = batch.feature("clean", "penultimate") - batch.feature("adversarial", "penultimate")
        pixels = (batch.images["adversarial"] - batch.images["clean"]).abs().mean()
        moved = moved.square().sum(1).mean()
        return F.cross_entropy(batch.adversarial, batch.y) + moved, {"moved": moved, "pixels": pixels}
'''


def test_a_loss_reads_features_and_images(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(READS)
    loss = ["loss={ type: python, file: reads.py }"]
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    foil_command("train", "tiny.yaml", *loss, "--run-dir", "run", "--no-eval")
    row = curve(tmp_path / "run")[-1]
    moved, pixels = row["train_moved"], row["train_pixels"]
    assert isinstance(moved, float) and isinstance(pixels, float)
    assert moved > 0 and 0 < pixels <= 0.3
    (tmp_path / "reads.py").write_text(READS.replace('("clean", "penultimate"), (', '("clean", "last"), ('))
    said = foil_command("check", "tiny.yaml", *loss, code=1).stderr
    assert "the model's feature `last`, which this model does not name" in said and "it names penultimate" in said


CNN = '''
from torch import nn

import foil


class Cnn(foil.Model):
    """small_cnn, in PyTorch."""

    features = {"penultimate": "input:11", "conv": "6"}

    def build(self, channels, height, width, classes):
        convs = [(channels, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)]
        convs = [(nn.Conv2d(a, b, 3, stride=stride, padding=1), nn.ReLU()) for a, b, stride in convs]
        head = [nn.Flatten(), nn.Linear(64 * (height // 4) * (width // 4), 100), nn.ReLU(), nn.Linear(100, classes)]
        return nn.Sequential(*sum(convs, ()), *head)
'''


def test_a_modules_features_are_the_built_in_ones(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(READS)
    (tmp_path / "cnn.py").write_text(CNN)
    text = PIPELINE.replace("loss: at", "loss: { type: python, file: reads.py }")
    (tmp_path / "rust.yaml").write_text(text)
    (tmp_path / "mine.yaml").write_text(text.replace("model: small_cnn", "model: { type: python, file: cnn.py }"))
    foil_command("train", "rust.yaml", "--run-dir", "start", "--no-eval")
    foil_command("check", "mine.yaml")
    for name in ("rust", "mine"):
        foil_command("train", f"{name}.yaml", "init=start/last.safetensors", "--run-dir", name, "--no-eval")
    assert_alike(tmp_path / "mine", tmp_path / "rust", rel=1e-3)
    moved = curve(tmp_path / "mine")[-1]["train_moved"]
    assert isinstance(moved, float) and moved > 0


def test_features_that_there_are_not_are_named(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(READS)
    text = PIPELINE.replace("loss: at", "loss: { type: python, file: reads.py }")
    (tmp_path / "mine.yaml").write_text(text.replace("model: small_cnn", "model: { type: python, file: cnn.py }"))

    def said(old: str, new: str) -> str:
        assert old in CNN
        (tmp_path / "cnn.py").write_text(CNN.replace(old, new))
        return foil_command("check", "mine.yaml", code=1).stderr

    error = said('"penultimate": "input:11"', '"last": "input:11"')
    assert "feature `penultimate`, which this model does not name" in error and "it names conv, last" in error
    assert "the module has no submodule `12`" in said("input:11", "input:12")
    assert "did you mean `11`?" in said("input:11", "input:111")
    assert "but must name submodules" in said('{"penultimate": "input:11", "conv": "6"}', '["11"]')
    (tmp_path / "cnn.py").write_text(CNN)
    (tmp_path / "reads.py").write_text(READS.replace('("clean", "penultimate"), (', '("clena", "penultimate"), ('))
    error = foil_command("check", "mine.yaml", code=1).stderr
    assert "`features` of `Reads` has the pass `clena`" in error and "did you mean `clean`?" in error
