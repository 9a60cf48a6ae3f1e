"""Training, evaluating and attacking from Python."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor

from . import _foil, _progress
from ._errors import Error

PathLike = Union[str, Path]
Overrides = Mapping[str, Any]
Attack = Callable[[torch.nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Run:
    """The folder of a run, and what it holds."""

    path: Path

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The curves: one record per epoch."""
        file = self.path / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """The record of its evaluation, `eval.json`, if there is one."""
        file = self.path / "eval.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def config(self) -> str:
        """Its pipeline with all defaults, as YAML."""
        return (self.path / "resolved.yaml").read_text()

    def load(self, device: str = "cpu") -> Network:
        """Its best network; see `foil.load`."""
        return load(self, device=device)


def _words(overrides: Overrides | None) -> list[str]:
    """Overrides as the command line takes them."""
    return [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]


def _command(words: Sequence[str], progress: Callable[[str], None] | None = None) -> str:
    """Runs `foil WORDS` and returns its output. Ctrl-C ends it as in a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "foil", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    errors: list[str] = []

    def follow() -> None:
        for line in process.stderr or ():
            errors.append(line.rstrip("\n"))
            if progress is not None:
                progress(line.rstrip("\n"))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        output = process.stdout.read() if process.stdout else ""
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    reader.join()
    if code == 0:
        return output
    if code == 130:
        raise KeyboardInterrupt("stopped and saved; call it again to resume")
    start = next((n for n, line in enumerate(errors) if line.startswith("error: ")), None)
    if start is None:
        raise Error("\n".join(errors[-20:]) or f"foil {words[0]} ended with code {code}")
    message, help = errors[start:], ""
    if message[-1].strip().startswith("help: ") and len(message) == 2:
        help = message.pop().strip().removeprefix("help: ")
    raise Error("\n".join(message).removeprefix("error: "), help)


def train(
    config: PathLike,
    overrides: Overrides | None = None,
    *,
    run_dir: PathLike | None = None,
    evaluate: bool = True,
    progress: bool = True,
) -> Run:
    """Trains a pipeline, and evaluates its best checkpoint.

    Ctrl-C saves and raises KeyboardInterrupt; `foil.resume` continues with the same result.

    Args:
        config: The pipeline's YAML file.
        overrides: Keys to change, as in `{"loss.beta": 3, "train.epochs": 5}`.
        run_dir: The run's folder; by default `runs/NAME`, with a number if that is taken.
        evaluate: Whether to evaluate it under the pipeline's `evaluate`, as `foil eval` does.
        progress: Whether to show a bar.

    Raises:
        Error: the pipeline has problems, or something fails; the last checkpoint is intact.
    """
    with _progress.Bar(progress) as bar:
        place = None if run_dir is None else Path(run_dir)
        run = Run(Path(_foil.train(Path(config), _words(overrides), place, bar.step)))
    if evaluate:
        _command(["eval", str(run.path)], _progress.lines(progress))
    return run


def resume(run: Run | PathLike, *, evaluate: bool = True, progress: bool = True) -> Run:
    """Resumes a run that was stopped or killed, with the same result as one that was not."""
    path = _path(run)
    with _progress.Bar(progress) as bar:
        _foil.resume(path, bar.step)
    if evaluate:
        _command(["eval", str(path)], _progress.lines(progress))
    return Run(path)


def _path(run: Run | PathLike) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


class Network(torch.nn.Module):
    """A run's network in eval mode: images in [0, 1] to logits, its normalisation inside.

    The output is differentiable in the images. The weights are constants under their `state_dict`
    names; to train them further, write `init` in a pipeline, or `foil export` them.
    """

    def __init__(self, inner: _foil.Loaded) -> None:
        super().__init__()
        self._inner = inner
        self.classes: int = inner.classes
        for name, value in inner.tensors():
            *folders, last = name.split(".")
            place: torch.nn.Module = self
            for folder in folders:
                if not hasattr(place, folder):
                    place.add_module(folder, torch.nn.Module())
                place = getattr(place, folder)
            if value.is_floating_point():
                place.register_parameter(last, torch.nn.Parameter(value, requires_grad=False))
            else:
                place.register_buffer(last, value)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[N, K]` of images `[N, C, H, W]`."""
        return self._inner.logits(x)

    def train(self, mode: bool = True) -> Network:
        """It has no train mode; `foil.train` trains."""
        if mode:
            raise Error("a loaded network has no train mode", "train from its weights: foil.train(..., {'init': RUN})")
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Network:
        one = next(self.parameters())
        other = fn(one)
        if (other.device, other.dtype) != (one.device, one.dtype):
            raise Error("a loaded network stays on its device, in float32", "foil.load(run, device='cuda')")
        return self


