"""Models in Python: any torch.nn.Module."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from conftest import PIPELINE, Run

import foil

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
