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


LOOKS = '''
import torch
import torch.nn.functional as F

import foil


class Looks(foil.Attack):
    """What a target has, asked in every way."""

    def perturb(self, target, batch):
        def ce(z):
            return F.cross_entropy(z, batch.y, reduction="none")

        gradient, logits = target.gradient(batch.x, ce)
        x = batch.x.clone().requires_grad_()
        found = target.forward(x)
        assert torch.equal(found, logits) and found.requires_grad and not logits.requires_grad
        assert torch.allclose(torch.autograd.grad(ce(found).sum(), x)[0], gradient, atol=1e-6)
        assert torch.allclose(target.gradient(batch.x, ce, eot=3)[0], gradient, atol=1e-6)
        assert target.first_in_batch == 0 and torch.equal(target.gather_over_ranks(batch.x), batch.x)
        assert torch.equal(target.sum_over_ranks(batch.y), batch.y) and torch.equal(batch.labels, batch.y)
        target.iterate(batch.x)
        wrong = logits.argmax(1) != batch.y
        return foil.Adversarial(batch.x + 0, broken=wrong)
'''


def test_what_a_target_has(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "looks.py").write_text(LOOKS)
    x, y = foil.data("mnist_subset", limit=20)
    assert torch.equal(foil.attack("python", file=str(tmp_path / "looks.py"))(module, x, y), x)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("broken=wrong", "broken=wrong[:1]", r"`broken` must be a tensor of \[20\] booleans"),
        ("broken=wrong", 'side={"weight": wrong}', "returned the tensor `weight`, which `provides` does not name"),
        ("batch.x + 0, ", "None, ", "perturb returned foil.Adversarial with x NoneType"),
        ("eot=3", "train=True", "an attack without `train = True` runs the model in eval mode only"),
        ("target.iterate(batch.x)", 'target.network("teacher")', "its `networks` lists none"),
    ],
)
def test_a_mistake_with_a_target_is_named(
    module: torch.nn.Module, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in LOOKS
    (tmp_path / "looks.py").write_text(LOOKS.replace(old, new))
    x, y = foil.data("mnist_subset", limit=20)
    with pytest.raises(foil.Error, match=said):
        foil.attack("python", file=str(tmp_path / "looks.py"))(module, x, y)


def test_a_mistake_in_an_attack_has_its_line(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM.replace("F.cross_entropy(z, batch.y", "F.cross_entropy(z[:, :2], batch.y"))
    x, y = foil.data("mnist_subset", limit=30)
    with pytest.raises(foil.Error, match=r"signs\.py:14"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
