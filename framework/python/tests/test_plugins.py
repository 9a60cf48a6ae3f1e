"""Attacks, objectives, models and schedulers in Python, each beside what it repeats."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import PIPELINE, Run
from torch import Tensor

import foil

FGSM = '''
import torch
import torch.nn.functional as F

import foil


class Signs(foil.Attack):
    """FGSM."""

    eps: float = foil.key(unit="image", above=0, at_most=1)

    def perturb(self, target, batch):
        gradient, logits = target.gradient(batch.x, lambda z: F.cross_entropy(z, batch.y, reduction="none"))
        assert torch.equal(logits, target.logits(batch.x))
        return (batch.x + self.eps * gradient.sign()).clamp(0, 1)
'''

CW = '''
import foil


class Margin(foil.Objective):
    """Carlini and Wagner's objective."""

    kappa: float = foil.key(50.0, at_least=0)

    def value(self, logits, y, clean):
        label = logits.gather(1, y[:, None]).squeeze(1)
        other = logits.scatter(1, y[:, None], float("-inf")).amax(1)
        return -(label - other + self.kappa).clamp(min=0)
'''

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


@pytest.fixture
def module() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))


def test_an_attack_is_the_built_in_one(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM)
    x, y = foil.data("mnist_subset", limit=30)
    ours = foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)
    assert torch.equal(ours, foil.attack("fgsm", eps=0.1)(module, x, y))
    with pytest.raises(foil.Error, match="must be at most 1|is 8, but"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=8)(module, x, y)


WEIGHING = FGSM.replace("class Signs", "class Weighs").replace(
    """        return (batch.x + self.eps * gradient.sign()).clamp(0, 1)
""",
    """        # `foil check` makes some up for its few images; the model has the same in either mode.
        same = torch.allclose(batch.clean_logits, logits, atol=1e-5)
        assert same or (len(batch.y) < 50 and batch.clean_logits.shape == logits.shape)
        weight = 1 + (batch.index % 2).to(batch.x.dtype)
        return (batch.x + self.eps * gradient.sign()).clamp(0, 1), {"weight": weight}
""",
).replace(
    "    eps:", """    provides = ("weight",)
    needs_clean_logits = True

    eps:"""
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
    with pytest.raises(RuntimeError, match="only while perturb runs"):
        torch.foil_kept.logits(x)  # type: ignore[attr-defined]
    del torch.foil_kept  # type: ignore[attr-defined]


def test_a_mistake_in_an_attack_has_its_line(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "signs.py").write_text(FGSM.replace("F.cross_entropy(z, batch.y", "F.cross_entropy(z[:, :2], batch.y"))
    x, y = foil.data("mnist_subset", limit=30)
    with pytest.raises(foil.Error, match=r"signs\.py:14"):
        foil.attack("python", file=str(tmp_path / "signs.py"), eps=0.1)(module, x, y)


def test_an_objective_is_the_built_in_one(module: torch.nn.Module, tmp_path: Path) -> None:
    (tmp_path / "margin.py").write_text(CW)
    x, y = foil.data("mnist_subset", limit=30)

    def attacked(objective: object) -> Tensor:
        return foil.attack("pgd", eps=0.1, alpha=0.03, steps=4, start="none", objective=objective)(module, x, y)

    ours = attacked({"type": "python", "file": str(tmp_path / "margin.py"), "kappa": 50})
    assert torch.allclose(ours, attacked({"type": "cw", "kappa": 50}), atol=1e-6)


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


WARM = '''
import foil


class Warm(foil.Scheduler):
    """Up to a peak along a line."""

    peak: float = foil.key(0.002, above=0, doc="The largest number.")
    warm: float = foil.key(2.0, above=0, unit="epochs")

    def value(self, progress):
        share = (progress.done + 1 / progress.steps_per_epoch) / self.warm
        return self.peak * min(1.0, share)
