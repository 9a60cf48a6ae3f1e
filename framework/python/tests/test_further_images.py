"""Sets of images that an attack in Python makes besides, and gradients by a pass's images: HAT and
GradAlign beside the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import ATTACK, PIPELINE, Run, assert_alike, curve
from safetensors.torch import load_file, save_file

import foil

BEYOND = '''
import torch.nn.functional as F

import foil


class Beyond(foil.Attack):
    """One step, and the images twice as far."""

    images = ("beyond",)

    eps: float = foil.key(unit="image", above=0, at_most=1)

    def perturb(self, target, batch):
        gradient, _ = target.gradient(batch.x, lambda z: F.cross_entropy(z, batch.y, reduction="none"))
        x = (batch.x + self.eps * gradient.sign()).clamp(0, 1)
        return foil.Adversarial(x, images={"beyond": batch.x + 2 * (x - batch.x)})
'''

HAT = '''
import torch.nn.functional as F

import foil


class Hat(foil.Loss):
    """HAT (Rade & Moosavi-Dezfooli 2022)."""

    passes = ("clean", "adversarial", "images:beyond", "helper:adversarial")

    beta: float = 2.5
    gamma: float = 0.5

    def forward(self, batch):
        found = batch.logits["helper:adversarial"].argmax(1)
        natural = F.cross_entropy(batch.clean, batch.y)
        robust = F.kl_div(batch.adversarial.log_softmax(1), batch.clean.softmax(1), reduction="batchmean")
        beyond = F.cross_entropy(batch.logits["images:beyond"], found)
        far = (batch.images["beyond"] - batch.images["clean"]).abs().max()
        parts = {"natural": natural, "robust": robust, "beyond": beyond, "far": far}
        return natural + self.beta * robust + self.gamma * beyond, parts
'''
HELPER = "networks:\n  helper: { model: small_cnn, init: helper/last.safetensors }\n"


def test_hat_is_the_built_in_one(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    foil_command("train", "tiny.yaml", "attack={ type: fgsm, eps: 0 }", "--run-dir", "helper", "--no-eval")
    (tmp_path / "beyond.py").write_text(BEYOND)
    (tmp_path / "hat.py").write_text(HAT)
    inner = "{ type: pgd, eps: 0.1, alpha: 0.1, steps: 1, start: none }"
    attacks = {"rust": f"{{ type: beyond, inner: {inner} }}", "mine": "{ type: python, file: beyond.py, eps: 0.1 }"}
    losses = {"rust": "hat", "mine": "{ type: python, file: hat.py }"}
    for attack, loss in [("rust", "rust"), ("rust", "mine"), ("mine", "rust"), ("mine", "mine")]:
        text = PIPELINE.replace(ATTACK, f"attack: {attacks[attack]}").replace("loss: at", f"loss: {losses[loss]}")
        (tmp_path / "hat.yaml").write_text(text + HELPER)
        foil_command("check", "hat.yaml")
        foil_command("train", "hat.yaml", "--run-dir", f"{attack}-{loss}", "--no-eval")
        assert_alike(tmp_path / f"{attack}-{loss}", tmp_path / "rust-rust")
    assert 0.1 < float(str(curve(tmp_path / "mine-mine")[0]["train_far"])) <= 0.2 + 1e-6


def test_a_probe_completes_given_images(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(PIPELINE)
    foil_command("train", "tiny.yaml", "--run-dir", "run", "--no-eval")
    weights = load_file(tmp_path / "run/last.safetensors")
    save_file(weights | {f"helper.{name}": w.clone() for name, w in weights.items()}, tmp_path / "w.safetensors")
    x, y = foil.data("mnist_subset", limit=4)
    save_file({"x": x, "y": y, "x_adv": (x + 0.1).clamp(0, 1)}, tmp_path / "b.safetensors")
    code = BEYOND.replace(
        "        return foil", "        return self.complete(target, batch, x)\n\nCOMPLETE        return foil"
    )
    code = code.replace("COMPLETE", "    def complete(self, target, batch, x):\n")
    mine = "{ type: python, file: beyond.py, eps: 0.1 }"
    rust = "{ type: beyond, inner: { type: fgsm, eps: 0.1 } }"

    def probe(attack: str, beyond: str, code: int = 0) -> str:
        (tmp_path / "beyond.py").write_text(beyond)
        text = PIPELINE.replace(ATTACK, f"attack: {attack}").replace("loss: at", "loss: hat")
        (tmp_path / "hat.yaml").write_text(text + HELPER.replace("helper/", "run/"))
        files = ["--weights", "w.safetensors", "--batch", "b.safetensors", "--out", "o.safetensors"]
        return foil_command("probe", "hat.yaml", *files, code=code).stderr

    probe(rust, code)
    expected = load_file(tmp_path / "o.safetensors")
    probe(mine, code)
    found = load_file(tmp_path / "o.safetensors")
    assert set(found) == set(expected) and torch.equal(found["x_adv"], (x + 0.1).clamp(0, 1))
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert "beyond cannot be computed from attacked images" in probe(mine, BEYOND, code=1)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("hat", 'beyond"', 'beyomd"', ["asks for images `beyomd`", "did you mean `beyond`?"]),
        (
            "hat",
            "helper:adversarial",
            "helper:adversaria",
            ["asks for images `adversaria`", "did you mean `adversarial`?"],
        ),
        (
            "hat",
            '"images:beyond", "h',
            '"images:clean", "h',
            ["has `images:clean`", "the pass over these images is `clean`"],
        ),
        ("hat", '"adversarial", ', '"adversarail", ', ["has `adversarail`", "did you mean `adversarial`?"]),
        ("hat", '"helper:adversarial")', '":adversarial")', ["has `:adversarial`", "did you mean `adversarial`?"]),
        ("hat", 'images["beyond"]', 'images["behind"]', ["KeyError: 'behind' (hat.py:"]),
        (
            "beyond",
            'images={"beyond"',
            'images={"behind"',
            ["`images` names `beyond`, but perturb returned no images of this name"],
        ),
        ("beyond", "})", ', "more": x})', ["returned the images `more`, which `images` does not name"]),
        (
            "beyond",
            "batch.x + 2 * (x - batch.x)",
            "x[:, :, :3]",
            ["`beyond` are [2, 1, 3, 28]", "must be [2, 1, 28, 28]"],
        ),
        ("beyond", "2 * (x - batch.x)}", "2 * (x - batch.x).double()}", ["of torch.float64, but must be"]),
        ("beyond", '("beyond",)', '("clean",)', ["`images` of `Beyond` has `clean`", "neither clean nor adversarial"]),
        ("beyond", '("beyond",)', '"beyond"', ["`images` of `Beyond` is 'beyond', but must list names"]),
        ("beyond", "foil.Adversarial(x, images=", "(x, ", ["perturb returned tuple, but must return images, a tensor"]),
    ],
)
def test_a_mistake_shows_before_training(
    foil_command: Run, tmp_path: Path, file: str, old: str, new: str, said: list[str]
) -> None:
    code = {"hat": HAT, "beyond": BEYOND}
    assert old in code[file]
    for name, text in code.items():
        (tmp_path / f"{name}.py").write_text(text.replace(old, new) if name == file else text)
    text = PIPELINE.replace(ATTACK, "attack: { type: python, file: beyond.py, eps: 0.1 }")
    helper = "networks:\n  helper: { model: small_cnn, optimizer: { type: sgd, lr: 0.1 } }\n"
    (tmp_path / "hat.yaml").write_text(text.replace("loss: at", "loss: { type: python, file: hat.py }") + helper)
    error = foil_command("check", "hat.yaml", code=1).stderr
    for part in said:
        assert part in error


ALIGNING = '''
import torch.nn.functional as F

import foil


class Aligning(foil.Attack):
    """GradAlign's attack."""

    train = True
    provides = ("grad_align.gradient",)
    images = ("beside",)

    eps: float = foil.key(unit="image", above=0, at_most=1)

    def perturb(self, target, batch):
        gradient, _ = target.gradient(batch.x, lambda z: F.cross_entropy(z, batch.y, reduction="none"))
        x = (batch.x + self.eps * gradient.sign()).clamp(0, 1)
        beside = batch.x + (2 * batch.uniform("beside") - 1) * self.eps
        return foil.Adversarial(x, side={"grad_align.gradient": gradient}, images={"beside": beside})
