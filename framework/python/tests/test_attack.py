"""Attacks in Python, each beside what it repeats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import FGSM, PIPELINE, Run

import foil


def test_an_attack_is_the_built_in_one(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM)
    x, y = foil.data("mnist_subset", limit=30)
    ours = foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
    assert torch.equal(ours, foil.attack("fgsm", eps=0.1)(module, x, y))
    with pytest.raises(foil.Error, match="must be at most 1|is 8, but"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=8)(module, x, y)


WEIGHING = (
    FGSM.replace("class Signs", "class Weighs")
    .replace(
        """        return (batch.x + self.eps * gradient.sign()).clamp(0, 1)
""",
        """        # `foil check` makes some up for its few images; the model has the same in either mode.
        same = torch.allclose(batch.clean_logits, logits, atol=1e-5)
        assert same or (len(batch.y) < 50 and batch.clean_logits.shape == logits.shape)
        weight = 1 + (batch.index % 2).to(batch.x.dtype)
        x = (batch.x + self.eps * gradient.sign()).clamp(0, 1)
        return foil.Adversarial(x, side={"weight": weight})
""",
    )
    .replace(
        "    eps:",
        """    provides = ("weight",)
    needs_clean_logits = True

    eps:""",
    )
)

WEIGHED = '''
import torch.nn.functional as F

import foil


class Weighed(foil.Loss):
    """Cross-entropy under attack with a weight of each image."""

    passes = ("clean_first", "adversarial")
    needs = ("weight",)

    def forward(self, batch):
        assert batch.side["weight"].tolist() == (1 + batch.index % 2).tolist()
        each = F.cross_entropy(batch.adversarial, batch.y, reduction="none")
        return (batch.side["weight"] * each).mean() + 0 * batch.clean.sum(), {"weight": batch.side["weight"].mean()}
'''


def test_an_attack_hands_tensors_to_the_loss(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "attack.py").write_text(WEIGHING)
    (tmp_path / "loss.py").write_text(WEIGHED)
    text = PIPELINE.replace("loss: at", "loss: { type: python, file: loss.py }")
    attack = "{ type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform }"
    assert attack in text
    (tmp_path / "mine.yaml").write_text(text.replace(attack, "{ type: python, file: attack.py, eps: 0.1 }"))
    foil_command("check", "mine.yaml")
    foil_command("train", "mine.yaml", "--run-dir", "run", "--no-eval")
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text())
    assert row["train_weight"] == pytest.approx(1.5)
    said = foil_command("check", "mine.yaml", f"attack={attack}", code=1).stderr
    assert "needs `weight`, but the attack `pgd` does not provide that" in said
    (tmp_path / "attack.py").write_text(WEIGHING.replace('{"weight": weight}', '{"heavy": weight}'))
    said = foil_command("check", "mine.yaml", code=1).stderr
    assert "`provides` names `weight`, but perturb returned no tensor of this name" in said


def test_what_is_kept_of_an_attack_is_refused_later(module: torch.nn.Module, tmp_path: Path) -> None:
    text = FGSM.replace("        gradient, logits", "        torch.foil_kept = target\n        gradient, logits")
    (tmp_path / "signs.py").write_text(text)
    x, y = foil.data("mnist_subset", limit=4)
    foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
    with pytest.raises(RuntimeError, match="only while the method runs"):
        torch.foil_kept.logits(x)  # type: ignore[attr-defined]
    del torch.foil_kept  # type: ignore[attr-defined]


def test_a_mistake_in_an_attack_has_its_line(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM.replace("F.cross_entropy(z, batch.y", "F.cross_entropy(z[:, :2], batch.y"))
    x, y = foil.data("mnist_subset", limit=30)
    with pytest.raises(foil.Error, match=r"signs\.py:14"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
