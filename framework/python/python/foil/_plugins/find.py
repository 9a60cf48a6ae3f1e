"""Finds a plugin's class in a file, describes its keys, and makes it. Rust calls this."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import inspect
import json
import math
import numbers
import sys
import traceback
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from . import _base

BASES = {base.KIND: base for base in (_base.Attack, _base.Data, _base.Loss, _base.Objective, _base.Model, _base.Scheduler)}
RESERVED = ("type", "file", "class", "sha256")
OF_SCHEDULERS = ("value",)
FOLLOWING = ("attack", "loss")
PASSES = ("clean_first", "clean", "adversarial", "clean_again", "together", "clean_after_update")


class Fault(Exception):
    """Something is wrong with a plugin's file: the key to blame, a message, and what to do."""

    def __init__(self, key: str, message: str, help: str) -> None:
        super().__init__(message)
        self.key, self.message, self.help = key, message, help


def _module(file: str) -> types.ModuleType:
    path = Path(file)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise Fault(
            "file", f"`{file}` cannot be read: {error.strerror}", "paths are relative to the pipeline"
        ) from None
    name = f"foil_plugin_{hashlib.sha256(bytes(str(path.resolve()), 'utf-8') + source).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Fault("file", f"`{file}` is not a Python file", "its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    keeps, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise Fault(
            "file", f"`{file}` cannot be imported: {where(error, file)}", f"try it alone: python {file}"
        ) from error
    finally:
        sys.dont_write_bytecode = keeps
    return module


def _class(kind: str, file: str, name: str | None) -> type[Any]:
    base, module = BASES[kind], _module(file)
    own = {
        word: thing
        for word, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, base) and thing.__module__ == module.__name__
    }
    if name is None:
        if len(own) == 1:
            return next(iter(own.values()))
        found = ", ".join(own) or "none"
        message = f"`{file}` must have one subclass of foil.{base.__name__}, and has {found}"
        raise Fault(
            "file",
            message,
            "name it: class: " + next(iter(own)) if own else f"write class MyClass(foil.{base.__name__}):",
        )
    if name in own:
        return own[name]
    if isinstance(vars(module).get(name), type):
        raise Fault(
            "class", f"`{name}` in `{file}` is not a foil.{base.__name__}", f"write class {name}(foil.{base.__name__}):"
        )
    help = f"it has {', '.join(own)}" if own else f"write class {name}(foil.{base.__name__}):"
    raise Fault("class", f"`{file}` has no class `{name}`", help)


def _of_type(hint: Any) -> dict[str, Any]:
    """The JSON Schema of a field's type."""
    simple = {float: "number", int: "integer", bool: "boolean", str: "string"}
    if hint in simple:
        return {"type": simple[hint]}
    if hint is _base.Scheduled:
        return {"anyOf": [{"type": "number"}, {"x-component": "scheduler"}]}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin is list and inner:
        return {"type": "array", "items": _of_type(inner[0])}
    if origin in (Union, types.UnionType) and type(None) in inner:
        rest = [one for one in inner if one is not type(None)]
        if len(rest) == 1 and rest[0] in simple:
            return {"type": [simple[rest[0]], "null"]}
    raise TypeError(f"{hint} is not a type that a key may have")