'''

ALIGN = '''
import torch
import torch.nn.functional as F

import foil


class Align(foil.Loss):
    """GradAlign (Andriushchenko & Flammarion 2020)."""

    passes = ("adversarial", "images:beside")
    needs = ("grad_align.gradient",)
    input_gradients = ("images:beside",)

    weight: float = 2.0

    def forward(self, batch):
        each = F.cross_entropy(batch.logits["images:beside"], batch.y, reduction="none")
        first = batch.side["grad_align.gradient"].flatten(1)
        second = batch.input_gradient("images:beside", each).flatten(1)
        counts = (first.square().sum(1) > 0) & (second.square().sum(1) > 0)
        ones = torch.ones_like(first)
        cosine = F.cosine_similarity(first.where(counts[:, None], ones), second.where(counts[:, None], ones), eps=0)
        share = batch.mean_over_batch(counts.to(cosine.dtype)).clamp(min=1e-12)
        misalignment = ((1 - cosine) * counts).mean() / share
        robust = F.cross_entropy(batch.adversarial, batch.y)
        return robust + self.weight * misalignment, {"robust": robust, "misalignment": misalignment}
'''


def test_grad_align_is_the_built_in_one(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "aligning.py").write_text(ALIGNING)
    (tmp_path / "align.py").write_text(ALIGN)
    attacks = {"rust": "{ type: grad_align, eps: 0.1 }", "mine": "{ type: python, file: aligning.py, eps: 0.1 }"}
    losses = {"rust": "{ type: grad_align, lambda: 2 }", "mine": "{ type: python, file: align.py }"}
    for attack, loss in [("rust", "rust"), ("rust", "mine"), ("mine", "mine")]:
        text = PIPELINE.replace(ATTACK, f"attack: {attacks[attack]}").replace("loss: at", f"loss: {losses[loss]}")
        (tmp_path / "align.yaml").write_text(text)
        foil_command("check", "align.yaml")
        # Adam would make a rounding of the first step's gradients large.
        plain = "optimizer={ type: sgd, lr: 0.1 }"
        foil_command("train", "align.yaml", plain, "--run-dir", f"{attack}-{loss}", "--no-eval")
        assert_alike(tmp_path / f"{attack}-{loss}", tmp_path / "rust-rust")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'input_gradients = ("images:beside",)',
            'input_gradients = ("images:besides",)',
            "did you mean `images:beside`?",
        ),
        ('input_gradients = ("images:beside",)', 'input_gradients = ("clean",)', "list it in `passes` too"),
        (
            '"images:beside", each',
            '"adversarial", each',
            "gradients by the images of `images:beside`, not of `adversarial`",
        ),
        ('beside", each)', 'beside", each.detach())', "the values are detached from the logits"),
        (
            'needs = ("grad_align.gradient",)',
            'needs = ("grad_align.gradients",)',
            "did you mean `grad_align.gradient`?",
        ),
    ],
)
def test_a_mistake_with_gradients_shows_before_training(
    foil_command: Run, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in ALIGN
    (tmp_path / "align.py").write_text(ALIGN.replace(old, new))
    text = PIPELINE.replace(ATTACK, "attack: { type: grad_align, eps: 0.1 }")
    (tmp_path / "align.yaml").write_text(text.replace("loss: at", "loss: { type: python, file: align.py }"))
    assert said in foil_command("check", "align.yaml", code=1).stderr


def test_a_gradient_by_images_is_differentiated_in_a_test_alone() -> None:
    # By hand: z = w x, the values z³ have the gradient 3 w³ x² by x, and its sum 9 w² x² by w.
    w, x = torch.tensor(2.0, requires_grad=True), torch.ones(1, 1, 1, 1, requires_grad=True)
    logits = (w * x).flatten(1)
    batch = foil.LossInput({"clean": logits}, torch.tensor([0]), leaves={"clean": x})
    gradient = batch.input_gradient("clean", logits.pow(3).sum(1))
    assert gradient.item() == 24.0
    assert torch.autograd.grad(gradient.sum(), w)[0].item() == 36.0
    with pytest.raises(ValueError, match="do not depend on the images"):
        batch.input_gradient("clean", w * 1.0)
    with pytest.raises(KeyError, match="list it in `input_gradients`"):
        batch.input_gradient("adversarial", logits)
