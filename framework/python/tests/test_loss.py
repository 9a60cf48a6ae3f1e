"""Losses in Python, through the command line as users meet them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PIPELINE, Run, curve

LOSS = Path(__file__).with_name("my_loss.py")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A pipeline with the loss in my_loss.py beside it."""
    shutil.copy(LOSS, tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(PIPELINE.replace("loss: at", "loss: { type: python, file: my_loss.py, class: MyTrades, beta: 2 }"))
    return path


def write(folder: Path, body: str, head: str = "") -> None:
    """my_loss.py with this body of `forward`."""
    text = LOSS.read_text()
    start = text.index("        natural = F.cross")
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    (folder / "my_loss.py").write_text(head + text[:start] + lines)


def test_it_trains_as_the_built_in_one_does(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    rust = tmp_path / "rust.yaml"
    rust.write_text(PIPELINE.replace("loss: at", "loss: { type: trades, beta: 2, single_clean_pass: true }"))
    for pipeline in (mine, rust):
        foil_command("train", str(pipeline), "--run-dir", str(tmp_path / pipeline.stem), "--no-eval")
    ours, theirs = (curve(tmp_path / name)[-1] for name in ("mine", "rust"))
    numbers = {key for key, value in ours.items() if isinstance(value, float) and "seconds" not in key}
    assert {"train_natural", "train_robust", "train_loss"} <= numbers, ours
    for key in numbers & set(theirs):
        assert ours[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-6), (key, ours, theirs)


def test_the_source_is_part_of_the_run(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    foil_command("train", str(mine), "--run-dir", "run", "--no-eval")
    copied = tmp_path / "run" / "loss.py"
    assert copied.read_bytes() == LOSS.read_bytes()
    resolved = (tmp_path / "run" / "resolved.yaml").read_text()
    assert hashlib.sha256(LOSS.read_bytes()).hexdigest() in resolved and "beta: 2.0" in resolved
    # The run does without the file that it was started from, and refuses another one.
    (tmp_path / "my_loss.py").unlink()
    assert "natural" in foil_command("eval", "run").stdout.lower()
    copied.write_text(copied.read_text() + "# changed\n")
    refused = foil_command("train", "--resume", "run", code=1).stderr
    assert "SHA-256" in refused and "restore" in refused


def test_defaults_and_spelling_do_not_change_the_identity(foil_command: Run, mine: Path) -> None:
    def identity(*overrides: str) -> str:
        return foil_command("check", "--no-run", str(mine), *overrides).stdout.split()[1]

    assert identity("loss.beta=6") == identity("loss.beta=6.0") == identity("loss.beta=null")
    assert identity("loss.beta=6") != identity("loss.beta=5")


def test_keys_are_checked_with_line_and_help(foil_command: Run, mine: Path) -> None:
    unknown = foil_command("check", str(mine), "loss.betta=1", code=1).stderr
    assert "unknown key `betta`" in unknown and "did you mean `beta`?" in unknown
    low = foil_command("check", str(mine), "loss.beta=-1", code=1).stderr
    assert "`loss.beta` is -1, but must be at least 0" in low and "Weight of the KL term" in low
    text = foil_command("check", str(mine), "loss.beta=much", code=1).stderr
    assert "takes a number" in text
    other = foil_command("check", str(mine), "loss.class=Mine", code=1).stderr
    assert "has no class `Mine`" in other and "it has MyTrades" in other
    gone = foil_command("check", str(mine), "loss.file=none.py", code=1).stderr
    assert "`none.py` cannot be read" in gone


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return F.cross_entropy(batch.clean, batch.y).detach()", "detached from the logits"),
        ("return F.cross_entropy(batch.clean, batch.y, reduction='none')", "it must be a scalar"),
        ("return F.cross_entropy(batch.clean, batch.y).log() * float('nan')", "that is NaN on ordinary logits"),
        ("return 3.0", "forward returned float, but must return a scalar tensor"),
        ("return batch.clean.sum() + batch.side['weight']", "KeyError: 'weight' (my_loss.py:16, in forward)"),
        ("batch.clean.clamp_(0)\nreturn F.cross_entropy(batch.clean, batch.y)", "writes into the logits"),
        ("return F.cross_entropy(batch.clean, batch.y) * torch.rand(())", "gives another value when it runs a second"),
    ],
)
def test_a_mistake_shows_before_training(foil_command: Run, mine: Path, body: str, said: str) -> None:
    write(mine.parent, body, head="" if "torch.rand" not in body else "import torch\n")
    assert said in foil_command("check", "mine.yaml", code=1).stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name' (my_loss.py:1"),
        ("class A:\n    pass\n", "must have one subclass of foil.Loss, and has none"),
        ("import foil\nclass A(foil.Loss):\n    x: float = 1\n", "`A` in `my_loss.py` has no docstring"),
        ("import foil\nclass A(foil.Loss):\n    'An a.'\n    x: complex = 1\n", "the field `x` of `A` has the type"),
        ("def f(:\n", "SyntaxError"),
    ],
)
def test_a_file_that_is_no_plugin_is_explained(foil_command: Run, mine: Path, text: str, said: str) -> None:
    (mine.parent / "my_loss.py").write_text(text)
    mine.write_text(PIPELINE.replace("loss: at", "loss: { type: python, file: my_loss.py }"))
    assert said in foil_command("check", "mine.yaml", code=1).stderr