def load(run: Run | PathLike, *, device: str = "cpu") -> Network:
    """The network of a run with its best weights, or those of a checkpoint in its folder.

    A run with plugins in Python runs their code: load only runs that you trust.
    """
    path, weights = _path(run), None
    if path.suffix == ".safetensors":
        path, weights = path.parent, path
    return Network(_foil.Loaded(path, weights, device))


def attack(name: str, *, seed: int = 0, batch_size: int = 500, **keys: Any) -> Attack:
    """An attack of foil's as a function: `foil.attack("pgd", eps=8/255, steps=20)(model, x, y)`.

    The keys are those of a pipeline: `foil explain pgd`. The function takes any `torch.nn.Module`
    from images in [0, 1] to logits, images `[N, C, H, W]` and labels `[N]`, on the same device, and
    returns attacked images. The module's mode is that of the attack's `mode` meanwhile, `eval` by
    default, and is restored. The module's parameters get no gradient.

    Args:
        name: The attack's name: `foil list` shows all.
        seed: Everything random follows from it.
        batch_size: Images that are attacked at a time. The result does not depend on it, except
            through rounding.
    """
    yaml = json.dumps({"type": name, **keys})

    def attacked(model: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
        _check(x, y)
        before = {module: module.training for module in model.modules()}

        def logits(images: Tensor, train: bool) -> Tensor:
            if model.training != train:
                model.train(train)
            out = model(images)
            if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(images):
                found = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise Error(f"the model returned {found} for {len(images)} images, but must return logits [N, K]")
            return out

        trained = [one for one in model.parameters() if one.requires_grad]
        precision = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        try:
            for one in trained:
                one.requires_grad_(False)
            with torch.no_grad():
                classes = logits(x[:1], False).shape[1]
            index = torch.arange(len(x), device=x.device)
            rows = range(0, len(x), batch_size)
            parts = [slice(start, start + batch_size) for start in rows]
            made = [
                _foil.attack(yaml, logits, x[at].detach(), y[at], index[at], classes, seed).detach() for at in parts
            ]
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = precision
            for one in trained:
                one.requires_grad_(True)
            for module, training in before.items():
                module.training = training
        return torch.cat(made)

    return attacked


def autoattack(
    *, norm: str = "Linf", eps: float = 8 / 255, seed: int = 0, batch_size: int = 500, **keys: Any
) -> Attack:
    """AutoAttack's standard version as a function; see `foil.attack`."""
    return attack("autoattack", norm=norm, eps=eps, seed=seed, batch_size=batch_size, **keys)


def _check(x: Tensor, y: Tensor) -> None:
    if x.dim() != 4 or len(x) == 0:
        raise Error(f"images are {list(x.shape)}, but must be [N, C, H, W] with at least one image")
    if not x.is_floating_point() or bool(((x < 0) | (x > 1)).any()):
        raise Error(f"images are {x.dtype} from {x.min()} to {x.max()}, but must be floats in [0, 1]", "divide by 255")
    if y.shape != x.shape[:1] or y.dtype != torch.int64 or y.device != x.device:
        raise Error(f"labels are {list(y.shape)} {y.dtype} on {y.device}, but must be [{len(x)}] int64 on {x.device}")


def data(
    name: str, *, train: bool = False, folder: PathLike | None = None, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images `[N, C, H, W]` in [0, 1] and labels `[N]` of a data set that foil knows.

    Args:
        name: Its name: `mnist_subset` comes with foil, `foil data list` shows the others.
        train: The training images rather than the test images.
        folder: Where it is; by default foil looks for it.
        limit: Only the first images.
    """
    return _images(name, train, folder, limit)


def _images(
    name: str, train: bool = False, folder: PathLike | None = None, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    x, y = _foil.images(name, None if folder is None else Path(folder), train)
    return x[:limit].float() / 255, y[:limit]


def evaluate(
    model: torch.nn.Module | Run | PathLike,
    data: tuple[Tensor, Tensor] | str | None = None,
    attacks: Mapping[str, Attack] | None = None,
    *,
    overrides: Overrides | None = None,
    batch_size: int = 500,
    progress: bool = True,
) -> dict[str, Any]:
    """Accuracy in percent, without and under attacks.

    A run is evaluated as by `foil eval`, under the attacks of its pipeline, with trust checks; the
    record is returned and kept in its folder. A module is evaluated on the images that are given.

    Args:
        model: A run, its folder, or any `torch.nn.Module` from images in [0, 1] to logits.
        data: For a module, images and labels, or the name of a data set, whose test set is used.
        attacks: For a module, functions as `foil.attack` makes them, by their names in the result.
        overrides: For a run, keys to change, as in `{"evaluate": ["natural", "autoattack"]}`.
        batch_size: Images at a time.
        progress: Whether to show what is done.

    Returns:
        For a module `natural`, each attack, and `worst_case`: images that are right under all.
    """
    if not isinstance(model, torch.nn.Module):
        if data is not None or attacks is not None:
            raise Error("a run has its own data and attacks", "change them with overrides, or evaluate foil.load(run)")
        return _of_run(_path(model), overrides, progress)
    if overrides is not None:
        raise Error("overrides are for a run", "give a module's attacks as attacks={'pgd': foil.attack('pgd', ...)}")
    if data is None:
        raise Error(
            "a module is evaluated on images", "foil.evaluate(model, (x, y)), or foil.evaluate(model, 'cifar10')"
        )
    x, y = _images(data) if isinstance(data, str) else data
    here = next((one.device for one in model.parameters()), x.device)
    x, y = x.to(here), y.to(here)
    _check(x, y)
    told = _progress.lines(progress)
    columns: dict[str, Tensor] = {"natural": _right(model, x, y, batch_size)}
    for name, attacked in (attacks or {}).items():
        columns[name] = _right(model, attacked(model, x, y), y, batch_size)
        if told is not None:
            told(f"{name}: {_percent(columns[name]):.2f} %")
    worst = torch.stack(list(columns.values())).all(0)
    return {**{name: _percent(column) for name, column in columns.items()}, "worst_case": _percent(worst)}


def _right(model: torch.nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """Whether each image is classified correctly; an output that is not finite counts as wrong."""
    before = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = torch.cat([model(x[start : start + batch_size]) for start in range(0, len(x), batch_size)])
    finally:
        if before:
            model.train()
    return (logits.argmax(1) == y) & logits.isfinite().all(1)


def _percent(right: Tensor) -> float:
    return float(right.double().mean() * 100)


def _of_run(path: Path, overrides: Overrides | None, progress: bool) -> dict[str, Any]:
    output = _command(["eval", str(path), *_words(overrides)], _progress.lines(progress))
    record = next(line.split(", record: ")[1] for line in output.splitlines() if ", record: " in line)
    found: dict[str, Any] = json.loads(Path(record).read_text())
    return found


def compare(
    configs: Iterable[PathLike],
    *,
    seeds: int = 1,
    overrides: Overrides | None = None,
    dir: PathLike = "runs",
    progress: bool = True,
) -> dict[str, Any]:
    """Trains and evaluates what is missing of several pipelines, and compares them.

    Returns:
        The content of `compare.json`: rows with means and deviations over seeds, and differences
        with their tests. Tables are beside it, in the folder `compare` of `dir`.
    """
    files = [str(config) for config in configs]
    words = ["compare", *files, *_words(overrides), "--seeds", str(seeds), "--dir", str(dir)]
    _command(words, _progress.lines(progress))
    found: dict[str, Any] = json.loads((Path(dir) / "compare" / "compare.json").read_text())
    return found


def runs(folder: PathLike = "runs") -> list[dict[str, Any]]:
    """The runs in and below a folder, one plain record each: `pandas.DataFrame(foil.runs())`.

    Only records are read; no plugin's code is run.
    """
    text, notes = _foil.runs(Path(folder))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    found: list[dict[str, Any]] = json.loads(text)
    return found
