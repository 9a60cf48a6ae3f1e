"""Data sets in Python, each beside the built-in digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import PIPELINE, Run

DIGITS = '''
import numpy
import torch
from torch.utils.data import Dataset

import foil


class Items(Dataset):
    def __init__(self, x, y, form):
        self.x, self.y, self.form = x, y, form

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError
        x = self.x[i]
        return {"float": x / 255, "bytes": x, "array": x[0].numpy()}[self.form], int(self.y[i])


class Digits(foil.Data):
    """The digits of a file, in some form."""

    path: str
    form: str = "float"

    def load(self):
        found = numpy.load(self.path)
        made = []
        for name in ("train", "test"):
            x, y = torch.from_numpy(found[name]), torch.from_numpy(found[f"{name}_y"])
            if self.form == "arrays":
                made.append((x.permute(0, 2, 3, 1).numpy(), y.numpy()))
            else:
                made.append(Items(x, y, self.form))
        return tuple(made)

    def class_names(self):
        return [f"digit {n}" for n in range(10)]
'''


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """240 digits in a file, and a pipeline that trains on them."""
    import numpy as np

    import foil

    sets: dict[str, Any] = {}
    for name, keep in (("train", 200), ("test", 40)):
        x, y = foil.data("mnist_subset", train=name == "train", limit=keep)
        sets[name], sets[f"{name}_y"] = (x * 255).round().byte().numpy(), y.numpy()
    np.savez(tmp_path / "digits.npz", **sets)
    (tmp_path / "my_data.py").write_text(DIGITS)
    path = tmp_path / "mine.yaml"
    data = f"data: {{ type: python, file: my_data.py, path: {tmp_path}/digits.npz }}"
    # The statistics of mnist_subset are MNIST's.
    path.write_text(PIPELINE.replace("data: mnist_subset", data).replace("images: { train_limit: 200, test_limit: 40 }\n", ""))
    return path


def last(run: Path) -> dict[str, object]:
    row: dict[str, object] = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    row.pop("seconds", None)
    return row


@pytest.mark.parametrize("form", ["float", "bytes", "array", "arrays"])
def test_the_same_images_train_the_same_network(foil_command: Run, digits: Path, tmp_path: Path, form: str) -> None:
    foil_command("train", "mine.yaml", f"data.form={form}", "--run-dir", "mine", "--no-eval")
    (tmp_path / "built_in.yaml").write_text(PIPELINE)
    foil_command("train", "built_in.yaml", "--run-dir", "built_in", "--no-eval")
    assert last(tmp_path / "mine") == last(tmp_path / "built_in")


def test_it_is_shown_and_carried_along(foil_command: Run, digits: Path, tmp_path: Path) -> None:
    foil_command("train", "mine.yaml", "--run-dir", "run")
    assert (tmp_path / "run/data.py").exists() and "content:" in (tmp_path / "run/resolved.yaml").read_text()
    assert "natural" in foil_command("eval", "run").stdout.lower()
    # Other images are not those of the run.
    import numpy as np

    found = dict(np.load(tmp_path / "digits.npz"))
    found["test"] = 255 - found["test"]
    np.savez(tmp_path / "digits.npz", **found)
    assert "the run is on other data" in foil_command("eval", "run", code=1).stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return tuple(made)", "return made[0]", "must return the training and the test images, a pair"),
        ("x / 255", "x / 1.0", "reach from 0 to 255, but must be bytes, or from 0 to 1"),
        ("int(self.y[i])", "int(self.y[i]) - 1", "are not whole numbers from 0"),
        ("range(10)", "range(9)", "class_names has 9 names, but there is a label 9"),
        ("x = self.x[i]", "x = self.x[i][:, : 28 - i % 2]", "training image 1 is [1, 27, 28], but image 0 is [1, 28, 28]"),
        ("}[self.form], int(self.y[i])", "}[self.form]", "must be an image and its label"),
    ],
)
def test_what_is_no_data_set_is_explained(foil_command: Run, digits: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "my_data.py").write_text(DIGITS.replace(old, new))
    assert said in foil_command("check", "mine.yaml", code=1).stderr
