"""Losses, attacks and objectives in Python that ask networks besides the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ATTACK, PIPELINE, Run, assert_alike, curve

import foil

DISTILS = '''
import torch.nn.functional as F

import foil


class Distils(foil.Loss):
    """Cross-entropy of the attacked images to what a teacher says of the clean ones."""

    passes = ("adversarial", "teacher:clean")

    def forward(self, batch):
        target = batch.logits["teacher:clean"].softmax(1)
        right = (target.argmax(1) == batch.y).to(target.dtype).mean()
        return F.cross_entropy(batch.adversarial, target), {"right": right}
'''


def test_a_loss_asks_another_network(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    natural = "attack={ type: fgsm, eps: 0 }"
    foil_command("train", "tiny.yaml", "train.epochs=6", natural, "--run-dir", "teacher", "--no-eval")
    (tmp_path / "distils.py").write_text(DISTILS)
    teacher = "networks:\n  teacher: { model: small_cnn, init: teacher/last.safetensors }\n"
    text = PIPELINE.replace("loss: at", "loss: { type: python, file: distils.py }")
    (tmp_path / "mine.yaml").write_text(text + teacher)
    foil_command("train", "mine.yaml", "--run-dir", "run", "--no-eval")
    right = curve(tmp_path / "run")[-1]["train_right"]
    assert isinstance(right, float) and right > 0.5
    assert right == pytest.approx(accuracy(tmp_path / "teacher/last.safetensors"))
    (tmp_path / "mine.yaml").write_text(text)
    assert "teacher" in foil_command("check", "mine.yaml", code=1).stderr
    (tmp_path / "distils.py").write_text(DISTILS.replace("teacher:clean", "teacher:bright"))
    said = foil_command("check", "mine.yaml", code=1).stderr
    assert "asks for images `bright`, but the attack `pgd` makes none" in said


def accuracy(weights: Path) -> float:
    """The share of the training images that a network gets right."""
    x, y = foil.data("mnist_subset", train=True, limit=200)
    right: float = (foil.load(weights)(x).argmax(1) == y).double().mean().item()
    return right


KL = '''
import torch.nn.functional as F

import foil


class Confuses(foil.Attack):
    """PGD away from what a teacher says of the clean images: RSLAD's inner maximisation."""

    networks = ("teacher",)

    eps: float = foil.key(unit="image", above=0, at_most=1)
    alpha: float = foil.key(unit="image", above=0, at_most=1)
    steps: int = 3

    def perturb(self, target, batch):
        taught = target.network("teacher").logits(batch.x).softmax(1)
        low, high = (batch.x - self.eps).clamp(min=0), (batch.x + self.eps).clamp(max=1)
        x = batch.x + 0.001 * batch.normal("start")
        for _ in range(self.steps):
            gradient, _ = target.gradient(x, lambda z: F.kl_div(z.log_softmax(1), taught, reduction="none").sum(1))
            x = (x + self.alpha * gradient.sign()).maximum(low).minimum(high)
        return x
'''

TAUGHT = '''
import torch.nn.functional as F

import foil


class Taught(foil.Objective):
    """The KL divergence from what a teacher says of the clean image."""

    needs_clean = True
    network = "teacher"

    def value(self, logits, y, clean):
        return F.kl_div(logits.log_softmax(1), clean.softmax(1), reduction="none").sum(1)
'''

TEACHER = "networks:\n  teacher: { model: small_cnn, init: teacher/last.safetensors }\n"


def test_an_attack_looks_at_another_network(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    foil_command("train", "tiny.yaml", "attack={ type: fgsm, eps: 0 }", "--run-dir", "teacher", "--no-eval")
    (tmp_path / "confuses.py").write_text(KL)
    (tmp_path / "taught.py").write_text(TAUGHT)
    pgd = "{ type: pgd, objective: OBJECTIVE, eps: 0.1, alpha: 0.05, steps: 3, start: gaussian }"
    attacks = {
        "attack": "{ type: python, file: confuses.py, eps: 0.1, alpha: 0.05 }",
        "objective": pgd.replace("OBJECTIVE", "{ type: python, file: taught.py }"),
        "rust": pgd.replace("OBJECTIVE", "{ type: kl, of: teacher }"),
    }
    for name, attack in attacks.items():
        (tmp_path / f"{name}.yaml").write_text(PIPELINE.replace(ATTACK, f"attack: {attack}") + TEACHER)
        foil_command("train", f"{name}.yaml", "--run-dir", name, "--no-eval")
    for name in ("attack", "objective"):
        assert_alike(tmp_path / name, tmp_path / "rust")


def test_networks_that_there_are_not_are_named(foil_command: Run, tmp_path: Path) -> None:
    attack = "attack: { type: python, file: confuses.py, eps: 0.1, alpha: 0.05 }"
    text = PIPELINE.replace(ATTACK, attack)
    (tmp_path / "confuses.py").write_text(KL)
    (tmp_path / "mine.yaml").write_text(text)
    said = foil_command("check", "mine.yaml", code=1).stderr
    assert "asks for the network `teacher`, but `networks` has none" in said
    (tmp_path / "mine.yaml").write_text(text + "networks:\n  teachers: { model: small_cnn }\n")
    said = foil_command("check", "--no-run", "mine.yaml", code=1).stderr
    assert "`networks` has `teachers`" in said and "did you mean `teachers`?" in said
    (tmp_path / "mine.yaml").write_text(
        text + "networks:\n  teacher: { model: small_cnn, optimizer: { type: sgd, lr: 0.1 } }\n"
    )
    (tmp_path / "confuses.py").write_text(KL.replace('network("teacher")', 'network("teach")'))
    said = foil_command("check", "mine.yaml", code=1).stderr
    assert "looks at the network `teach`, but its `networks` lists `teacher`" in said and "(confuses.py:" in said
    (tmp_path / "confuses.py").write_text(KL.replace('networks = ("teacher",)', 'networks = "teacher"'))
    assert (
        "`networks` of `Confuses` is 'teacher', but must list names"
        in foil_command("check", "mine.yaml", code=1).stderr
    )
    objective = "{ type: pgd, objective: { type: python, file: taught.py }, eps: 0.1, alpha: 0.05 }"
    (tmp_path / "taught.py").write_text(TAUGHT.replace("    needs_clean = True\n", ""))
    said = foil_command("check", "mine.yaml", f"attack={objective}", code=1).stderr
    assert "names the network `teacher`, but does not get its logits" in said
