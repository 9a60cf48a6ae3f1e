"""Mixed images: losses, attacks and objectives in Python that have a meaning for their labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ATTACK, FGSM, PIPELINE, Run, assert_alike

LOSS = '''
import torch.nn.functional as F

import foil


class Ce(foil.Loss):
    """Cross-entropy under attack."""

    passes = ("adversarial",)
    soft_labels = True

    def forward(self, batch):
        assert batch.labels.shape == batch.y.shape[:1]
        return F.cross_entropy(batch.adversarial, batch.y), {"share": batch.y.double().max()}
'''
SIGNS = FGSM.replace("    eps:", "    soft_labels = True\n\n    eps:")
CE = '''
import torch.nn.functional as F

import foil


class Ce(foil.Objective):
    """Cross-entropy with the label."""

    soft_labels = True

    def value(self, logits, y, clean):
        return F.cross_entropy(logits, y, reduction="none")
'''
MIXED = PIPELINE + "augment: [{ type: mixup, alpha: 1 }]\n"
RUST = {
    "loss: at": "loss: { type: at, log_clean: false }",
    ATTACK: "attack: { type: fgsm, eps: 0.1 }",
}
PYTHON = {
    "loss": {"loss: at": "loss: { type: python, file: ce_loss.py }"},
    "attack": {ATTACK: "attack: { type: python, file: signs.py, eps: 0.1 }"},
    "objective": {
        ATTACK: "attack: { type: pgd, eps: 0.1, alpha: 0.1, steps: 1, start: none, "
        "objective: { type: python, file: ce.py } }"
    },
}


def written(folder: Path, name: str, parts: dict[str, str]) -> str:
    """NAME.yaml with these parts in Python."""
    for file, code in {"ce_loss.py": LOSS, "signs.py": SIGNS, "ce.py": CE}.items():
        (folder / file).write_text(code)
    text = MIXED
    for old, new in {**RUST, **parts}.items():
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


def test_mixed_images_train_as_in_rust(foil_command: Run, tmp_path: Path) -> None:
    for name, parts in {"rust": {}, **PYTHON}.items():
        foil_command("check", written(tmp_path, name, parts))
        foil_command("train", f"{name}.yaml", "--run-dir", name, "--no-eval")
    for name in PYTHON:
        assert_alike(tmp_path / name, tmp_path / "rust")


@pytest.mark.parametrize(("part", "file"), [("loss", "ce_loss.py"), ("attack", "signs.py"), ("objective", "ce.py")])
def test_without_a_meaning_for_them_they_are_refused(foil_command: Run, tmp_path: Path, part: str, file: str) -> None:
    pipeline = written(tmp_path, part, PYTHON[part])
    (tmp_path / file).write_text((tmp_path / file).read_text().replace("    soft_labels = True\n", ""))
    said = foil_command("check", pipeline, code=1).stderr
    assert "asks for one label of each image, but `mixup` gives several classes a share" in said


def test_a_loss_that_says_it_can_is_tried(foil_command: Run, tmp_path: Path) -> None:
    pipeline = written(tmp_path, "loss", PYTHON["loss"])
    wrong = LOSS.replace("F.cross_entropy(batch.adversarial, batch.y)", "F.nll_loss(batch.adversarial, batch.y)")
    (tmp_path / "ce_loss.py").write_text(wrong)
    said = foil_command("check", pipeline, "augment=[]", code=1).stderr
    assert "`Ce` has soft_labels, but with labels [4, 10]" in said and "(ce_loss.py:15, in forward)" in said
