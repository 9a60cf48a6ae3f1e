"""The notebook runs, and the Python of the documentation does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import Run
from nbclient import NotebookClient

DOCS = Path(__file__).parents[3] / "docs"


def test_the_notebook_trains_compares_and_draws(tmp_path: Path) -> None:
    notebook = nbformat.read(DOCS / "own-loss.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    data = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in one for one in data) == 2, "a picture and a plot"
    table = next(one["text/plain"] for one in data if "text/html" in one)
    assert "python" in table and "trades" in table


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def test_the_loss_in_ten_lines(foil_command: Run, tmp_path: Path) -> None:
    loss = next(block for block in blocks("writing-a-plugin.md", "python") if "foil.Loss" in block)
    assert len(loss.split("class ")[1].splitlines()) <= 10
    (tmp_path / "my_loss.py").write_text(loss)
    shutil.copy(DOCS.parent / "configs/demo/base.yaml", tmp_path)
    pipeline = next(block for block in blocks("writing-a-plugin.md", "yaml") if "type: python" in block)
    (tmp_path / "my_loss.yaml").write_text(pipeline)
    foil_command("check", "my_loss.yaml")
    assert "weight: a number, at least 0" in foil_command("explain", "my_loss.py").stdout


def test_the_schedulers_of_the_page(foil_command: Run, tmp_path: Path) -> None:
    grow = next(block for block in blocks("writing-a-plugin.md", "python") if "foil.Scheduler" in block)
    (tmp_path / "grow.py").write_text(grow)
    shutil.copy(DOCS.parent / "configs/demo/base.yaml", tmp_path)
    lines = next(block for block in blocks("writing-a-plugin.md", "yaml") if "grow.py" in block)
    (tmp_path / "grow.yaml").write_text(f"extends: base.yaml\nloss: at\n{lines}")
    foil_command("check", "grow.yaml")
    assert "most: a number, 0 to 1" in foil_command("explain", "grow.py").stdout


@pytest.mark.parametrize("page", ["pytorch.md"])
def test_the_plugins_of_a_page_are_plugins(foil_command: Run, tmp_path: Path, page: str) -> None:
    found = [block for block in blocks(page, "python") if re.search(r"class \w+\(foil\.", block)]
    assert found
    for number, block in enumerate(found):
        file = f"plugin{number}.py"
        (tmp_path / file).write_text(block)
        assert "Keys" in foil_command("explain", file).stdout


def test_the_types_hold(tmp_path: Path) -> None:
    here = Path(__file__).parents[1]
    for words in (["--strict", str(here / "python/foil")], ["--strict", "--allow-untyped-calls", str(here / "tests")]):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), *words],
            capture_output=True,
            text=True,
            cwd=here / "tests",
        )
        assert done.returncode == 0, done.stdout