'''
LINE = "        return self.peak * min(1.0, share)\n"
EXPRESSION = "0.002 * min(1, (done + 1 / steps_per_epoch) / 2)"


def rising(folder: Path, keys: str = "file: warm.py", code: str = WARM) -> None:
    """warm.py, and warm.yaml whose learning rate follows it."""
    (folder / "warm.py").write_text(code)
    (folder / "warm.yaml").write_text(PIPELINE.replace("lr: 0.002", f"lr: {{ type: python, {keys} }}"))


def rows(run: Path) -> list[tuple[float, float]]:
    """Loss and learning rate of each epoch."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [(row["train_loss"], row["lr"]) for row in map(json.loads, lines)]


def test_a_scheduler_is_the_expression_that_it_repeats(foil_command: Run, tmp_path: Path) -> None:
    two = ["train.epochs=2", "--no-eval", "--run-dir"]
    rising(tmp_path)
    foil_command("train", "warm.yaml", *two, "class")
    rising(tmp_path, f'value: "{EXPRESSION}"')
    foil_command("train", "warm.yaml", *two, "expression")
    assert rows(tmp_path / "class") == rows(tmp_path / "expression")
    # The last of four steps: a whole epoch of two, then both.
    assert [lr for _, lr in rows(tmp_path / "class")] == pytest.approx([0.001, 0.002])


def test_a_scheduler_is_part_of_the_run(foil_command: Run, tmp_path: Path) -> None:
    def identity(*overrides: str) -> str:
        return foil_command("check", "--no-run", "warm.yaml", *overrides).stdout.split()[1]

    rising(tmp_path)
    before = identity()
    assert identity("optimizer.lr.peak=0.0020", "optimizer.lr.class=Warm") == before
    assert identity("optimizer.lr.peak=0.003") != before
    foil_command("train", "warm.yaml", "train.epochs=2", "--run-dir", "whole", "--no-eval")
    stop = "from pathlib import Path\nfrom foil import _api, _foil\n"
    stop += "told = lambda *a: a[0] == 2 and (_ for _ in ()).throw(KeyboardInterrupt)\n"
    stop += "_foil.train(Path('warm.yaml'), ['train.epochs=2', 'train.checkpoint_steps=1'], Path('parts'), told)\n"
    stopped = subprocess.run([sys.executable, "-c", stop], cwd=tmp_path, capture_output=True, text=True)
    assert "stopped and saved" in stopped.stderr, stopped.stderr
    copied = tmp_path / "parts/optimizer.lr.py"
    assert copied.read_text() == WARM
    resolved = (tmp_path / "parts/resolved.yaml").read_text()
    assert "file: optimizer.lr.py" in resolved and hashlib.sha256(WARM.encode()).hexdigest() in resolved
    (tmp_path / "warm.py").unlink()
    foil_command("train", "--resume", "parts", "--no-eval")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    copied.write_text(WARM + "# changed\n")
    assert "SHA-256" in foil_command("train", "--resume", "parts", code=1).stderr
    note = foil_command("eval", "parts").stderr
    assert "`python` in `optimizer` is missing" in note and "an evaluation does not need it" in note


def test_another_source_is_another_run(foil_command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = ["train", "warm.yaml", "--run-dir", "run", "--no-eval"]
    rising(tmp_path)
    foil_command(*train)
    # A second attempt by a launcher resumes the same run, and only that.
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    foil_command(*train)
    (tmp_path / "warm.py").write_text(WARM + "# another text\n")
    assert "holds a run with other settings" in foil_command(*train, code=1).stderr


def test_a_scheduler_is_found_wherever_it_was_written(foil_command: Run, tmp_path: Path) -> None:
    """In a base of another folder, inside another scheduler, inside a Python attack, and as an override."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "warm.py").write_text(WARM)
    lr = "lr: { type: warmup, epochs: 1, from: 0.0005, then: { type: python, file: warm.py } }"
    (base / "base.yaml").write_text(PIPELINE.replace("lr: 0.002", lr))
    scheduled = FGSM.replace("eps: float = foil.key(unit", "eps: foil.Scheduled = foil.key(unit")
    scheduled = scheduled.replace("self.eps", "batch.now('eps')")
    (tmp_path / "signs.py").write_text(scheduled)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "eps.py").write_text(WARM)
    attack = "{ type: python, file: ../signs.py, eps: { type: python, file: eps.py, peak: 0.3 } }"
    (mine / "mine.yaml").write_text(f"extends: ../base/base.yaml\nattack: {attack}\n")
    foil_command("check", "mine/mine.yaml")
    foil_command("train", "mine/mine.yaml", "--run-dir", "run", "train.epochs=2", "--no-eval")
    copied = sorted(path.name for path in (tmp_path / "run").glob("*.py"))
    assert copied == ["attack.eps.py", "attack.py", "optimizer.lr.then.py"]
    for gone in ("base", "mine"):
        shutil.rmtree(tmp_path / gone)
    foil_command("eval", "run")
    (tmp_path / "other.py").write_text(WARM)
    override = "optimizer.lr={ type: python, file: other.py, peak: 0.004 }"
    foil_command("train", "run/resolved.yaml", override, "--run-dir", "next", "train.epochs=1", "--no-eval")
    assert [lr for _, lr in rows(tmp_path / "next")] == pytest.approx([0.002])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("file: warm.py, value: '0.1'", "a scheduler in Python has `value` or `file`, not both"),
        ("class: Warm", "missing key `value` in `optimizer.lr` (scheduler `python`)"),
        ("value: 0.1", "`optimizer.lr.value` is 0.1, but takes text"),
        ("file: gone.py", "`gone.py` cannot be read"),
        ("file: warm.py, class: Cold", "`warm.py` has no class `Cold`"),
        ("file: warm.py, peek: 1", "unknown key `peek`"),
        ("file: warm.py, peak: -1", "`optimizer.lr.peak` is -1, but must be above 0"),
        ("value: '1 / epoch'", "`1 / epoch` cannot be computed: ZeroDivisionError"),
        ("value: 'math.inf'", "it is inf, but must be finite"),
    ],
)
def test_keys_of_a_scheduler_are_checked(foil_command: Run, tmp_path: Path, keys: str, said: str) -> None:
    rising(tmp_path, keys)
    error = foil_command("check", "warm.yaml", code=1).stderr
    assert said in error and "warm.yaml:6:" in error


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (LINE, "        return self.peak / progress.epoch\n", "ZeroDivisionError: float division by zero (warm.py:13, in value)"),
        (LINE, "        return str(share)\n", "value returned str, but must return a number"),
        (LINE, "        return float('nan')\n", "value returned nan in epoch 1, step 1, but must be finite"),
        ("foil.Scheduler", "foil.Objective", "must have one subclass of foil.Scheduler, and has none"),
        ("warm: float", "value: float", "has a field `value`, which is a key of every scheduler"),
        ("warm: float", "warm: foil.Scheduled", "has the type foil.Scheduled, which no scheduler has"),
    ],
)
def test_a_mistake_in_a_scheduler_shows_before_training(
    foil_command: Run, tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in WARM
    rising(tmp_path, code=WARM.replace(old, new))
    error = foil_command("check", "warm.yaml", code=1).stderr
    assert said in error and "warm.yaml:6:" in error and "lr: {" in error


def test_an_exception_in_a_scheduler_names_epoch_and_step(foil_command: Run, tmp_path: Path) -> None:
    # `foil check` calls it for a made-up, longer run.
    fails = "        if progress.epochs == 2 and progress.done == 1.5:\n            raise ValueError('half')\n"
    rising(tmp_path, code=WARM.replace(LINE, fails + LINE))
    failed = foil_command("train", "warm.yaml", "train.epochs=2", "--run-dir", "run", code=1).stderr
    assert "ValueError: half (warm.py:14, in value)" in failed.replace(str(tmp_path / "run") + "/", "")
    assert "epoch 2, step 3" in failed and "scheduler `python`" in failed
    assert len(rows(tmp_path / "run")) == 1
    assert "natural" in foil_command("eval", "run").stdout.lower()


def test_a_strangers_scheduler_does_not_run(foil_command: Run, tmp_path: Path) -> None:
    rising(tmp_path)
    foil_command("train", "warm.yaml", "--run-dir", "run")
    code, resolved = tmp_path / "run/optimizer.lr.py", tmp_path / "run/resolved.yaml"
    code.write_text(WARM + "open('ran', 'w')\n")
    text = resolved.read_text()
    written = re.search(r"^  lr:((\n    .*)+)", text, flags=re.M)
    assert written is not None
    start, end = written.span()
    expression = "  lr:\n    type: python\n    value: open('ran', 'w').close() or 0.1"
    inside = "  lr:\n    type: warmup\n    epochs: 1.0\n    then:" + written[1].replace("\n    ", "\n      ")
    for content in (text, text[:start] + expression + text[end:], text[:start] + inside + text[end:]):
        resolved.write_text(content)
        for words in (["check", "run/resolved.yaml"], ["report", "run"], ["table", "run"]):
            foil_command(*words, code=1 if words[0] == "table" else 0)
            assert not (tmp_path / "ran").exists() and not (tmp_path / "run/ran").exists(), words


def test_a_schedulers_manual(foil_command: Run, tmp_path: Path) -> None:
    rising(tmp_path)
    own = foil_command("explain", "warm.py").stdout
    assert "Warm, a scheduler from warm.py" in own and "peak: a number, above 0. Default: 0.002" in own
    page = foil_command("explain", "scheduler", "python").stdout
    assert "foil.Scheduler" in page and "value:" in page and "file:" in page
