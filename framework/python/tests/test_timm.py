"""A network of timm's, trained with foil; skipped where timm is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import PIPELINE, Run, curve

import foil

timm = pytest.importorskip("timm")

NET = '''
import timm

import foil


class Timm(foil.Model):
    """Any network of timm's whose last layer is `fc`."""

    features = {"penultimate": "input:fc"}

    name: str = foil.key(doc="timm's name of it.")

    def build(self, channels, height, width, classes):
        return timm.create_model(self.name, pretrained=False, in_chans=channels, num_classes=classes)
'''

LOSS = '''
import torch.nn.functional as F

import foil


class Pulls(foil.Loss):
    """Cross-entropy under attack, and how far the last layer's input moves."""

    features = (("clean", "penultimate"), ("adversarial", "penultimate"))

    def forward(self, batch):
        moved = batch.feature("clean", "penultimate") - batch.feature("adversarial", "penultimate")
        moved = moved.square().mean()
        return F.cross_entropy(batch.adversarial, batch.y) + moved, {"moved": moved}
'''


def test_a_network_of_timms_trains_and_goes_back(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "pulls.py").write_text(LOSS)
    text = PIPELINE.replace("model: small_cnn", "model: { type: python, file: net.py, name: test_resnet }")
    (tmp_path / "net.yaml").write_text(text.replace("loss: at", "loss: { type: python, file: pulls.py }"))
    foil_command("check", "net.yaml")
    foil_command("train", "net.yaml", "train.epochs=3", "--run-dir", "run")
    losses = [float(str(row["train_loss"])) for row in curve(tmp_path / "run")]
    assert losses[-1] < losses[0], losses
    foil_command("export", "run")
    net = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    net.load_state_dict(torch.load(tmp_path / "run/best.pth", weights_only=True), strict=True)
    x, _ = foil.data("mnist_subset", limit=40)
    assert torch.allclose(net.eval()(x), foil.load(tmp_path / "run")(x), atol=1e-4)