def schema(kind: str, file: str, name: str | None) -> str:
    """The JSON Schema of a class's keys."""
    cls = _class(kind, file, name)
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise Fault(
            "class", f"the types of `{cls.__name__}` cannot be read: {error}", "annotate fields with types of Python"
        ) from error
    about = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    if not about or about.startswith(f"{cls.__name__}("):  # what dataclasses write where there is none
        raise Fault("class", f"`{cls.__name__}` in `{file}` has no docstring", "write one: it is the manual")
    properties: dict[str, Any] = {
        "file": {"type": "string", "x-file": True, "description": "The Python file, copied into the run's folder."},
        "class": {"type": "string", "description": "The class in it.", "default": cls.__name__},
        "sha256": {"type": ["string", "null"], "description": "The file's SHA-256; a different file is refused."},
    }
    required = ["file"]
    for field in dataclasses.fields(cls):
        if field.name in RESERVED or (kind == "scheduler" and field.name in OF_SCHEDULERS):
            raise Fault(
                "class",
                f"`{cls.__name__}` has a field `{field.name}`, which is a key of every {kind} in Python",
                "call it something else",
            )
        try:
            of_type = _of_type(hints[field.name])
        except TypeError:
            message = f"the field `{field.name}` of `{cls.__name__}` has the type {field.type}, which no key has"
            raise Fault(
                "class", message, "keys are float, int, bool, str, Literal, list, X | None or foil.Scheduled"
            ) from None
        if hints[field.name] is _base.Scheduled and kind not in FOLLOWING:
            message = f"the field `{field.name}` of `{cls.__name__}` has the type foil.Scheduled, which no {kind} has"
            raise Fault("class", message, "a loss or an attack may have one; write float here")
        entry = {**of_type, **field.metadata.get("foil", {})}
        if field.default is not dataclasses.MISSING:
            entry["default"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            entry["default"] = field.default_factory()
        else:
            required.append(field.name)
        properties[field.name] = entry
    whole = {
        "title": cls.__name__,
        "description": about,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "x-fill": True,
    }
    return json.dumps(whole)


def make(kind: str, file: str, name: str | None, sha256: str | None, keys: str) -> Any:
    """An object of the class, with these keys as JSON; scheduled ones keep what is written."""
    if sha256 is not None:
        found = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        if found != sha256.lower():
            message = f"`{file}` has the SHA-256 {found}, not {sha256}"
            raise Fault("sha256", message, "it is not the file that the run was started with; restore that one")
    cls = _class(kind, file, name)
    hints, given = typing.get_type_hints(cls), json.loads(keys)
    whole = {word: float(value) if hints.get(word) is float else value for word, value in given.items()}
    return cls(**whole)


def scheduled(plugin: Any) -> list[str]:
    """Names of the keys that follow a scheduler."""
    hints = typing.get_type_hints(type(plugin))
    return [field.name for field in dataclasses.fields(plugin) if hints[field.name] is _base.Scheduled]


def where(error: BaseException, file: str) -> str:
    """An exception with the last line of the plugin's file that it passed."""
    said = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    whole = Path(file).resolve()
    frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).resolve() == whole]
    if not frames:
        return said
    return f"{said} ({file}:{frames[-1].lineno}, in {frames[-1].name})"


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations that wait for the device, or whose result has a shape that depends on it."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.WAITS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def state(loss: _base.Loss, train: int, classes: int, channels: int, height: int, width: int) -> list[tuple[str, Tensor]]:
    """The tensors that a loss keeps, by name."""
    made = loss.state(_base.DataFacts(train, classes, channels, height, width))
    if not isinstance(made, Mapping):
        raise TypeError(f"state returned {type(made).__name__}, but must return a dictionary of tensors")
    wrong = [name for name, kept in made.items() if not isinstance(kept, Tensor) or not isinstance(name, str)]
    if wrong:
        raise TypeError(f"the state {wrong[0]!r} is not a tensor under a name")
    taken = [name for name in made if hasattr(loss, name)]
    if taken:
        raise TypeError(f"the state `{taken[0]}` has the name of something that the loss has already")
    for name in loss.per_image:
        if name not in made or made[name].shape[:1] != (train,):
            raise TypeError(f"`per_image` names `{name}`, but no state of this name has a row for each of {train} images")
    return [(name, kept.detach().contiguous()) for name, kept in made.items()]


def trial(loss: _base.Loss, file: str, classes: int) -> tuple[bool, list[str]]:
    """Calls a loss on made-up tensors: whether its step may be captured, and warnings."""
    unknown = [one for one in loss.passes if one not in PASSES and one.partition(":")[2] not in ("clean", "adversarial")]
    if unknown:
        help = f"passes are {', '.join(PASSES)}; of another network NAME:clean and NAME:adversarial"
        raise Fault("class", f"`passes` of `{type(loss).__name__}` has `{unknown[0]}`", help)
    y = torch.arange(4) % max(classes, 1)
    logits: dict[str, Tensor] = {}
    for one in loss.passes:
        for read in {"together": ("clean", "adversarial"), "clean_after_update": ()}.get(one, (one,)):
            values = torch.arange(4 * classes, dtype=torch.float32).view(4, classes)
            logits[read] = (values + len(logits)).sin().requires_grad_() * 1.0
    side = {name: torch.ones(4) for name in loss.needs}
    now = {name: torch.tensor(1.0, dtype=torch.float64) for name in scheduled(loss)}
    before = dict(vars(loss))
    listed = [of for of, _ in loss.features if of not in loss.passes or of == "together"]
    if listed:
        raise Fault(
            "class", f"`features` of `{type(loss).__name__}` has the pass `{listed[0]}`", "list it in `passes` too"
        )
    # The shapes of the model's features are not known here; `foil check` calls the loss on them.
    if loss.features:
        return bool(loss.capturable), []
    images = {name: torch.full((4, 1, 8, 8), 0.5) for name in ("clean", "adversarial")}
    with _Reads() as reads:
        step(loss, logits, y, side, now, torch.zeros(4, dtype=torch.int64), None, {}, images)
    changed = [word for word, value in vars(loss).items() if before.get(word) is not value]
    may, said = bool(loss.capturable), []
    if may and changed:
        said.append(
            f"{file}: forward sets `self.{changed[0]}`, but on a GPU a captured step runs it once; "
            "write capturable = False, or return it from `state` and change it in `after_update`"
        )
    if may and reads.seen:
        said.append(f"{file}: forward reads the device ({reads.seen[0]}), so its step is not captured in a CUDA graph")
    return may and not reads.seen, said