def test_an_exception_while_training_names_line_epoch_and_step(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    body = "if batch.y.numel() == 10:\n    raise ValueError('ten')\nreturn F.cross_entropy(batch.clean, batch.y)"
    write(tmp_path, body)
    # 210 images in batches of 50: the fifth step of each epoch has ten.
    small = ["images.train_limit=210", "train.epochs=2", "--run-dir", "run"]
    failed = foil_command("train", "mine.yaml", *small, code=1).stderr
    assert "ValueError: ten" in failed and "(my_loss.py:17, in forward)" in failed
    assert "epoch 1" in failed and "step 5" in failed


def test_scheduled_keys_follow_the_run(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    write(tmp_path, "beta = batch.now('beta')\nreturn F.cross_entropy(batch.clean, batch.y) * beta, {'beta': beta}")
    text = (tmp_path / "my_loss.py").read_text()
    text = text.replace("beta: float = foil.key(6.0, at_least=0,", "beta: foil.Scheduled = foil.key(6.0,")
    (tmp_path / "my_loss.py").write_text(text)
    steps = "loss.beta={ type: steps, points: [[0, 1], [1, 3]] }"
    foil_command("train", "mine.yaml", steps, "train.epochs=2", "--run-dir", "run", "--no-eval")
    assert [row["train_beta"] for row in curve(tmp_path / "run")] == [1.0, 3.0]


def test_what_a_captured_step_would_not_repeat_is_warned_of(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    write(tmp_path, "self.calls = batch.y\nreturn F.cross_entropy(batch.clean, batch.y)")
    assert "forward sets `self.calls`" in foil_command("check", "mine.yaml").stderr
    write(tmp_path, "print(batch.clean.max().item())\nreturn F.cross_entropy(batch.clean, batch.y)")
    assert "forward reads the device" in foil_command("check", "mine.yaml").stderr


def test_the_plugins_manual(foil_command: Run, mine: Path) -> None:
    page = foil_command("explain", "loss", "python").stdout
    assert "foil.Loss" in page and "sha256" in page
    own = foil_command("explain", "my_loss.py").stdout
    assert "MyTrades, a loss from my_loss.py" in own and "Zhang et al. 2019, Eq. 5." in own
    assert "beta: a number, at least 0. Default: 6" in own and "Weight of the KL term." in own
    assert foil_command("explain", "my_loss.py:MyTrades").stdout == own
    assert "has no class `Other`" in foil_command("explain", "my_loss.py:Other", code=1).stderr


def test_an_editors_schema_knows_its_keys(foil_command: Run, mine: Path) -> None:
    schema = json.loads(foil_command("schema", "my_loss.py").stdout)
    own = schema["$defs"]["component.loss.python.my_loss.py"]
    assert own["properties"]["beta"]["minimum"] == 0 and own["additionalProperties"] is False
    file = own["allOf"][0]["properties"]["file"]["pattern"]
    assert re.search(file, "losses/my_loss.py") and not re.search(file, "not_my_loss.py")
    assert {"not": own["allOf"][0]} in schema["$defs"]["component.loss.python"]["allOf"]
    assert "has no class `Other`" in foil_command("schema", "my_loss.py:Other", code=1).stderr


def test_a_strangers_run_is_looked_at_without_running_its_code(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    foil_command("train", "mine.yaml", "--run-dir", "run")
    code = tmp_path / "run" / "loss.py"
    code.write_text(code.read_text() + "open('ran', 'w')\n")
    for words in (["check", "run/resolved.yaml"], ["report", "run"], ["table", "run"]):
        foil_command(*words, code=1 if words[0] == "table" else 0)
        assert not (tmp_path / "ran").exists() and not (tmp_path / "run/ran").exists(), words


@pytest.mark.parametrize("kind", ["loss", "attack", "objective", "model", "data", "scheduler"])
def test_a_template_passes_its_test_and_trains(foil_command: Run, tmp_path: Path, kind: str) -> None:
    foil_command("new-plugin", "--python", kind, "my_own")
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, capture_output=True, text=True)
    assert tested.returncode == 0 and "1 passed" in tested.stdout, tested.stdout
    small = ["images.train_limit=100", "images.test_limit=20", "train.epochs=1", "select=natural", "evaluate=[natural]"]
    foil_command("check", "my_own.yaml")
    foil_command("train", "my_own.yaml", *small)
    assert (tmp_path / "runs/my_own/eval.json").exists()


def test_two_ranks_train_what_one_does(foil_command: Run, mine: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("foil"))
    ranks = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2"]
    words = [*ranks, program, "train", "mine.yaml", "--run-dir", "two", "--no-eval"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    foil_command("train", "mine.yaml", "--run-dir", "one", "--no-eval")
    two, one = (curve(tmp_path / run)[-1]["train_loss"] for run in ("two", "one"))
    assert two == pytest.approx(one, rel=1e-4)
