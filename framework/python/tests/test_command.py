"""The command `foil`, as pip installs it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run

from foil import _torch, _version


def test_the_version_is_the_programs(foil_command: Run) -> None:
    said = foil_command("--version").stdout.strip()
    ask = "from foil import _torch; _torch.load(); from foil import _foil; print(_foil.VERSION, _foil.LIBTORCH)"
    program = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert [_version.FOIL, _version.LIBTORCH] == program
    assert said == f"foil {program[0]} (libtorch {program[1]})"


def test_torchs_python_side_is_not_imported(foil_command: Run) -> None:
    ask = "import sys; from foil import _torch; _torch.load(); from foil import _foil; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout.strip() == "False"
    assert "trades" in foil_command("list").stdout


def test_usage_errors_have_the_programs_code(foil_command: Run) -> None:
    assert "unexpected argument" in foil_command("list", "--nothing", code=2).stderr
    assert "does not exist" in foil_command("eval", "runs/none", code=1).stderr


def test_the_demo_trains_and_compares(foil_command: Run, tmp_path: Path) -> None:
    small = ["train.epochs=1", "images.train_limit=100", "images.test_limit=20", "evaluate=[natural,fgsm]"]
    done = foil_command("demo", *small)
    assert "CAT_cw" in done.stdout and "foil explain calibrated" in done.stdout
    assert "cargo" not in done.stdout
    assert (tmp_path / "runs/demo/report.html").exists()


def test_a_comparison_starts_this_foil_again(foil_command: Run, pipeline: Path) -> None:
    done = foil_command("compare", str(pipeline), "--seeds", "2")
    assert "tiny" in done.stdout


def with_torch(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Python finds torch in this folder, or not at all."""
    spec = None
    if folder is not None:
        spec = importlib.machinery.ModuleSpec("torch", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_no_torch_is_one_sentence_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with_torch(monkeypatch, None)
    with pytest.raises(_torch.TorchError, match=r"needs torch 2\.11, and this Python has no torch: pip install"):
        _torch.folder()


def test_another_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_torch(monkeypatch, tmp_path)
    for version in ("2.12.0+cu130", "2.1.1", "2.110.0"):
        (tmp_path / "version.py").write_text(f"__version__ = '{version}'\n")
        with pytest.raises(_torch.TorchError) as raised:
            _torch.folder()
        assert f"has torch {version}: pip install 'torch==2.11.*'" in str(raised.value)
    (tmp_path / "version.py").write_text("__version__ = '2.11.1'\n")
    assert _torch.folder() == tmp_path


def test_a_damaged_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_torch(monkeypatch, tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (tmp_path / "version.py").write_text("__version__ = '2.11.0'\n")
    with pytest.raises(_torch.TorchError, match=r"libc10\.so cannot be loaded"):
        _torch.load()


def test_another_platform_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(_torch.TorchError, match="needs Linux on x86-64, and this is Linux on arm64"):
        _torch.folder()