def step(loss: _base.Loss, *given: Any) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """The total and its parts; `given` is what `LossInput` takes."""
    made = loss.forward(_base.LossInput(*given))
    total, parts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(total, Tensor) or not isinstance(parts, Mapping):
        found = type(made).__name__
        raise TypeError(f"forward returned {found}, but must return a scalar tensor, or a pair of one and a dictionary")
    wrong = [name for name, part in parts.items() if not isinstance(part, Tensor) or not isinstance(name, str)]
    if wrong:
        raise TypeError(f"the part {wrong[0]!r} is not a tensor under a name")
    return total, [(name, part.detach()) for name, part in parts.items()]


def after_update(loss: _base.Loss, *given: Any) -> None:
    """The loss changes what it keeps; `given` is what `LossInput` takes."""
    with torch.no_grad(), _kept(loss):
        loss.after_update(_base.LossInput(*given))


def after_epoch(loss: _base.Loss) -> None:
    """The same, at the end of an epoch."""
    with torch.no_grad(), _kept(loss):
        loss.after_epoch()


@contextlib.contextmanager
def _kept(loss: _base.Loss) -> Iterator[None]:
    """Refuses another tensor in the place of one that foil saves."""
    before = {name: value for name, value in vars(loss).items() if isinstance(value, Tensor)}
    yield
    for name, value in before.items():
        if vars(loss).get(name) is not value:
            raise TypeError(f"`self.{name}` is another tensor now, but foil saves the first; change it in place: copy_")


def network(plugin: _base.Model, channels: int, height: int, width: int, classes: int, seed: int) -> torch.nn.Module:
    """The module that a model builds, with the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        made = plugin.build(channels=channels, height=height, width=width, classes=classes)
    if not isinstance(made, torch.nn.Module):
        raise TypeError(f"build returned {type(made).__name__}, but must return a torch.nn.Module")
    return made


def tensors(module: torch.nn.Module) -> list[tuple[str, Tensor, bool, bool]]:
    """Names and values, whether each is trained, and whether it is a buffer."""
    found = [(name, one.detach(), one.requires_grad, False) for name, one in module.named_parameters()]
    return found + [(name, one.detach(), False, True) for name, one in module.named_buffers()]


def run(
    module: torch.nn.Module, train: bool, x: Tensor, given: dict[str, Tensor], buffers: dict[str, Tensor]
) -> Tensor:
    """The module's output with these numbers in place of its own; buffers move in train mode."""
    module.train(train)
    # Copies, because a pass that is differentiated later must keep the buffers it used.
    copies = {name: one.clone() for name, one in buffers.items()}
    out = torch.func.functional_call(module, {**given, **copies}, (x,))
    if train:
        with torch.no_grad():
            for name, one in buffers.items():
                one.copy_(copies[name])
    if not isinstance(out, Tensor):
        raise TypeError(f"the module returned {type(out).__name__}, but must return logits, a tensor")
    return out


def perturb(
    attack: _base.Attack,
    scene: Any,
    x: Tensor,
    y: Tensor,
    now: dict[str, Tensor],
    index: Tensor,
    clean_logits: Tensor | None,
) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """What the attack makes of the images, and what it provides."""
    batch = _base.AttackBatch(x, y, scene, now, index, clean_logits)
    made = attack.perturb(_base.Target(scene, attack.train), batch)
    images, side = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(images, Tensor) or not isinstance(side, Mapping):
        found = type(made).__name__
        raise TypeError(f"perturb returned {found}, but must return images, a tensor, or a pair of them and a dictionary")
    for name in attack.provides:
        if not isinstance(side.get(name), Tensor):
            raise TypeError(f"`provides` names `{name}`, but perturb returned no tensor of this name")
    return images.detach(), [(name, side[name].detach()) for name in attack.provides]


def value(objective: _base.Objective, logits: Tensor, y: Tensor, clean: Tensor | None) -> Tensor:
    """What the objective makes of the logits."""
    made = objective.value(logits, y, clean)
    if not isinstance(made, Tensor) or made.shape != y.shape:
        found = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise TypeError(f"value returned {found}, but must return a number for each image, {list(y.shape)}")
    return made


def number(scheduler: _base.Scheduler, epoch: int, step: int, epochs: int, steps_per_epoch: int) -> float:
    """What the scheduler makes of a run's progress."""
    made: Any = scheduler.value(_base.Progress(epoch, step, epochs, steps_per_epoch))
    if not isinstance(made, numbers.Real):
        raise TypeError(f"value returned {type(made).__name__}, but must return a number, a float")
    if not math.isfinite(made):
        raise ValueError(f"value returned {made} in epoch {epoch + 1}, step {step + 1}, but must be finite")
    return float(made)
