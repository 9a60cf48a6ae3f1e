"""Schedulers in Python: expressions, and classes in a file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FGSM, PIPELINE, Run, curve

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
        (
            LINE,
            "        return self.peak / progress.epoch\n",
            "ZeroDivisionError: float division by zero (warm.py:13, in value)",
        ),
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


def test_a_learning_rate_is_an_expression(foil_command: Run, tmp_path: Path, pipeline: Path) -> None:
    pipeline.write_text(PIPELINE.replace("lr: 0.002", 'lr: { type: python, value: "0.001 * math.sqrt(1 + epoch)" }'))
    foil_command("train", "tiny.yaml", "train.epochs=2", "--run-dir", "run", "--no-eval")
    assert [row["lr"] for row in curve(tmp_path / "run")] == pytest.approx([0.001, 0.001 * 2**0.5])
    for wrong, said in [("1 +", "SyntaxError"), ("epoc", "name 'epoc' is not defined"), ("'a'", "TypeError")]:
        pipeline.write_text(PIPELINE.replace("lr: 0.002", f'lr: {{ type: python, value: "{wrong}" }}'))
        error = foil_command("check", "tiny.yaml", code=1).stderr
        assert "cannot be computed" in error and said in error
