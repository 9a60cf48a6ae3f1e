"""What losses and attacks in Python keep between steps, and how attacks learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ATTACK, PIPELINE, Run, assert_alike, curve
from safetensors.torch import load_file

KEEPS = '''
import torch
import torch.nn.functional as F

import foil


class Keeps(foil.Loss):
    """Cross-entropy weighted by how often an image was seen, and the mean logits of each class."""

    per_image = ("seen",)

    def state(self, data: foil.DataFacts):
        return {"seen": torch.zeros(data.train), "sums": torch.zeros(data.classes, data.classes), "epochs": torch.zeros(())}

    def forward(self, batch):
        weight = 1 + self.seen[batch.index] / 10
        return (weight * F.cross_entropy(batch.adversarial, batch.y, reduction="none")).mean() + 0 * batch.clean.sum()

    def after_update(self, batch):
        self.seen.index_add_(0, batch.index, torch.ones(len(batch.y)))
        mine = torch.zeros_like(self.sums).index_add_(0, batch.y, batch.clean)
        self.sums += batch.sum_over_ranks(mine)

    def after_epoch(self):
        self.epochs += 1
'''


def kept(run: Path, part: str = "loss") -> dict[str, torch.Tensor]:
    """What the loss or the attack keeps at the end of a run."""
    state = load_file(run / "state.safetensors")
    return {name.removeprefix(f"{part}."): state[name] for name in state if name.startswith(f"{part}.")}


def keeping(folder: Path) -> list[str]:
    (folder / "keeps.py").write_text(KEEPS)
    text = PIPELINE.replace("loss: at", "loss: { type: python, file: keeps.py }").replace("epochs: 1", "epochs: 3")
    (folder / "keeps.yaml").write_text(text)
    return ["train", "keeps.yaml", "--no-eval", "--run-dir"]


def killed_after_an_epoch(folder: Path, train: list[str]) -> None:
    """Trains in the folder `killed` until the first of three epochs is done."""
    program = Path(sys.executable).with_name("foil")
    running = subprocess.Popen([program, *train, "killed"], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    next(line for line in running.stderr if "epoch 1/3" in line)
    running.kill()
    running.wait()


def on_two_ranks(folder: Path, train: list[str]) -> None:
    """Trains in the folder `two`."""
    program = str(Path(sys.executable).with_name("foil"))
    ranks = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2"]
    subprocess.run([*ranks, program, *train, "two"], cwd=folder, check=True, capture_output=True)


def test_what_a_loss_keeps_is_saved_and_resumed(foil_command: Run, tmp_path: Path) -> None:
    train = keeping(tmp_path)
    foil_command(*train, "whole")
    found = kept(tmp_path / "whole")
    assert found["seen"].tolist() == [3.0] * 200 and found["epochs"].item() == 3 and found["sums"].abs().sum() > 0
    killed_after_an_epoch(tmp_path, train)
    foil_command("train", "--resume", "killed", "--no-eval")
    again = kept(tmp_path / "killed")
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def test_what_a_loss_keeps_is_the_same_over_ranks(foil_command: Run, tmp_path: Path) -> None:
    train = keeping(tmp_path)
    foil_command(*train, "one")
    on_two_ranks(tmp_path, train)
    one, two = kept(tmp_path / "one"), kept(tmp_path / "two")
    assert torch.equal(one["seen"], two["seen"]) and torch.equal(one["epochs"], two["epochs"])
    assert torch.allclose(one["sums"], two["sums"], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('return {"seen": 3}', "the state 'seen' is not a tensor under a name"),
        ('return {"seen": torch.zeros(7)}', "`per_image` names `seen`, but no state of this name has a row for each"),
        ('return {"seen": torch.zeros(data.train), "passes": torch.zeros(1)}', "`passes` has the name of something"),
    ],
)
def test_state_that_cannot_be_kept_is_refused(foil_command: Run, tmp_path: Path, line: str, said: str) -> None:
    keeping(tmp_path)
    start = KEEPS.index('        return {"seen"')
    text = KEEPS[:start] + f"        {line}" + KEEPS[KEEPS.index("\n", start) :]
    (tmp_path / "keeps.py").write_text(text)
    assert said in foil_command("check", "keeps.yaml", code=1).stderr


def test_state_is_changed_in_place_and_in_its_methods(foil_command: Run, tmp_path: Path) -> None:
    train = keeping(tmp_path)
    (tmp_path / "keeps.py").write_text(KEEPS.replace("self.epochs += 1", "self.epochs = self.epochs + 1"))
    assert "`self.epochs` is another tensor now" in foil_command(*train, "run", code=1).stderr
    (tmp_path / "keeps.py").write_text(KEEPS.replace("weight = 1 +", "self.seen += 1\n        weight = 1 +"))
    assert "writes into its state `seen` in `forward`" in foil_command("check", "keeps.yaml", code=1).stderr


GROWS = '''
import torch
import torch.nn.functional as F

import foil


class Grows(foil.Attack):
    """FGSM whose radius grows with how often an image was seen, beside a perturbation of all images."""

    per_image = ("seen",)
    train = True

    eps: float = foil.key(unit="image", above=0, at_most=1)

    def state(self, data):
        shape = (data.channels, data.height, data.width)
        return {"seen": torch.zeros(data.train), "shared": torch.zeros(shape)}

    def perturb(self, target, batch):
        x = batch.x + self.shared
        gradient, _ = target.gradient(x, lambda z: F.cross_entropy(z, batch.y, reduction="none"))
        radius = self.eps * (self.seen[batch.index] / 3).clamp(max=1).view(-1, 1, 1, 1)
        self.seen.index_add_(0, batch.index, torch.ones(len(batch.y)))
        return (x + radius * gradient.sign()).clamp(0, 1)

    def after_update(self, target, batch, attacked):
        x = (batch.x + self.shared).requires_grad_()
        target.forward(x, train=False).logsumexp(1).sum().backward()
        self.shared += 0.001 * target.sum_over_ranks(x.grad.sum(0)).sign()
        return {"radius": (attacked.x - batch.x).abs().amax((1, 2, 3)).mean()}

    def remark(self, means):
        return "the radius is whole" if means["radius"] > 0.05 else None
'''


def growing(folder: Path, code: str = GROWS) -> list[str]:
    (folder / "grows.py").write_text(code)
    text = PIPELINE.replace(ATTACK, "attack: { type: python, file: grows.py, eps: 0.1 }").replace(
        "epochs: 1", "epochs: 3"
    )
    (folder / "grows.yaml").write_text(text)
    return ["train", "grows.yaml", "--no-eval", "--run-dir"]


def test_what_an_attack_keeps_is_saved_and_resumed(foil_command: Run, tmp_path: Path) -> None:
    train = growing(tmp_path)
    foil_command("check", "grows.yaml")
    said = foil_command(*train, "whole").stderr
    found = kept(tmp_path / "whole", "attack")
    assert found["seen"].tolist() == [3.0] * 200 and found["shared"].abs().max() > 0
    radii = [float(str(row["train_radius"])) for row in curve(tmp_path / "whole")]
    assert radii == sorted(radii) and len(set(radii)) == 3
    assert said.count("the radius is whole") == 1
    killed_after_an_epoch(tmp_path, train)
    foil_command("train", "--resume", "killed", "--no-eval")
    again = kept(tmp_path / "killed", "attack")
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def test_what_an_attack_keeps_is_the_same_over_ranks(foil_command: Run, tmp_path: Path) -> None:
    train = growing(tmp_path)
    foil_command(*train, "one")
    on_two_ranks(tmp_path, train)
    one, two = kept(tmp_path / "one", "attack"), kept(tmp_path / "two", "attack")
    assert torch.equal(one["seen"], two["seen"])
    # Signs of sums that are rounded differently may differ at a few pixels.
    assert (one["shared"] != two["shared"]).double().mean() < 0.1


def test_an_attack_that_keeps_something_does_not_evaluate(foil_command: Run, tmp_path: Path) -> None:
    growing(tmp_path)
    mine = "attacks.mine={ type: python, file: grows.py, eps: 0.1 }"
    assert "learns or keeps something between steps" in foil_command("check", "grows.yaml", mine, code=1).stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("self.shared += 0.001", "self.shared = self.shared + 0.001", "`self.shared` is another tensor now"),
        ("torch.zeros(data.train)", "torch.zeros(3)", "`per_image` names `seen`, but no state of this name has a row"),
        ('"seen": torch', '"sean": torch', "did you mean `sean`?"),
        ('"shared": torch', '"norm": torch', "`norm` has the name of something that the attack has already"),
        (
            'return {"radius"',
            'return ["radius"] or {"radius"',
            "after_update returned list, but must return a dictionary",
        ),
        (
            ".amax((1, 2, 3)).mean()",
            ".amax((1, 2, 3))",
            "returned `radius` of several numbers, but must return scalars",
        ),
        ("    train = True", "    ", "an attack without `train = True` runs the model in eval mode only"),
    ],
)
def test_what_an_attack_cannot_keep_or_learn_is_refused(
    foil_command: Run, tmp_path: Path, old: str, new: str, said: str
) -> None:
    code = GROWS.replace("train=False", "train=True")
    assert old in code
    growing(tmp_path, code.replace(old, new))
    assert said in foil_command("check", "grows.yaml", code=1).stderr


FREE = '''
import torch

import foil


class Free(foil.Attack):
    """Free adversarial training's perturbation, which moves with the training's gradient."""

    train = True
    takes_gradient = True

    eps: float = foil.key(unit="image", above=0, at_most=1)

    def state(self, data):
        return {"delta": torch.zeros(data.batch_size, data.channels, data.height, data.width)}

    def own(self, target, batch):
        return self.delta[target.first_in_batch :][: len(batch.x)]

    def perturb(self, target, batch):
        return batch.x + self.own(target, batch)

    def after_gradient(self, target, batch, attacked, gradient):
        delta = (self.own(target, batch) + self.eps * gradient.sign()).clamp(-self.eps, self.eps)
        delta = (batch.x + delta).clamp(0, 1) - batch.x
        everyones = target.gather_over_ranks(delta)
        self.delta[: len(everyones)] = everyones
        return batch.x + delta
'''


def test_free_training_is_the_built_in_one(foil_command: Run, tmp_path: Path) -> None:
    (tmp_path / "free.py").write_text(FREE)
    text = PIPELINE.replace("loss: at", "loss: { type: at, log_clean: false }\nupdate: { type: replay, times: 3 }")
    for name, attack in [("mine", "{ type: python, file: free.py, eps: 0.1 }"), ("theirs", "{ type: free, eps: 0.1 }")]:
        (tmp_path / f"{name}.yaml").write_text(text.replace(ATTACK, f"attack: {attack}"))
        foil_command("train", f"{name}.yaml", "images.train_limit=50", "--run-dir", name, "--no-eval")
    assert_alike(tmp_path / "mine", tmp_path / "theirs")
    mine, theirs = kept(tmp_path / "mine", "attack")["delta"], kept(tmp_path / "theirs", "attack")["delta"]
    assert (mine - theirs).abs().max() < 1e-6 and mine.abs().max() > 0.09
